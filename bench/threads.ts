import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { type Database, openDatabase } from "../db/database.ts";
import { listSyncFolders } from "../db/folder-sync.ts";
import { derivedId, newId } from "../db/ids.ts";
import { migrate } from "../db/migrate.ts";
import { type PageOwner, storeHistory } from "../db/store-page.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { RemoteMessage } from "../domain/message.ts";
import { freePort } from "../embedded/ports.ts";
import { startPostgres } from "../embedded/postgres.ts";

/** How fast a first sync is stored: a mailbox of 100,000 messages in threads of every size, in pages of 500, newest first, the sent folder last. */
const messagesMax = Math.max(1_000, Math.round(100_000 * Number(process.env.BENCH_SCALE ?? "1")));
const pageSize = 500;
const firstDay = Date.UTC(2022, 0, 1);
const spanMs = 4 * 365 * 86_400_000;
const words = "invoice meeting offer contract lunch travel budget report question answer order delivery review release plan".split(" ");

const folder = mkdtempSync(join(tmpdir(), "everpost-bench-"));
const postgres = await startPostgres({
  dataDir: join(folder, "postgres"),
  port: await freePort(),
  password: "bench",
  logFile: join(folder, "postgres.log"),
});
const db = openDatabase({ url: postgres.url, poolMax: 1 });

try {
  await migrate(db);
  const mail = mailbox(messagesMax);
  // The first round warms up the server and this process; of the others, the best is what the code costs and the rest is the machine.
  const rounds: Round[] = [];
  for (let round = 0; round <= 3; round += 1) rounds.push(await importAll(db, mail));
  const perSecond = Math.max(...rounds.slice(1).map((round) => round.perSecond));
  const cpuPerThousandMs = Math.min(...rounds.slice(1).map((round) => round.cpuPerThousandMs));
  console.log(JSON.stringify({ bench: "threads", messages: messagesMax, perSecond, cpuPerThousandMs, rounds }));
} finally {
  await db.destroy();
  await postgres.stop();
  rmSync(folder, { recursive: true, force: true });
}

interface Round {
  /** Messages stored. */
  readonly perSecond: number;
  /** What this process and its PostgreSQL connection computed for a thousand messages: it hardly depends on what else the machine does. */
  readonly cpuPerThousandMs: number;
}

async function importAll(db: Database, mail: Readonly<Record<"inbox" | "sent", readonly RemoteMessage[]>>): Promise<Round> {
  const owner: PageOwner = {
    mailboxId: newId("mailbox"),
    customerId: newId("customer"),
    self: { email: "me@example.test", aliases: [], ownDomains: [] },
    tellListedFrom: undefined,
  };
  await db.insertInto("customers").values({ id: owner.customerId, name: "Bench" }).execute();
  await db
    .insertInto("mailboxes")
    .values({ id: owner.mailboxId, customer_id: owner.customerId, email: owner.self.email, provider: "memory", settings: "{}", sync: "{}" })
    .execute();
  const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
  const pid = rows[0]?.pid ?? 0;
  const [started, cpuBefore] = [performance.now(), cpuMs(pid)];
  for (const role of ["inbox", "sent"] as const) await importFolder(db, owner, role, mail[role]);
  return {
    perSecond: Math.round((messagesMax / (performance.now() - started)) * 1_000),
    cpuPerThousandMs: Math.round(((cpuMs(pid) - cpuBefore) / messagesMax) * 10_000) / 10,
  };
}

/** Of this process, and where Linux tells it, of the server's process for the one connection that there is. */
function cpuMs(backend: number): number {
  const { user, system } = process.cpuUsage();
  const stat = `/proc/${backend}/stat`;
  const fields = existsSync(stat) ? readFileSync(stat, "utf8").split(") ")[1]?.split(" ") : undefined;
  // utime and stime (proc(5)), in hundredths of a second.
  return (user + system) / 1_000 + (Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0)) * 10;
}

async function importFolder(db: Database, owner: PageOwner, role: FolderRole, messages: readonly RemoteMessage[]): Promise<void> {
  const id = derivedId("folder", owner.mailboxId, role);
  const listing = { is_selectable: true, is_synced: true, history_cursor: JSON.stringify({ at: 0 }), import_state: "importing" } as const;
  const names = { path: role, name: role, delimiter: "/", role, role_source: "server" } as const;
  await db
    .insertInto("folders")
    .values({ id, customer_id: owner.customerId, mailbox_id: owner.mailboxId, ...names, ...listing })
    .execute();
  const stored = (await listSyncFolders(db, owner.mailboxId)).find((known) => known.id === id);
  if (stored === undefined) throw new Error(`${role} was not stored`);
  for (let at = 0; at < messages.length; at += pageSize) {
    const page = { messages: messages.slice(at, at + pageSize), skipped: [], cursor: { at: at + pageSize }, more: at + pageSize < messages.length };
    await storeHistory(db, owner, stored, { at }, page);
  }
}

/** Most mail stands alone; the rest is talk of two to forty messages, half of it ours, with References as clients write them. */
function mailbox(count: number): { readonly inbox: readonly RemoteMessage[]; readonly sent: readonly RemoteMessage[] } {
  const random = generator(7);
  const messages: { readonly isSent: boolean; readonly message: RemoteMessage }[] = [];
  for (let thread = 0; messages.length < count; thread += 1) {
    const length = random() < 0.6 ? 1 : Math.min(40, 2 + Math.floor(-4 * Math.log(1 - random())));
    const other = `person${Math.floor(random() ** 3 * 5_000)}@example.net`;
    const others = Array.from({ length: Math.floor(random() * 4) }, () => `person${Math.floor(random() * 5_000)}@example.net`);
    const subject = `${words[Math.floor(random() * words.length)]} ${words[Math.floor(random() * words.length)]} ${thread % 977}`;
    let at = firstDay + random() * spanMs;
    const references: string[] = [];
    for (let n = 0; n < length && messages.length < count; n += 1) {
      const isSent = length > 1 && n % 2 === 1;
      const [from, to] = isSent ? ["me@example.test", other] : [other, "me@example.test"];
      messages.push({ isSent, message: toMessage(messages.length, { thread, n, at, subject, from, to, cc: others, references }) });
      references.push(`<${thread}.${n}.0123456789abcdef@mail.example.net>`);
      at += random() * 3 * 86_400_000;
    }
  }
  messages.sort((a, b) => Date.parse(b.message.receivedAt) - Date.parse(a.message.receivedAt));
  const of = (wanted: boolean) => messages.filter(({ isSent }) => isSent === wanted).map(({ message }) => message);
  return { inbox: of(false), sent: of(true) };
}

interface Draft {
  readonly thread: number;
  readonly n: number;
  readonly at: number;
  readonly subject: string;
  readonly from: string;
  readonly to: string;
  readonly cc: readonly string[];
  readonly references: readonly string[];
}

function toMessage(uid: number, { thread, n, at, subject, from, to, cc, references }: Draft): RemoteMessage {
  const instant = new Date(at).toISOString();
  return {
    ref: String(uid + 1),
    stableId: null,
    providerThreadId: null,
    envelope: {
      messageId: `<${thread}.${n}.0123456789abcdef@mail.example.net>`,
      inReplyTo: references.at(-1) ?? null,
      references: [...references],
      subject: n === 0 ? subject : `Re: ${subject}`,
      from: [{ name: from.split("@")[0] ?? "", address: from }],
      replyTo: [],
      to: [{ name: "", address: to }],
      cc: cc.map((address) => ({ name: "", address })),
      bcc: [],
      sentAt: instant,
    },
    flags: ["seen"],
    sizeBytes: 20_000,
    receivedAt: instant,
    attachments: [],
    traits: [],
    defects: [],
    recipientsTotal: null,
    textPart: { part: "1", contentType: "text/plain", charset: "utf-8", transferEncoding: "quoted-printable", encodedSizeBytes: 2_000 },
  };
}

/** Reproducible numbers in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
