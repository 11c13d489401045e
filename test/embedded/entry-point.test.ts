import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { heapFlags, surroundings } from "../../embedded/entry-point.ts";

const root = resolve(import.meta.dirname, "../..");

it.each([
  ["Dockerfile", "api/server.ts"],
  ["temporal-docker-compose.yml", "workers/worker.ts"],
])("%s starts %s with the heap that `npm start` gives it", (file, program) => {
  const command = readFileSync(resolve(root, file), "utf8").match(new RegExp(`\\[.*${program}"?\\]`))?.[0] ?? "";
  expect(command.match(/[-/.\w=]+/g)).toEqual(["node", ...heapFlags, program]);
});

it("the Dockerfile sets around the programs what `npm start` sets", () => {
  const set = readFileSync(resolve(root, "Dockerfile"), "utf8").match(/^ENV NODE_ENV=production (.*)$/m)?.[1];
  expect(set?.split(" ")).toEqual(Object.entries(surroundings).map(([name, value]) => `${name}=${value}`));
});

it("the Dockerfile makes Node's cache of the sources with the flags that they are then run with", () => {
  expect(readFileSync(resolve(root, "Dockerfile"), "utf8")).toContain(`node ${heapFlags.join(" ")} "$program"`);
});
