import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

// Plain JavaScript, so that a Node too old for TypeScript can still say so, or hand over to the one that npm installed.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
if (major > 22 || (major === 22 && minor >= 18)) {
  await import("./start.ts");
} else {
  const newer = fileURLToPath(new URL("node_modules/.bin/node", import.meta.url));
  if (!existsSync(newer) || process.env.EVERPOST_NODE === newer) {
    console.error(
      `Everpost cannot start: it needs Node 24, this is ${process.versions.node}. Run \`npm ci\` without --omit=optional, which brings one along, or install Node 24`,
    );
    process.exit(1);
  }
  const script = fileURLToPath(new URL("start.ts", import.meta.url));
  const child = spawn(newer, [script, ...process.argv.slice(2)], { stdio: "inherit", env: { ...process.env, EVERPOST_NODE: newer } });
  for (const name of ["SIGTERM", "SIGHUP"]) process.on(name, () => child.kill(name));
  // The terminal sends Ctrl-C to both; only the child may decide when to end.
  process.on("SIGINT", () => {});
  child.once("exit", (code) => process.exit(code ?? 1));
}
