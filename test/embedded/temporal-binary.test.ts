import { execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { findTemporalBinary, temporalCliVersion } from "../../embedded/temporal-binary.ts";
import { sweep, testDirectory } from "../helpers/test-run.ts";

const dir = testDirectory("temporal-binary");
const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
  sweep(dir);
});

/** A program that answers `--version` as the CLI does; `log` notes each run. */
function script(file: string, body: string): string {
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${body}\n`);
  chmodSync(file, 0o755);
  return file;
}

const cli = "echo 'temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)'";

function environment(name: string, more: Readonly<Record<string, string>> = {}) {
  const cache = join(dir, name, "cache");
  return {
    env: { HOME: join(dir, name), XDG_CACHE_HOME: cache, PATH: "/usr/bin:/bin", EVERPOST_TEMPORAL_DOWNLOAD_URL: "http://127.0.0.1:9", ...more },
    cache,
  };
}

async function serve(answer: Buffer | number): Promise<string> {
  const server = createServer((_, response) => {
    if (typeof answer === "number") response.writeHead(answer).end();
    else response.end(answer);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function archive(name: string, body: string): Buffer {
  const from = join(dir, `${name}-archive`);
  script(join(from, "temporal"), body);
  execFileSync("tar", ["-czf", join(dir, `${name}.tgz`), "-C", from, "temporal"]);
  return readFileSync(join(dir, `${name}.tgz`));
}

test("takes the binary that EVERPOST_TEMPORAL_CLI names, before any on PATH", async () => {
  const named = script(join(dir, "named", "mine"), cli);
  script(join(dir, "named", "bin", "temporal"), cli);
  const { env } = environment("named", { EVERPOST_TEMPORAL_CLI: named, PATH: `${join(dir, "named", "bin")}:/bin` });
  expect(await findTemporalBinary(env, () => {})).toEqual({ path: named, source: "EVERPOST_TEMPORAL_CLI" });
});

test("refuses what EVERPOST_TEMPORAL_CLI names when that is no Temporal CLI", async () => {
  const { env } = environment("refused", { EVERPOST_TEMPORAL_CLI: script(join(dir, "refused", "other"), "echo something else") });
  await expect(findTemporalBinary(env, () => {})).rejects.toThrow("which is no Temporal CLI");
});

test("takes the one on PATH, but not another program of that name", async () => {
  const wrong = join(dir, "path", "wrong");
  const right = script(join(dir, "path", "right", "temporal"), cli);
  script(join(wrong, "temporal"), "exit 1");
  const { env } = environment("path", { PATH: `${join(dir, "path", "right")}:/bin` });
  expect(await findTemporalBinary(env, () => {})).toEqual({ path: right, source: "PATH" });
  const cached = environment("path-wrong", { PATH: `${wrong}:/usr/bin:/bin` });
  script(join(cached.cache, "everpost", "temporal", `temporal-${temporalCliVersion}`), cli);
  expect((await findTemporalBinary(cached.env, () => {})).source).toBe("the cache");
});

test("downloads into the cache where nothing is there, and finds it in the cache the next time", async () => {
  const { env, cache } = environment("download", { EVERPOST_TEMPORAL_DOWNLOAD_URL: await serve(archive("good", cli)) });
  const said: string[] = [];
  const first = await findTemporalBinary(env, (line) => said.push(line));
  expect(first.source).toBe("the official download");
  expect(said.join()).toContain("downloading");
  expect((await findTemporalBinary(env, () => {})).source).toBe("the cache");
  expect(readdirSync(join(cache, "everpost", "temporal"))).toEqual([`temporal-${temporalCliVersion}`]);
});

test("builds from source, with progress, where the download does not answer; the caches of the build are gone afterwards", async () => {
  const bin = join(dir, "build", "bin");
  // A stand-in for the compiler: a real build takes minutes. It notes what it was asked and writes what a build would.
  script(
    join(bin, "go"),
    `echo "$PWD $CGO_ENABLED $GOMODCACHE $@" > "$HOME/asked"; mkdir -p "$GOMODCACHE"; while [ "$1" != -o ]; do shift; done; printf '#!/bin/sh\\n${cli.replaceAll("'", "'\\''")}\\n' > "$2temporal"; chmod +x "$2temporal"`,
  );
  const { env, cache } = environment("build", { PATH: `${bin}:/usr/bin:/bin` });
  const said: string[] = [];
  expect((await findTemporalBinary(env, (line) => said.push(line))).source).toBe("a build of tools/temporal");
  expect(said.join()).toContain("building the Temporal server");
  expect(readFileSync(join(dir, "build", "asked"), "utf8")).toMatch(
    /tools\/temporal 0 .*everpost\/temporal\/go-temporal\/mod build .*github.com\/temporalio\/cli\/cmd\/temporal/,
  );
  expect(existsSync(join(cache, "everpost", "temporal", "go-temporal"))).toBe(false);
});

test.each([
  ["an error", 503],
  ["an archive with a program that does not run", "exit 1"],
  ["rubbish", Buffer.from("<html>captive portal</html>")],
])("says every reason and what to do when the download gives %s and the build fails", async (name, given) => {
  const url = await serve(typeof given === "string" ? archive("bad", given) : given);
  const bin = join(dir, `fails-${name}`, "bin");
  script(join(bin, "go"), "echo 'go: module not found' >&2; exit 1");
  const { env, cache } = environment(`fails-${name}`, { PATH: `${bin}:/usr/bin:/bin`, EVERPOST_TEMPORAL_DOWNLOAD_URL: url });
  const error = await findTemporalBinary(env, () => {}).catch((reason: Error) => reason);
  expect(error).toMatchObject({
    name: "StartError",
    message: expect.stringMatching(/official download: .+; a build of tools\/temporal: go: module not found.*TEMPORAL_ADDRESS/),
  });
  expect(readdirSync(join(cache, "everpost", "temporal")).filter((file) => file !== "go-temporal")).toEqual([]);
});

test("lets one process at a time make it, and takes over from one that was killed", async () => {
  const { env, cache } = environment("race", { EVERPOST_TEMPORAL_DOWNLOAD_URL: await serve(archive("race", cli)) });
  mkdirSync(join(cache, "everpost", "temporal"), { recursive: true });
  writeFileSync(join(cache, "everpost", "temporal", "making-the-Temporal-server.lock"), "2147483646");
  const program = `import { findTemporalBinary } from ${JSON.stringify(join(import.meta.dirname, "../../embedded/temporal-binary.ts"))}; console.log((await findTemporalBinary(process.env, () => {})).source)`;
  const runs = await Promise.all(
    [1, 2, 3].map(
      () =>
        new Promise<string>((resolve) => {
          const child = spawn(process.execPath, ["--input-type=module", "-e", program], { env });
          let text = "";
          child.stdout.on("data", (chunk) => (text += chunk));
          child.stderr.on("data", (chunk) => (text += chunk));
          child.once("close", () => resolve(text.trim()));
        }),
    ),
  );
  expect(runs.toSorted()).toEqual(["the cache", "the cache", "the official download"]);
});
