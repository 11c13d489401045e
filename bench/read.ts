import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { sql } from "kysely";
import { createApp } from "../api/app.ts";
import { routes } from "../api/routes/index.ts";
import { loadConfig } from "../config.ts";
import { createAccessKey } from "../db/access-keys.ts";
import { keyScopes } from "../domain/access.ts";
import { createLogger } from "../logging.ts";
import { fillStore, type Store } from "./fill-store.ts";
import { type BenchContext, type Benchmark, percentile } from "./harness.ts";
import { type Correspondence, correspondence, seeded } from "./mail.ts";

/** Reading a customer's 1,000,000 messages through the API, beside two more customers: listings, searches, and what was written with somebody. */
export const benchmark: Benchmark = {
  name: "read",
  targets: { listP95Ms: { max: 50 }, searchP95Ms: { max: 50 }, contactHistoryP95Ms: { max: 50 } },
  run,
};

const queriesEach = 400;

async function run(context: BenchContext): Promise<Readonly<Record<string, number>>> {
  const mail = correspondence(1, { words: 30_000, people: 20_000 });
  const file = join(context.folder, "store.json");
  if (existsSync(file)) {
    const { scale, store } = JSON.parse(readFileSync(file, "utf8")) as { readonly scale: number; readonly store: Store };
    if (scale !== context.scale) throw new Error(`${context.folder} was filled at BENCH_SCALE=${scale}`);
    return measure(context, mail, store);
  }
  const { store, figures } = await fill(context, mail);
  writeFileSync(file, JSON.stringify({ scale: context.scale, store }));
  return { ...figures, ...(await measure(context, mail, store)) };
}

/** A million messages of one customer, and a twentieth of that for each of two others. */
async function fill({ db, scale, progress }: BenchContext, mail: Correspondence) {
  const wanted = Math.round(1_000_000 * scale);
  let stored = 0;
  const started = performance.now();
  const onStored = (count: number) => {
    stored += count;
    if (stored % 20_000 < count) progress(`${stored} messages stored, ${Math.round((stored / (performance.now() - started)) * 1000)} a second`);
  };
  for (const seed of [77, 78]) await fillStore(db, mail, { seed, messages: Math.round(wanted / 20), onStored });
  const store = await fillStore(db, mail, { seed: 1, messages: wanted, onStored });
  const storedPerSecond = Math.round((stored / (performance.now() - started)) * 1000);
  progress("analysing");
  await sql`vacuum analyze`.execute(db);
  return { store, figures: { messages: stored, storedPerSecond } };
}

/** Asks one question after the other, and takes the time of each. */
export async function measure(context: BenchContext, mail: Correspondence, store: Store): Promise<Readonly<Record<string, number>>> {
  const { progress } = context;
  const api = await startApi(context, store);
  try {
    const paths = makePaths(mail, store, await foldersOf(context, store));
    const figures: Record<string, number> = {};
    for (const [name, next] of Object.entries(paths)) {
      const times: number[] = [];
      let slowest = { ms: 0, path: "" };
      for (let i = 0; i < queriesEach; i++) {
        const path = await next(api.get);
        const begun = performance.now();
        await api.get(path);
        const ms = performance.now() - begun;
        times.push(ms);
        if (ms > slowest.ms) slowest = { ms, path };
        if (i % 100 === 99) progress(`${name}: ${i + 1} of ${queriesEach}`);
      }
      progress(`${name}: the slowest took ${Math.round(slowest.ms)} ms: ${slowest.path}`);
      figures[`${name}P50Ms`] = percentile(times, 0.5);
      figures[`${name}P95Ms`] = percentile(times, 0.95);
      figures[`${name}P99Ms`] = percentile(times, 0.99);
    }
    return figures;
  } finally {
    await api.close();
  }
}

type Get = (path: string) => Promise<{ readonly nextCursor: string | null }>;
type NextPath = (get: Get) => Promise<string>;

/** What reading what is stored never asks for. */
const unused = {} as never;

/** The API as it is in production, over loopback, without what needs Temporal or a mail server. */
async function startApi({ db, databaseUrl }: BenchContext, { customerId }: Store) {
  const config = loadConfig({
    DATABASE_URL: databaseUrl,
    EVERPOST_ENCRYPTION_KEYS: `bench:${Buffer.alloc(32, 7).toString("base64")}`,
    EVERPOST_RATE_LIMIT_PER_MINUTE: "1000000",
  });
  const log = createLogger({ level: "silent", isPretty: false });
  const closing = new AbortController().signal;
  const server = createServer(createApp({ config, db, log, closing, commands: unused, sessions: unused, streams: unused, blobs: unused }, routes));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { key } = await createAccessKey(db, { customerId, role: "customer", name: "bench", scopes: keyScopes });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    get: async (path: string) => {
      const response = await fetch(origin + path, { headers: { Authorization: `Bearer ${key}` } });
      const body = (await response.json()) as { readonly nextCursor: string | null };
      if (!response.ok) throw new Error(`${path} was answered with ${response.status}: ${JSON.stringify(body)}`);
      return body;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function foldersOf({ db }: BenchContext, { customerId }: Store): Promise<readonly string[]> {
  return (await db.selectFrom("folders").select("id").where("customer_id", "=", customerId).execute()).map((row) => row.id);
}

/** Questions as products ask them: every kind in turn, words and people from the commonest to the rarest, one in five of them deep in the pages. */
export function makePaths(mail: Correspondence, { mailboxes }: Store, folders: readonly string[]): Readonly<Record<string, NextPath>> {
  const random = seeded(4);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  // As many of the commonest ten as of the rarest thousands.
  const rank = (count: number) => Math.floor(count ** random()) - 1;
  const word = () => mail.words[rank(mail.words.length)] ?? "";
  const person = () => mail.people[rank(mail.people.length)]?.address ?? "";
  const mailbox = () => pick(mailboxes).id;
  const instant = () => new Date(Date.parse("2017-01-01T00:00:00Z") + random() * 9.5 * 365 * 86_400_000).toISOString();
  const kinds = {
    list: [
      () => "",
      () => `mailboxId=${mailbox()}`,
      () => `folderId=${pick(folders)}`,
      () => `folderId=${pick(folders)}&unread=true`,
      () => `role=${pick(["inbox", "sent", "junk", "trash", "archive", "drafts"])}`,
      () => "unread=true",
      () => `unread=true&mailboxId=${mailbox()}`,
      () => `flagged=true&mailboxId=${mailbox()}`,
      () => "hasAttachment=true",
      () => `direction=${pick(["incoming", "outgoing", "junk", "trash", "draft"])}`,
      () => `direction=outgoing&mailboxId=${mailbox()}&sort=oldest`,
      () => `mailboxId=${mailbox()}&hasAttachment=true&unread=false`,
    ],
    search: [
      () => `q=${word()}`,
      () => `q=${word()}+${word()}`,
      () => `q=%22${word()}+${word()}%22`,
      () => `q=${word()}+-${word()}`,
      () => `q=${word().slice(0, 4)}*`,
      () => `q=${person().split("@")[0]}`,
      () => `q=${person().split("@")[1]}`,
      () => `q=${word()}&mailboxId=${mailbox()}`,
      () => `q=${word()}&folderId=${pick(folders)}`,
      () => `q=${word()}&role=sent&sort=oldest`,
      () => `q=${word()}&contact=${person()}`,
      () => `q=${word()}+${word()}+${word()}`,
    ],
    contactHistory: [
      () => `/v1/contacts/${person()}/messages?`,
      () => `/v1/contacts/${person()}/messages?`,
      () => `/v1/contacts/${pick(mailboxes).email}/messages?`,
      () => `/v1/contacts/${person()}/messages?direction=outgoing`,
      () => `/v1/contacts/${person()}/messages?sort=oldest`,
      () => `/v1/contacts/nobody@nowhere.example/messages?`,
    ],
  };
  return Object.fromEntries(
    Object.entries(kinds).map(([name, list]) => {
      let turn = 0;
      const next: NextPath = async (get) => {
        const made = (list[turn++ % list.length] as () => string)();
        const path = made.startsWith("/") ? made : `/v1/messages?${made}`;
        if (random() >= 0.2) return path;
        // Deep: some year of the past, and behind a page of it.
        const deep = `${path}&receivedBefore=${instant()}`;
        const { nextCursor } = await get(deep);
        return nextCursor === null ? deep : `${deep}&cursor=${nextCursor}`;
      };
      return [name, next];
    }),
  );
}
