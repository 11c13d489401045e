import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ImapFlow } from "imapflow";
import { sql } from "kysely";
import { simpleParser } from "mailparser";
import type { Database } from "../db/database.ts";
import type { MailUser } from "./mail-server.ts";

const pageSize = 500;

type BareTables = {
  readonly bare_messages: {
    readonly folder: string;
    readonly uid: number;
    readonly flags: string[];
    readonly received_at: Date;
    readonly size_bytes: number;
    readonly envelope: string;
    readonly structure: string;
    readonly text: string | null;
  };
};

/**
 * What becomes of sources: nothing, for metadata alone; read by mailparser's `simpleParser`, one after the other, as anybody would write it; or that, and kept
 * so that a message can be found by any of its words, and its source be had when the power has failed since: what Everpost's full content means.
 */
export type BareSources = "none" | "parsed" | "kept";

export interface BareLoop {
  readonly db: Database;
  readonly imapPort: number;
  readonly user: MailUser;
  /** Where kept sources go, a file each. */
  readonly folder: string;
}

/**
 * What anybody would write first, and nothing else: ImapFlow's metadata in ranges of 500, one row a message inserted by kysely. If asked, it fetches the
 * source as well, and stores the text. Returns how many messages it stored.
 */
export async function runBareLoop({ db, imapPort, user, folder: sourcesFolder }: BareLoop, sources: BareSources): Promise<number> {
  await sql`drop table if exists bare_messages`.execute(db);
  await sql`create table bare_messages (folder text, uid int, flags text[] not null, received_at timestamptz not null, size_bytes int not null,
    envelope jsonb not null, structure jsonb not null, text text, primary key (folder, uid))`.execute(db);
  if (sources === "kept") {
    await sql`alter table bare_messages add words tsvector generated always as (to_tsvector('simple', text)) stored`.execute(db);
    await sql`create index on bare_messages using gin (words)`.execute(db);
    await mkdir(sourcesFolder, { recursive: true });
  }
  const bare = db.withTables<BareTables>();
  const auth = { user: user.email, pass: user.password };
  const client = new ImapFlow({ host: "127.0.0.1", port: imapPort, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  let stored = 0;
  try {
    for (const { path } of await client.list()) {
      const folder = await client.mailboxOpen(path, { readOnly: true });
      for (let first = 1; first < folder.uidNext; first += pageSize) {
        const query = { uid: true, flags: true, internalDate: true, size: true, envelope: true, bodyStructure: true, source: sources !== "none" };
        const fetched = await client.fetchAll(`${first}:${Math.min(first + pageSize, folder.uidNext) - 1}`, query, { uid: true });
        const texts: (string | null)[] = [];
        for (const { uid, source } of fetched) {
          texts.push(source === undefined ? null : await textOf(source));
          if (source !== undefined && sources === "kept") await writeFile(join(sourcesFolder, `${path}.${uid}`), source, { flush: true });
        }
        const rows = fetched.map((message, index) => ({
          folder: path,
          uid: message.uid,
          flags: [...(message.flags ?? [])],
          received_at: new Date(message.internalDate ?? 0),
          size_bytes: message.size ?? 0,
          envelope: JSON.stringify(message.envelope),
          structure: JSON.stringify(message.bodyStructure),
          text: texts[index] ?? null,
        }));
        if (rows.length > 0) await bare.insertInto("bare_messages").values(rows).execute();
        stored += rows.length;
      }
    }
  } finally {
    await client.logout();
  }
  return stored;
}

/** Mark-up made of plain text, with its links, is what simpleParser spends most on and nobody here reads. */
async function textOf(source: Buffer): Promise<string | null> {
  return (await simpleParser(source, { skipTextToHtml: true })).text ?? null;
}
