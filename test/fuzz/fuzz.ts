import { chanceOf } from "../chaos/random.ts";
import { createJudge } from "./judge.ts";
import { type Described, describeOperations, type Operation } from "./operations.ts";
import { createPool } from "./pool.ts";
import { destructive } from "./recipes.ts";
import { createRequests, type Requests, type Shot } from "./requests.ts";
import { createTallies, type Tallies } from "./tally.ts";
import { createValidators } from "./validators.ts";
import { openWire, type RawAnswer, toCurl } from "./wire.ts";
import type { World } from "./world.ts";

export interface FuzzOptions {
  readonly seed: number;
  readonly requests: number;
}

export interface Finding {
  readonly operation: string;
  readonly fault: string;
  readonly curl: string;
  readonly answer: string;
}

export interface FuzzReport extends FuzzOptions {
  readonly sent: number;
  readonly findings: readonly Finding[];
  readonly tallies: Tallies;
  readonly seconds: number;
}

/** Nothing takes so long unless it hangs: a test of a connection waits for a mail server for half a minute at most. */
const deadlineMs = 90_000;

/** How many requests are under way at once: the order of what is sent is chance's, that of what is answered the machine's. */
const lanes = 8;

/** Operations that start something lasting, or wait for the network: asked less often than the others, in parts of one. */
const rarely: Readonly<Record<string, number>> = {
  connectMailbox: 0.3,
  disconnectMailbox: 0.3,
  testConnection: 0.15,
  testMailbox: 0.15,
  autodetect: 0.1,
  resyncMailbox: 0.3,
  exportMailbox: 0.3,
  streamEvents: 0.3,
  createFolder: 0.4,
};

const findingsMax = 200;

/** Sends requests of every kind to every operation, and judges every answer. */
export async function fuzz(world: World, { seed, requests: wanted }: FuzzOptions): Promise<FuzzReport> {
  const startedAt = performance.now();
  const described = describeOperations();
  const validators = createValidators(described);
  const judge = createJudge(described, validators);
  const chance = chanceOf(seed);
  const pool = createPool(chance, world.foreign);
  // The callers' own: an audit log names them, and a revoked caller finds nothing out.
  const keys = await world.db.selectFrom("access_keys").select("id").execute();
  pool.gather(keys.map(({ id }) => id).join(" "), true);
  const wire = openWire(world.api.url);
  const folders: { readonly id: string; readonly mailboxId: string }[] = [];
  let names = 0;
  const name = () => `fuzz-${seed}-${names++}`;
  const requests = createRequests(described, validators, world.callers, { world, pool, chance, folders, name });
  const findings: Finding[] = [];
  const seen = new Set<string>();
  const tallies = createTallies(described.operations);
  let sent = 0;

  const fire = async (shot: Shot, isGood = false): Promise<RawAnswer | undefined> => {
    sent += 1;
    const { operation } = shot.sent;
    const answer = await wire
      .send(shot.raw, { timeoutMs: deadlineMs, isStream: shot.raw.target.startsWith("/v1/events/stream") })
      .catch((error: Error) => `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ""}`);
    if (typeof answer === "string") {
      note(shot, [`no answer: ${answer}`], "");
      return undefined;
    }
    tallies.note(operation, answer);
    note(shot, judge.faultsOf(shot.sent, answer), `${answer.status} ${answer.text}`);
    requests.answered(shot, answer);
    if (answer.status < 300) learn(shot, answer, isGood);
    return answer;
  };

  function note({ sent: { operation, broken }, raw }: Shot, faults: readonly string[], answer: string): void {
    for (const fault of faults) {
      // The same fault at the same place is one finding, however often it is met.
      const kind = `${operation?.id} ${fault.replaceAll(/[a-z]{3}_\w{20,}|\d+|"[^"]*"/g, "…")} ${broken?.in}`;
      if (seen.has(kind) || findings.length >= findingsMax) continue;
      seen.add(kind);
      findings.push({ operation: operation?.id ?? "none", fault, curl: toCurl(world.api.url, raw), answer: answer.slice(0, 600) });
    }
  }

  /** What an answer tells of things that are there, and of those that are gone. */
  function learn({ sent: { operation, caller }, raw }: Shot, { text }: RawAnswer, isLasting: boolean): void {
    if (operation === undefined || caller.role === "nobody") return;
    const isGone = raw.method === "DELETE" && operation.id !== "deleteMessage";
    const prefix = destructive[operation.id];
    const target = prefix === undefined ? undefined : raw.target.match(new RegExp(`${prefix}_\\w+`))?.[0];
    if (isGone && target !== undefined) {
      pool.forget(target);
      const at = folders.findIndex(({ id }) => id === target);
      if (at >= 0) folders.splice(at, 1);
      return;
    }
    if (caller !== world.callers[0] || !text.startsWith("{")) return;
    pool.gather(text, isLasting && operation.method === "get");
    const body = JSON.parse(text) as { readonly nextCursor?: unknown; readonly id?: unknown; readonly mailboxId?: unknown };
    if (typeof body.nextCursor === "string") pool.keepCursor(operation.id, body.nextCursor);
    if (operation.id === "createFolder") folders.push({ id: String(body.id), mailboxId: String(body.mailboxId) });
  }

  await prime(described, requests, fire);

  const choose = (): Operation => {
    const operation = chance.pick(described.operations);
    return chance.next() < (rarely[operation.id] ?? 1) ? operation : choose();
  };
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      while (sent < wanted) {
        if (sent % 200 === 0) await world.deliverOne();
        if (sent % 5_000 === 0) console.log(`${sent} of ${wanted} requests, ${findings.length} findings, ${tallies.putOff().times} put off with 503`);
        await fire(await requests.any(choose()));
      }
    }),
  );
  wire.close();
  return { seed, requests: wanted, sent, findings, tallies, seconds: (performance.now() - startedAt) / 1000 };
}

/** First what reads, so that there are ids to ask for, then everything once, as it should be. */
async function prime({ operations }: Described, requests: Requests, fire: (shot: Shot, isGood: boolean) => Promise<unknown>): Promise<void> {
  const byRank = operations.toSorted((a, b) => rank(a) - rank(b));
  for (const operation of byRank.filter((candidate) => rank(candidate) === 0)) await fire(await requests.good(operation), true);
  for (const operation of byRank) await fire(await requests.good(operation), true);
}

/** Listings, then what creates, then what changes, and at last what removes. */
function rank({ method, path, id }: Operation): number {
  if (method === "get") return path.includes("{") ? 2 : 0;
  if (id.startsWith("create") || id === "connectMailbox") return 1;
  return method === "delete" ? 4 : 3;
}

export function printReport({ seed, sent, findings, tallies, seconds }: FuzzReport): void {
  const { times } = tallies.putOff();
  console.log(`${sent} requests in ${Math.round(seconds)} s, FUZZ_SEED=${seed}, ${findings.length} findings, ${times} put off with 503`);
  for (const [operation, { requests, slowestMs = 0, answers = "" }] of Object.entries(tallies.rows())) {
    console.log(`${operation}: ${requests} requests, the slowest ${slowestMs} ms; ${answers}`);
  }
  const { anywhere, byOperation } = tallies.neverMet();
  console.log(`documented, and met nowhere: ${anywhere.join(", ")}`);
  for (const [operation, kinds] of Object.entries(byOperation)) console.log(`documented, and not met at ${operation}: ${kinds.join(", ")}`);
  for (const { operation, fault, curl, answer } of findings) console.log(`--- ${operation}: ${fault}\n${curl.slice(0, 3_000)}\n${answer}\n`);
}
