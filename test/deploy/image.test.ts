import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { root } from "../architecture/import-graph.ts";
import { readCompose } from "../helpers/compose.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { spawnReady } from "../helpers/processes.ts";
import { temporalAddress, temporalNamespace } from "../helpers/temporal.ts";
import { testDirectory } from "../helpers/test-run.ts";

const run = promisify(execFile);
const image = join(testDirectory("image"), "app");
let env: Readonly<Record<string, string>>;

/** What the Dockerfile puts into the image: the sources without what .dockerignore names, packages for production only, and the bundle. */
beforeAll(async () => {
  const database = await createTestDatabase();
  const ignored = readFileSync(join(root, ".dockerignore"), "utf8").trim().split("\n");
  mkdirSync(image, { recursive: true });
  for (const name of readdirSync(root)) if (!ignored.includes(name)) cpSync(join(root, name), join(image, name), { recursive: true });
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as { packages: Record<string, LockedPackage> };
  // npm's own marks: what `--omit=dev --omit=optional` leaves out. A package comes before those within it.
  const kept = Object.entries(packages).filter(([path, { dev, optional, devOptional }]) => path !== "" && !dev && !optional && !devOptional);
  for (const [path] of kept) {
    if (existsSync(join(image, path)) || !existsSync(join(root, path))) continue;
    mkdirSync(dirname(join(image, path)), { recursive: true });
    cpSync(join(root, path), join(image, path), {
      recursive: true,
      dereference: true,
      filter: (file) => !file.slice(join(root, path).length).includes("/node_modules"),
    });
  }
  await run(process.execPath, [join(root, "workers/bundle.ts"), join(image, "build/workflow-bundle.js")], { cwd: root });
  env = {
    NODE_ENV: "production",
    DATABASE_URL: database.url,
    EVERPOST_ENCRYPTION_KEYS: `test:${Buffer.alloc(32, 7).toString("base64")}`,
    EVERPOST_BLOB_DIR: join(image, "../blobs"),
    EVERPOST_TASK_QUEUE_PREFIX: "image",
    TEMPORAL_ADDRESS: temporalAddress(),
    TEMPORAL_NAMESPACE: temporalNamespace(),
  };
  return async () => {
    rmSync(image, { recursive: true, force: true });
    await database.drop();
  };
}, 300_000);

interface LockedPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
}

describe("the image's files and packages are enough", () => {
  test.each(["db/migrate.ts", "tools/prepare-temporal.ts", "tools/create-administrator-key.ts"])("for %s", { timeout: 300_000 }, async (program) => {
    await run(process.execPath, [program], { cwd: image, env: { PATH: process.env.PATH, ...env } });
  });

  test("for the API", { timeout: 300_000 }, async () => {
    const { process: api, ready } = await spawnReady(join(image, "api/server.ts"), { ...env, EVERPOST_API_PORT: "0" }, 120_000);
    expect((await fetch(`http://127.0.0.1:${ready.port}/healthz`)).status).toBe(200);
    expect(await api.kill("SIGTERM")).toEqual({ code: 0, signal: null });
  });

  const roles = Object.values(readCompose({ POSTGRES_PASSWORD: "x", EVERPOST_ENCRYPTION_KEYS: "x" }).services).flatMap(
    ({ environment }) => environment.EVERPOST_WORKER_ROLES ?? [],
  );
  test.each(roles)("for a worker with the roles %s, which ends in order when it is told to", { timeout: 300_000 }, async (role) => {
    const { process: worker } = await spawnReady(join(image, "workers/worker.ts"), { ...env, EVERPOST_WORKER_ROLES: role }, 120_000);
    expect(await worker.kill("SIGTERM")).toEqual({ code: 0, signal: null });
  });
});
