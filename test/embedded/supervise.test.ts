import { spawn } from "node:child_process";
import { afterEach, expect, test } from "vitest";
import { isAlive, type RunningPart, runningPart, signal } from "../../embedded/processes.ts";
import { type Supervised, supervise } from "../../embedded/supervise.ts";
import { until } from "../helpers/wait.ts";

const supervised: Supervised<RunningPart>[] = [];
afterEach(async () => {
  await Promise.all(supervised.splice(0).map((part) => part.stop()));
});

async function run(program: () => string) {
  const said: string[] = [];
  const begin = async () => runningPart(spawn(process.execPath, ["-e", program()], { stdio: "ignore" }), "SIGTERM", 2_000);
  const part = await supervise(begin, { name: "part", say: (line) => said.push(line), lastWords: () => "its last words" });
  supervised.push(part);
  return { part, said };
}

const lasting = "setInterval(() => {}, 1000)";

test("starts a part again that was killed, and says so", async () => {
  const { part, said } = await run(() => lasting);
  const { pid } = part.now;
  signal(pid, "SIGKILL");
  await until(() => part.now.pid !== pid && isAlive(part.now.pid), "a new process");
  await until(() => said.includes("part runs again"), "the news");
  expect(said[0]).toBe("part ended (SIGKILL); starting it again");
});

test("shouts, with its last words, when a part keeps dying, and goes on trying", async () => {
  let starts = 0;
  const { said } = await run(() => {
    starts += 1;
    return "process.exit(3)";
  });
  await until(() => said.find((line) => line.includes("KEEPS DYING")), "the shout");
  expect(said.find((line) => line.includes("KEEPS DYING"))).toContain("its last words");
  expect(said[0]).toBe("part ended (exit 3, its last words); starting it again");
  expect(starts).toBeGreaterThanOrEqual(4);
});

test("does not start a part again that was stopped", async () => {
  const { part, said } = await run(() => lasting);
  await part.stop();
  expect(isAlive(part.now.pid)).toBe(false);
  expect(said).toEqual([]);
});

test("stops at once while it waits to start a dead part again", async () => {
  const { part, said } = await run(() => "process.exit(1)");
  await until(() => said.some((line) => line.includes("KEEPS DYING")), "a long pause");
  const startedAt = performance.now();
  await part.stop();
  expect(performance.now() - startedAt).toBeLessThan(1_500);
});

test("ends a part by force that does not heed the request", async () => {
  const { part } = await run(() => `process.on("SIGTERM", () => {}); ${lasting}`);
  const { pid } = part.now;
  await part.stop();
  expect(isAlive(pid)).toBe(false);
});

test("leaves a first start that fails to the caller", async () => {
  const begin = () => Promise.reject(new Error("no such part"));
  await expect(supervise(begin, { name: "part", say: () => {}, lastWords: () => "" })).rejects.toThrow("no such part");
});
