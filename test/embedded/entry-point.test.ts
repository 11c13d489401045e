import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { heapFlags } from "../../embedded/entry-point.ts";

const root = resolve(import.meta.dirname, "../..");

it.each([
  ["Dockerfile", "api/server.ts"],
  ["temporal-docker-compose.yml", "workers/worker.ts"],
])("%s starts %s with the heap that `npm start` gives it", (file, program) => {
  const command = readFileSync(resolve(root, file), "utf8").match(new RegExp(`\\[.*${program}"?\\]`))?.[0] ?? "";
  expect(command.match(/[-/.\w=]+/g)).toEqual(["node", ...heapFlags, program]);
});
