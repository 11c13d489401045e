import { ImapFlow } from "imapflow";
import { sql } from "kysely";
import type { Database } from "../db/database.ts";
import { parseSource } from "../mime/parse-source.ts";
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
 * What anybody would write first, and nothing else: ImapFlow's metadata in ranges of 500, one row a message inserted by kysely. With `withContent` it
 * fetches the source as well, parses it with the parser that Everpost uses, and stores the text. Returns how many messages it stored.
 */
export async function runBareLoop(db: Database, port: number, user: MailUser, { withContent }: { readonly withContent: boolean }): Promise<number> {
  await sql`drop table if exists bare_messages`.execute(db);
  await sql`create table bare_messages (folder text, uid int, flags text[] not null, received_at timestamptz not null, size_bytes int not null,
    envelope jsonb not null, structure jsonb not null, text text, primary key (folder, uid))`.execute(db);
  const bare = db.withTables<BareTables>();
  const auth = { user: user.email, pass: user.password };
  const client = new ImapFlow({ host: "127.0.0.1", port, secure: false, doSTARTTLS: false, auth, logger: false });
  await client.connect();
  let stored = 0;
  try {
    for (const { path } of await client.list()) {
      const folder = await client.mailboxOpen(path, { readOnly: true });
      for (let first = 1; first < folder.uidNext; first += pageSize) {
        const query = { uid: true, flags: true, internalDate: true, size: true, envelope: true, bodyStructure: true, source: withContent };
        const fetched = await client.fetchAll(`${first}:${Math.min(first + pageSize, folder.uidNext) - 1}`, query, { uid: true });
        const texts = await Promise.all(fetched.map(({ source }) => (source === undefined ? null : textOf(source))));
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

async function textOf(source: Buffer): Promise<string> {
  return (await parseSource(source, { charactersMax: 256 * 1024 })).text;
}
