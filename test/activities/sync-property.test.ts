import type { ImapFlow } from "imapflow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MailboxId } from "../../domain/ids.ts";
import { normaliseFlags } from "../../domain/message.ts";
import type { MemoryMailbox } from "../../providers/memory/store.ts";
import { type Chance, chanceOf } from "../chaos/random.ts";
import { type Engine, startEngine } from "./engine.ts";
import { addMemoryMailbox, connect, eventsOf, fetchAndTell, importAll, mail, memoryMail, onServer } from "./syncing.ts";

let engine: Engine;

beforeAll(async () => {
  engine = await startEngine({ pageSize: 5 });
});
afterAll(() => engine[Symbol.asyncDispose]());

/** Where messages lie, with their flags: `INBOX 7 seen`. */
type Picture = readonly string[];

describe("whatever another mail program does while Everpost reads", () => {
  it.each(Array.from({ length: 8 }, (_, index) => [index + 1]))(
    "between two questions, the store ends as the server, and events tell one story (seed %i) [row 45]",
    async (seed) => {
      const { id, server } = await addMemoryMailbox(engine);
      const chance = chanceOf(seed);
      for (const path of ["A", "B", "C"]) server.createFolder(path);
      const person = personAt(server, chance);
      for (let n = 0; n < 8; n += 1) person.append(person.longAgo);
      const history = new Set(person.living());
      await connect(engine, id);
      server.beforeAnswer = () => {
        if (chance.next() < 0.4) person.act();
      };
      for (let looks = 0; looks < 12; looks += 1) await fetchAndTell(engine, id, chance.next() < 0.5 ? null : [chance.pick(person.paths())]);
      server.beforeAnswer = undefined;
      await settle(id);

      expect(await storedPicture(id)).toEqual(person.picture());
      await expectOneStory(id, { history, living: person.living(), all: person.all() });
    },
  );

  it.each([[101], [102]])("at a real server, the store ends as the server, and events tell one story (seed %i) [row 45]", async (seed) => {
    const mailbox = await engine.addMailbox();
    const chance = chanceOf(seed);
    const all: string[] = [];
    const history = new Set<string>();
    await onServer(mailbox, "INBOX", async (client) => {
      for (const path of ["A", "B"]) await client.mailboxCreate(path);
      const append = async () => {
        all.push(String(all.length + 1));
        await client.append(chance.pick(["INBOX", "A", "B"]), mail(all.length));
      };
      for (let n = 0; n < 8; n += 1) await append();
      for (const name of all) history.add(name);
      await connect(engine, mailbox.id);
      for (let looks = 0; looks < 8; looks += 1) {
        const acting = (async () => {
          for (let acts = 0; acts < 6; acts += 1) {
            if (chance.next() < 0.3) await append();
            else await actAt(client, chance);
          }
        })();
        await fetchAndTell(engine, mailbox.id, chance.next() < 0.5 ? null : [chance.pick(["INBOX", "A", "B"])]);
        await acting;
      }
      await settle(mailbox.id);
      const picture = await serverPicture(client);
      expect(await storedPicture(mailbox.id)).toEqual(picture);
      await expectOneStory(mailbox.id, { history, living: new Set(picture.map((line) => line.split(" ")[1] ?? "")), all });
    });
  });
});

/** Looks until nothing is left to do, as the workflow would. */
async function settle(id: MailboxId): Promise<void> {
  await fetchAndTell(engine, id);
  await importAll(engine, id);
  await fetchAndTell(engine, id);
  await fetchAndTell(engine, id);
}

function personAt(server: MemoryMailbox, chance: Chance) {
  const all: string[] = [];
  // What lies in a folder that is new to us is told if it came after the mailbox was connected, to the second.
  const [longAgo, later] = ["2026-01-01T00:00:00.000Z", new Date(Date.now() + 10_000).toISOString()];
  const paths = () => [...server.folders.keys()];
  const messages = () => [...server.folders.values()].flatMap(({ path, messages: held }) => [...held.values()].map((held) => ({ path, ...held })));
  const nameOf = (messageId: string | null) => (messageId ?? "").replace(/^<|@.*$/g, "");
  const append = (receivedAt = later) => {
    all.push(String(all.length + 1));
    server.append(chance.pick(paths()), { ...memoryMail(all.length), receivedAt });
  };
  return {
    paths,
    longAgo,
    append,
    all: () => all,
    living: () => new Set(messages().map(({ envelope }) => nameOf(envelope.messageId))),
    picture: (): Picture =>
      messages()
        .map(({ path, envelope, flags }) => lineOf(path, nameOf(envelope.messageId), flags))
        .sort(),
    act() {
      const what = chance.next();
      const held = messages();
      if (what < 0.2 || held.length === 0) return append();
      const { path, uid } = chance.pick(held);
      const to = chance.pick(paths());
      if (what < 0.55 && to !== path) server.move(path, uid, to);
      else if (what < 0.65 && to !== path) server.copy(path, uid, to);
      else if (what < 0.75) server.expunge(path, [uid]);
      else if (what < 0.9) server.setFlags(path, uid, chance.next() < 0.5 ? ["seen"] : ["flagged", "seen"]);
      else if (what < 0.95) server.createFolder(`New ${all.length}`);
      else if (path !== "INBOX" && !server.folders.has(`Renamed ${all.length}`)) server.renameFolder(path, `Renamed ${all.length}`);
    },
  };
}

async function actAt(client: ImapFlow, chance: Chance): Promise<void> {
  const path = chance.pick(["INBOX", "A", "B"]);
  await client.mailboxOpen(path);
  const uids = (await client.search({ all: true }, { uid: true })) || [];
  if (uids.length === 0) return;
  const uid = String(chance.pick(uids));
  const to = chance.pick(["INBOX", "A", "B"].filter((other) => other !== path));
  const what = chance.next();
  if (what < 0.5) await client.messageMove(uid, to, { uid: true });
  else if (what < 0.6) await client.messageCopy(uid, to, { uid: true });
  else if (what < 0.7) await client.messageDelete(uid, { uid: true });
  else await client.messageFlagsAdd(uid, chance.next() < 0.5 ? ["\\Seen"] : ["\\Flagged"], { uid: true });
}

async function serverPicture(client: ImapFlow): Promise<Picture> {
  const lines: string[] = [];
  for (const path of ["INBOX", "A", "B"]) {
    await client.mailboxOpen(path);
    for (const row of await client.fetchAll("1:*", { envelope: true, flags: true })) {
      lines.push(lineOf(path, (row.envelope?.messageId ?? "").replace(/^<|@.*$/g, ""), normaliseFlags(row.flags ?? [])));
    }
  }
  return lines.sort();
}

async function storedPicture(id: MailboxId): Promise<Picture> {
  const rows = await engine.db
    .selectFrom("message_locations as l")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .innerJoin("messages as m", "m.id", "l.message_id")
    .select(["f.path", "m.message_id", "l.flags"])
    .where("l.mailbox_id", "=", id)
    .execute();
  return rows.map(({ path, message_id, flags }) => lineOf(path, (message_id ?? "").replace(/^<|@.*$/g, ""), flags)).sort();
}

function lineOf(path: string, name: string, flags: readonly string[]): string {
  return `${path} ${name} ${flags.join(",")}`;
}

/** Each message's events, in order, are a life: told as new once unless it was there before, deleted once at its end, and never while it lives. */
async function expectOneStory(
  id: MailboxId,
  { history, living, all }: { readonly history: ReadonlySet<string>; readonly living: ReadonlySet<string>; readonly all: readonly string[] },
): Promise<void> {
  const lives = Map.groupBy(
    (await eventsOf(engine, id)).filter((event) => event.type.startsWith("message.")),
    (event) => ((event.data as { message: { messageId: string } }).message.messageId ?? "").replace(/^<|@.*$/g, ""),
  );
  const wrong = all.flatMap((name) => {
    const types = (lives.get(name) ?? []).map((event) => event.type.replace("message.", ""));
    const isLife = history.has(name) ? /^(updated )*(deleted )?$/ : /^created (updated )*(deleted )?$/;
    const story = types.map((type) => `${type} `).join("");
    const isUnseen = story === "" && !living.has(name);
    if (!isUnseen && !isLife.test(story)) return [`${name}: ${story}`];
    if (living.has(name) === types.includes("deleted") && !isUnseen) return [`${name} lives: ${living.has(name)}, told: ${story}`];
    return [];
  });
  expect(wrong).toEqual([]);
}
