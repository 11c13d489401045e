import { afterAll, beforeAll, expect, test } from "vitest";
import { type FuzzReport, fuzz, printReport } from "./fuzz.ts";
import { startWorld, type World } from "./world.ts";

/** Of all requests: workers and Temporal may be late on a machine with too much to do, and an engine that puts everybody off is not well. */
const putOffShareMax = 0.01;

/** What holds after so many requests of every kind. FUZZ_SEED and FUZZ_REQUESTS say it otherwise. */
export function fuzzSuite(preset: { readonly seed: number; readonly requests: number; readonly timeoutMs: number }): void {
  const seed = Number(process.env.FUZZ_SEED ?? preset.seed);
  const requests = Number(process.env.FUZZ_REQUESTS ?? preset.requests);

  let world: World;
  let report: FuzzReport;
  beforeAll(async () => {
    world = await startWorld();
    report = await fuzz(world, { seed, requests });
    if (report.findings.length > 0 || requests > 2_000) printReport(report);
  }, preset.timeoutMs);
  afterAll(() => world?.[Symbol.asyncDispose]());

  test("every answer is one that the document describes, whatever was sent", () => {
    expect(report.findings.map(({ operation, fault, curl }) => `${operation}: ${fault}\n${curl.slice(0, 500)}`)).toEqual([]);
    expect(report.sent).toBeGreaterThanOrEqual(requests);
  });

  test("few requests are put off with 503, and no operation does so often", () => {
    const { times, tooOften } = report.tallies.putOff();
    expect(tooOften).toEqual([]);
    expect(times).toBeLessThanOrEqual(report.sent * putOffShareMax);
  });

  test("every operation was carried out at least once", () => {
    expect(report.tallies.neverDone()).toEqual([]);
  });

  test("API and worker are as well as before", async () => {
    const ready = await fetch(`${world.api.url}/readyz`);
    expect([ready.status, await ready.json()]).toMatchObject([200, { ready: true }]);
    expect(faultsIn(world.api.logs())).toEqual([]);
  });

  test("events of one customer never reach another's endpoint", async () => {
    const ofOther = new Set(await eventIds(world, world.other.id));
    const ofOwn = new Set(await eventIds(world, world.own.id));
    const heard = (customer: World["own"]) => customer.receiver.received.map(({ headers }) => String(headers["webhook-id"]));
    expect(heard(world.own).length).toBeGreaterThan(0);
    expect(heard(world.other).length).toBeGreaterThan(0);
    expect(heard(world.own).filter((id) => ofOther.has(id))).toEqual([]);
    expect(heard(world.other).filter((id) => ofOwn.has(id))).toEqual([]);
  });
}

/** What a log tells of faults of ours; a worker that is late, or a mail server, is none. */
export function faultsIn(logs: string): readonly string[] {
  return logs.split("\n").filter((line) => {
    if (!line.startsWith("{")) return /error|unhandled/i.test(line);
    const { level, err } = JSON.parse(line) as { readonly level: number; readonly err?: { readonly type?: string; readonly code?: string } };
    return level >= 50 && err?.type !== "MailError" && err?.code !== "service_unavailable";
  });
}

async function eventIds({ db }: World, customerId: World["own"]["id"]): Promise<readonly string[]> {
  const rows = await db.selectFrom("events").select("id").where("customer_id", "=", customerId).execute();
  return rows.map(({ id }) => id);
}
