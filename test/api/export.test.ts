import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SyncSettings } from "../../domain/sync-settings.ts";
import type { TestMailbox } from "../activities/engine.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { append, type ContentWorld, sourcesAt, startContentWorld, withClient, withParts } from "./content.ts";

let world: ContentWorld;

beforeAll(async () => {
  world = await startContentWorld();
});
afterAll(() => world[Symbol.asyncDispose]());

describe("an export", () => {
  it.each([["of what the server has", {}] as const, ["of what is kept", { content: "full" }] as const])(
    "%s as mbox gives back every source to the byte, the oldest first",
    async (_title, sync: Partial<SyncSettings>) => {
      const mailbox = await filled(sync);
      const { bytes, missing } = await download(`/v1/mailboxes/${mailbox.id}/export`);
      expect(missing).toBe("0");
      const messages = unpackMbox(bytes);
      expect(messages.map(({ source }) => source.toString("latin1"))).toEqual(await expectedSources(mailbox));
      expect(
        bytes
          .toString("latin1")
          .match(/^From .*$/gm)
          ?.every((line) => /^From msg_\w+@everpost\.invalid \w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\r?$/.test(line)),
      ).toBe(true);
    },
  );

  it("that broke off anywhere is resumed from its last separator, and ends up the same", async () => {
    const mailbox = await filled({});
    const path = `/v1/mailboxes/${mailbox.id}/export`;
    const { bytes: whole } = await download(path);
    for (const at of [10, Math.floor(whole.length / 3), Math.floor(whole.length / 2), whole.length - 5]) {
      const broken = whole.subarray(0, at);
      const separators = [...broken.toString("latin1").matchAll(/^From (msg_\w+)@/gm)];
      const last = separators.at(-1);
      const cursor = last?.[1];
      const { bytes: rest } = await download(cursor === undefined ? path : `${path}?cursor=${cursor}`);
      expect(Buffer.concat([broken.subarray(0, last?.index ?? 0), rest]).equals(whole), `cut at ${at}`).toBe(true);
    }
  });

  it("as Maildir unpacks into folders with flags, from two archives where one broke off", async () => {
    const mailbox = await filled({});
    const path = `/v1/mailboxes/${mailbox.id}/export?format=maildir`;
    const { bytes: whole } = await download(path);
    const dir = unpackTar(whole);
    const files = filesBelow(dir);
    const sources = files.map((name) => readFileSync(join(dir, name)).toString("latin1"));
    expect(sources.toSorted()).toEqual((await expectedSources(mailbox)).toSorted());
    expect(files.filter((name) => name.startsWith("cur/")).length).toBe(5);
    expect(files.some((name) => /^\.Archive\/cur\/\d+\.msg_\w+\.everpost:2,$/.test(name))).toBe(true);
    expect(files.some((name) => /^\.日本語/.test(name))).toBe(true);
    expect(files.some((name) => name.endsWith(":2,FS"))).toBe(true);

    const broken = whole.subarray(0, Math.floor(whole.length / 2));
    const cursor = [...broken.toString("latin1").matchAll(/\.(msg_\w+)\.everpost:2,/g)].at(-1)?.[1];
    const { bytes: rest } = await download(`${path}&cursor=${cursor}`);
    const joined = unpackTar(broken, rest);
    expect(filesBelow(joined)).toEqual(files);
    for (const name of files) expect(readFileSync(join(joined, name)).equals(readFileSync(join(dir, name))), name).toBe(true);
  });

  it("of one folder holds what lies there, and counts what was not to be had", async () => {
    const mailbox = await filled({});
    const { body } = await world.api.call("GET", `/v1/mailboxes/${mailbox.id}/folders`, { key: world.key });
    const archive = body.data.find((folder: { path: string }) => folder.path === "Archive").id;
    const path = `/v1/mailboxes/${mailbox.id}/export?folderId=${archive}`;
    expect(unpackMbox((await download(path)).bytes)).toHaveLength(2);
    await withClient(mailbox, async (client) => {
      await client.mailboxOpen("Archive");
      await client.messageDelete("1", { uid: true });
    });
    const { bytes, missing } = await download(path);
    expect([unpackMbox(bytes).length, missing]).toEqual([1, "1"]);
  });

  it("of a mailbox that was disconnected is refused as everything of it is", async () => {
    const mailbox = await filled({ content: "full" });
    await world.engine.db.updateTable("mailboxes").set({ deleted_at: new Date() }).where("id", "=", mailbox.id).execute();
    const answer = await world.api.call("GET", `/v1/mailboxes/${mailbox.id}/export`, { key: world.key });
    expect([answer.status, answer.body.code]).toEqual([404, "not_found"]);
  });

  it("names a cursor or a folder that is not the mailbox's", async () => {
    const [mailbox, other] = [await filled({}), await filled({})];
    const foreign = await world.idOf(other, 1);
    const wrong = await world.api.call("GET", `/v1/mailboxes/${mailbox.id}/export?cursor=${foreign}`, { key: world.key });
    expect([wrong.status, wrong.body.errors[0].pointer]).toEqual([400, "#/cursor"]);
    const folder = await world.api.call("GET", `/v1/mailboxes/${mailbox.id}/export?folderId=fld_1CbWqaK3zvYyZ9rNbX1pQ4`, { key: world.key });
    expect([folder.status, folder.body.errors[0].pointer]).toEqual([400, "#/folderId"]);
  });
});

/** Messages that a careless writer of mbox would break, in three folders. */
async function filled(sync: Partial<SyncSettings>): Promise<TestMailbox> {
  const mailbox = await world.engine.addMailbox({ sync });
  const inbox = [
    withParts("separators", [], "From the start\r\n>From quoted\r\n>>From twice\r\n From not\r\nFrom\r\n>"),
    withParts("plain", []),
    // A line that begins exactly where two pieces of a read meet.
    withParts("large", [
      { headers: ["Content-Type: application/octet-stream"], body: `${"x\r\n".repeat(174_000)}${"From here\r\n".repeat(300_000)}` },
    ]),
    withParts("empty lines", [], "\r\n\r\n\r\n"),
    withParts("eight bit \u00e9", [], "caf\u00e9"),
  ];
  await append(mailbox, "INBOX", inbox);
  await append(mailbox, "Archive", [withParts("archived 1", []), withParts("archived 2", [])]);
  await withClient(mailbox, async (client) => {
    await client.mailboxCreate("日本語/a.b");
    await client.append("日本語/a.b", withParts("far away", []));
    await client.mailboxOpen("INBOX");
    await client.messageFlagsSet("2", ["\\Seen", "\\Flagged"], { uid: true });
  });
  await world.sync(mailbox);
  if (sync.content !== undefined) await world.engine.run((run) => run.keepContent({ mailboxId: mailbox.id }));
  return mailbox;
}

async function expectedSources(mailbox: TestMailbox): Promise<readonly string[]> {
  const folders = await Promise.all(["INBOX", "Archive", "日本語/a.b"].map(async (path) => ({ path, sources: await sourcesAt(mailbox, path) })));
  const rows = await world.engine.db
    .selectFrom("messages as m")
    .innerJoin("message_locations as l", "l.message_id", "m.id")
    .innerJoin("folders as f", "f.id", "l.folder_id")
    .select(["f.path", "l.ref"])
    .where("m.mailbox_id", "=", mailbox.id)
    .orderBy("m.received_at")
    .orderBy("m.id", "desc")
    .execute();
  return rows.map(({ path, ref }) =>
    String(
      folders
        .find((folder) => folder.path === path)
        ?.sources.get(Number(ref))
        ?.toString("latin1"),
    ),
  );
}

/** As any reader of mboxrd does it. */
function unpackMbox(bytes: Buffer): readonly { readonly id: string; readonly source: Buffer }[] {
  return bytes
    .toString("latin1")
    .split(/^(?=From )/m)
    .filter((entry) => entry !== "")
    .map((entry) => {
      const end = entry.indexOf("\n") + 1;
      const source = entry.slice(end, -2).replaceAll(/^>(>*From )/gm, "$1");
      return { id: /^From (msg_\w+)/.exec(entry)?.[1] ?? "", source: Buffer.from(source, "latin1") };
    });
}

/** By the system's own tar, which complains about an archive that breaks off and keeps what it has. */
function unpackTar(...archives: readonly Buffer[]): string {
  const dir = testDirectory("export");
  for (const [index, archive] of archives.entries()) {
    const file = join(testDirectory("export"), `${index}.tar`);
    writeFileSync(file, archive);
    mkdirSync(dir, { recursive: true });
    const { status, stderr } = spawnSync("tar", ["-xf", file, "-C", dir], { encoding: "utf8", env: { ...process.env, LC_ALL: "C.UTF-8" } });
    if (index === archives.length - 1 && status !== 0) throw new Error(stderr);
  }
  return dir;
}

function filesBelow(dir: string): readonly string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true, encoding: "utf8" })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
    .toSorted();
}

/** fetch knows no trailers. */
function download(path: string): Promise<{ readonly bytes: Buffer; readonly missing: string | undefined }> {
  return new Promise((resolve, reject) => {
    get(`${world.api.url}${path}`, { headers: { Authorization: `Bearer ${world.key}` } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        if (response.statusCode === 200) resolve({ bytes: Buffer.concat(chunks), missing: response.trailers["everpost-missing"] });
        else reject(new Error(`answered ${response.statusCode}: ${Buffer.concat(chunks).toString().slice(0, 500)}`));
      });
    }).on("error", reject);
  });
}
