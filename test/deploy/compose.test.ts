import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { environment, workerRoles } from "../../config.ts";
import { root } from "../architecture/import-graph.ts";
import { readCompose, serviceOf } from "../helpers/compose.ts";

const compose = readCompose({ POSTGRES_PASSWORD: "x", EVERPOST_ENCRYPTION_KEYS: "x" });
const services = Object.entries(compose.services);
const dockerfile = readFileSync(join(root, "Dockerfile"), "utf8");
const imageCommand = JSON.parse(/^CMD (\[.+\])$/m.exec(dockerfile)?.[1] ?? "[]") as readonly string[];
/** What Node is told to run, after what it is told about itself. */
const programOf = (words: readonly string[]) => words.find((word) => word.endsWith(".ts")) ?? "nothing";
const ours = services.filter(([, { build }]) => build !== undefined);

describe("temporal-docker-compose.yml", () => {
  test.each(["POSTGRES_PASSWORD", "EVERPOST_ENCRYPTION_KEYS"])("refuses to start without %s, and holds no secret itself", (name) => {
    const others = Object.fromEntries(
      ["POSTGRES_PASSWORD", "EVERPOST_ENCRYPTION_KEYS"].filter((other) => other !== name).map((other) => [other, "x"]),
    );
    expect(() => readCompose(others)).toThrow(name);
  });

  test("has no variable with a dollar sign left in it", () => {
    expect(JSON.stringify(compose)).not.toContain("$");
  });

  test.each(services)("%s waits for services that are there, in a way that can come true", (_name, { dependsOn }) => {
    for (const [other, condition] of Object.entries(dependsOn)) {
      const service = serviceOf(compose, other);
      expect(["service_healthy", "service_completed_successfully"]).toContain(condition);
      if (condition === "service_healthy") expect(service.hasHealthCheck, `${other} has a health check`).toBe(true);
      else expect(service.restart, `${other} is not restarted for ever`).toMatch(/^on-failure/);
    }
  });

  test.each(services)("%s is built or pulled, mounts what is there, and is reached from this host only", (_name, service) => {
    expect(service.image).toMatch(/:[\w.-]+$/);
    for (const { source } of service.volumes) {
      if (source.startsWith(".")) expect(existsSync(join(root, source)), source).toBe(true);
      else expect(compose.volumes).toContain(source);
    }
    for (const port of service.ports) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test.each(ours)("%s runs a program that is there, with settings that it knows, and is given time to drain", (_name, service) => {
    const [runtime, ...words] = service.command ?? imageCommand;
    expect([runtime, existsSync(join(root, programOf(words)))]).toEqual(["node", true]);
    expect(Object.keys(service.environment).filter((name) => !Object.hasOwn(environment.shape, name))).toEqual([]);
    // A worker ends by itself after 25 seconds.
    expect(service.stopGraceSeconds).toBeGreaterThan(30);
  });

  test("has a worker for every role", () => {
    const served = ours.flatMap(
      ([
        ,
        {
          environment: { EVERPOST_WORKER_ROLES },
        },
      ]) => EVERPOST_WORKER_ROLES?.split(",") ?? [],
    );
    expect(served.toSorted()).toEqual(workerRoles.toSorted());
  });

  test("starts API and workers on a schema and a namespace that are made, once PostgreSQL and Temporal answer", () => {
    const waitsFor = (name: string): readonly string[] =>
      Object.keys(serviceOf(compose, name).dependsOn).flatMap((other) => [other, ...waitsFor(other)]);
    for (const [name, { command }] of ours) {
      if (programOf(command ?? []) === "db/migrate.ts") expect(waitsFor(name)).toEqual(["postgres"]);
      else if (programOf(command ?? []) === "tools/prepare-temporal.ts")
        expect(new Set(waitsFor(name))).toEqual(new Set(["temporal", "temporal-schema", "postgres"]));
      else expect(waitsFor(name)).toEqual(expect.arrayContaining(["migrate", "temporal-namespace", "temporal", "temporal-schema", "postgres"]));
    }
  });

  test("runs the server that its tools make the schema for, and that the chaos tests run", () => {
    const version = /go\.temporal\.io\/server v(\S+)/.exec(readFileSync(join(root, "tools/temporal-server/go.mod"), "utf8"))?.[1];
    expect(serviceOf(compose, "temporal").image).toBe(`temporalio/server:${version}`);
    expect(serviceOf(compose, "temporal-schema").image).toBe(`temporalio/admin-tools:${version}`);
  });

  test("fills its variables in as the file says", () => {
    expect(serviceOf(compose, "api").ports).toEqual(["127.0.0.1:3000:3000"]);
    expect(serviceOf(readCompose({ POSTGRES_PASSWORD: "x", EVERPOST_ENCRYPTION_KEYS: "x", EVERPOST_API_PORT: "80" }), "api").ports).toEqual([
      "127.0.0.1:80:3000",
    ]);
  });
});

describe("the image", () => {
  const stage = dockerfile.slice(dockerfile.lastIndexOf("\nFROM "));

  test("runs as nobody special, with the program itself as process 1", () => {
    expect(stage.match(/^USER .*$/gm)).toEqual(["USER node"]);
    expect(stage.indexOf("USER node")).toBeGreaterThan(stage.lastIndexOf("COPY "));
    expect(imageCommand[0]).toBe("node");
    expect(stage).not.toContain("ENTRYPOINT");
  });

  test("has the Node that the sources are run with", () => {
    const { optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { optionalDependencies: Record<string, string> };
    const major = Object.entries(optionalDependencies)
      .find(([name]) => name.startsWith("node-"))?.[1]
      .split(".")[0];
    expect([...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)).toEqual([
      `node:${major}-bookworm-slim`,
      `node:${major}-bookworm-slim`,
    ]);
  });

  test("owns the folder of blobs, which every process sees at the same place, and shows the API's port", () => {
    for (const [name, { environment: settings, volumes }] of ours) {
      expect(volumes, name).toContainEqual({ source: "blobs", target: settings.EVERPOST_BLOB_DIR });
      expect(stage).toContain(`install -d -o node -g node -m 700 ${settings.EVERPOST_BLOB_DIR}`);
    }
    expect(stage).toContain(`EXPOSE ${serviceOf(compose, "api").environment.EVERPOST_API_PORT}`);
  });

  test("holds no secret, no data and no test of this machine", () => {
    const ignored = readFileSync(join(root, ".dockerignore"), "utf8").trim().split("\n");
    expect(ignored).toEqual(expect.arrayContaining([".git", ".env", ".everpost", "node_modules", "build", "test"]));
  });
});
