import { describe, expect, test } from "vitest";
import type { SyncCursor } from "../../../domain/sync.ts";
import { createMirror } from "../../contract/mirror.ts";
import { honestly, type MisbehavingImap, type ScriptedFolder, scriptedFolder, usualCapabilities } from "../../helpers/misbehaving-imap.ts";
import { inbox, open, serve, settled, without } from "./opened.ts";

const listedBy = async (server: MisbehavingImap) => (await open(server).listFolders()).map(({ path }) => path);

describe("folders", () => {
  test("of a server with a personal namespace are all seen, INBOX too, with the roles of their own names [row 66]", async () => {
    const folders = ["INBOX", "INBOX.Sent", "INBOX.Papierkorb", "INBOX.Projects", "INBOX.Projects.Sent"].map((name) =>
      scriptedFolder(name, { delimiter: "." }),
    );
    const server = await serve({ folders, namespace: '(("INBOX." ".")) NIL NIL' });
    const provider = open(server);
    const roles = (await provider.listFolders()).map(({ path, role }) => [path, role]);
    expect(Object.fromEntries(roles)).toEqual({
      INBOX: "inbox",
      "INBOX.Sent": "sent",
      "INBOX.Papierkorb": "trash",
      "INBOX.Projects": "none",
      "INBOX.Projects.Sent": "none",
    });
    server.append("INBOX.Sent");
    const mirror = createMirror(provider, { path: "INBOX.Sent" });
    await mirror.settle();
    expect(mirror.listed).toEqual(["1"]);
  });

  test("of others are marked, read by their own paths, and never taken for the account's own", async () => {
    const names = ["INBOX", "INBOX.Sent", "shared.info", "shared.Sent", "user.bob.Trash"];
    const folders = names.map((name) => scriptedFolder(name, { delimiter: "." }));
    const server = await serve({ folders, namespace: '(("INBOX." ".")) (("user." ".")) (("shared." "."))' });
    // As Cyrus and Courier do, `*` shows the account's own only.
    server.fault = ({ verb, args }, honest) =>
      verb === "LIST" && args[1] === "*"
        ? honest()
            .split("\r\n")
            .filter((line) => !/"(shared|user)\./.test(line))
            .join("\r\n")
        : honestly;
    const provider = open(server);
    const found = (await provider.listFolders()).map(({ path, role, isShared }) => [path, role, isShared]);
    expect(found.toSorted()).toEqual([
      ["INBOX", "inbox", false],
      ["INBOX.Sent", "sent", false],
      ["shared.Sent", "none", true],
      ["shared.info", "none", true],
      ["user.bob.Trash", "none", true],
    ]);
    server.append("shared.info", 2);
    const mirror = createMirror(provider, { path: "shared.info" });
    await mirror.settle();
    expect(mirror.listed).toEqual(["2", "1"]);
  });

  const oddNames: readonly Partial<ScriptedFolder>[] = [
    { name: 'He said "no"' },
    { name: "back\\slash" },
    { name: "100% of *" },
    { name: "R&D", wireName: "R&D" },
    { name: "A&-B", wireName: "A&-B&" },
    { name: "Entw\u00fcrfe", wireName: Buffer.from("Entw\u00fcrfe").toString("latin1") },
    { name: "Entw\u00fcrfe 2" },
    { name: "\u53d7\u4fe1", delimiter: null },
    { name: " leading and trailing " },
    { name: "/rooted" },
    { name: "NIL" },
    { name: "{3}" },
    { name: "a(b)c[d]" },
    { name: "\ud83d\udc4d & co" },
  ];

  for (const capabilities of [
    usualCapabilities,
    without("UTF8=ACCEPT", "ENABLE", "LIST-STATUS", "SPECIAL-USE", "LIST-EXTENDED", "CONDSTORE", "ESEARCH"),
  ]) {
    const kind = capabilities.includes("UTF8=ACCEPT") ? "with UTF8=ACCEPT" : "in modified UTF-7";
    test(`of any name are listed, read and asked about ${kind} [row 77]`, async () => {
      const odd = oddNames.filter(({ wireName }) => wireName === undefined || !capabilities.includes("UTF8=ACCEPT"));
      const folders = [scriptedFolder("INBOX"), ...odd.map((folder) => scriptedFolder(folder.name ?? "", folder))];
      const server = await serve({ folders, capabilities });
      const provider = open(server);
      for (const { name } of folders) server.append(name);
      const paths = (await provider.listFolders()).map(({ path }) => path);
      expect(paths).toHaveLength(folders.length);
      const cursors = new Map<string, SyncCursor>();
      for (const path of paths) {
        const mirror = createMirror(provider, { path });
        await mirror.settle();
        expect(mirror.listed, path).toEqual(["1"]);
        cursors.set(path, mirror.cursor as SyncCursor);
      }
      const states = await provider.checkScopes(cursors);
      expect(states.map(({ path, changed, total }) => [path, changed, total])).toEqual(paths.map((path) => [path, false, 1]));
    });
  }

  test("that hold no mail or do not exist are told apart from those that do", async () => {
    const server = await serve({
      folders: [
        scriptedFolder("INBOX"),
        scriptedFolder("[Gmail]", { flags: ["\\Noselect", "\\HasChildren"] }),
        scriptedFolder("ghost", { flags: ["\\NonExistent"] }),
        scriptedFolder("GHOST2", { flags: ["\\NONEXISTENT", "\\Subscribed"] }),
      ],
    });
    const found = (await open(server).listFolders()).map(({ path, selectable }) => [path, selectable]);
    expect(found).toEqual([
      ["INBOX", true],
      ["[Gmail]", false],
    ]);
  });

  test("keep their ids through a rename where the server gives them (RFC 8474)", async () => {
    const server = await serve({
      capabilities: [...usualCapabilities, "OBJECTID"],
      folders: [scriptedFolder("INBOX", { mailboxId: "F1" }), scriptedFolder("Old name", { mailboxId: "F2" })],
    });
    const provider = open(server);
    const ids = async () => (await provider.listFolders()).map(({ path, stableId }) => [path, stableId]);
    expect(await ids()).toEqual([
      ["INBOX", "F1"],
      ["Old name", "F2"],
    ]);
    server.folders[1] = { ...server.folder("Old name"), name: "New name" };
    expect(await ids()).toEqual([
      ["INBOX", "F1"],
      ["New name", "F2"],
    ]);
    expect(provider.capabilities.stableIds).toBe(true);
  });

  test("of 10,000 are listed at once and asked about in one question", async () => {
    const names = ["INBOX", ...Array.from({ length: 10_000 }, (_, index) => `Archive/${index % 100}/case ${index}`)];
    const server = await serve({ folders: names.map((name) => scriptedFolder(name)) });
    const provider = open(server);
    const before = performance.now();
    const listed = await provider.listFolders();
    expect(listed).toHaveLength(names.length);
    const cursor = (await provider.pullChanges(inbox, undefined, { limit: 10 })).cursor;
    server.append("Archive/7/case 7");
    const states = await provider.checkScopes(new Map(names.map((name) => [name, cursor])));
    expect(states.filter(({ changed }) => changed).map(({ path }) => path)).toEqual(["Archive/7/case 7"]);
    expect(performance.now() - before).toBeLessThan(20_000);
    expect(server.heard.filter((line) => / STATUS /.test(line) && !/ LIST /.test(line))).toEqual([]);
  });

  test("that no command can name are left out, and the others are listed", async () => {
    const names = ["a\r\nA1 DELETE INBOX", "b\0c", "d\re", "n".repeat(100_000), "\u001b[2J", "\ud800"];
    const server = await serve();
    server.fault = ({ verb }) => {
      if (verb !== "LIST") return honestly;
      const lines = ["INBOX", ...names].map((name) => `* LIST () "/" {${Buffer.byteLength(name)}}\r\n${Buffer.from(name).toString("latin1")}\r\n`);
      return `${lines.join("")}{tag} OK done\r\n`;
    };
    const paths = (await open(server).listFolders()).map(({ path }) => path);
    expect(paths).toEqual(["INBOX", "\u001b[2J", "\ufffd"]);
  });

  test("end with a clear answer where the server never stops naming them", async () => {
    const server = await serve();
    server.fault = ({ verb }) => (verb === "LIST" ? `${'* LIST () "/" "x"\r\n'.repeat(100_002)}{tag} OK done\r\n` : honestly);
    await expect(open(server).listFolders()).rejects.toMatchObject({ code: "invalid_response" });
  });

  test.each([
    ["[NONEXISTENT] Unknown Mailbox: gone (Failure)"],
    ["Mailbox does not exist"],
    ["SELECT failed. Folder gone doesn't exist"],
    ["gone: kein solcher Ordner"],
  ])("that vanished are told as gone, however the server words it: %s [row 56]", async (wording) => {
    const server = await serve({ folders: [scriptedFolder("INBOX"), scriptedFolder("gone")] });
    const { provider } = await settled(server);
    const cursor = (await provider.pullChanges({ path: "gone" }, undefined, { limit: 10 })).cursor;
    server.folders.splice(1, 1);
    server.fault = ({ verb, args }) => (["EXAMINE", "STATUS"].includes(verb) && args[0] === "gone" ? `{tag} NO ${wording}\r\n` : honestly);
    await expect(provider.pullChanges({ path: "gone" }, cursor, { limit: 10 })).rejects.toMatchObject({ code: "not_found" });
    expect(await provider.checkScopes(new Map([["gone", cursor]]))).toEqual([]);
    await expect(provider.pullChanges(inbox, undefined, { limit: 10 })).resolves.toMatchObject({ reset: true });
  });

  test("say so when Gmail hides All Mail, and take it for the archive when it does not [row 20]", async () => {
    const gmail = [...usualCapabilities, "X-GM-EXT-1"];
    const folders = [scriptedFolder("INBOX"), scriptedFolder("[Gmail]/Sent Mail", { flags: ["\\Sent"] })];
    const hidden = await serve({ capabilities: gmail, folders });
    await expect(open(hidden).verify()).rejects.toMatchObject({ code: "all_mail_hidden", fix: expect.stringContaining("Show in IMAP") });
    const shown = await serve({ capabilities: gmail, folders: [...folders, scriptedFolder("[Gmail]/All Mail", { flags: ["\\All"] })] });
    expect((await open(shown).listFolders()).find(({ path }) => path === "[Gmail]/All Mail")?.role).toBe("archive");
    expect(await listedBy(shown)).toHaveLength(3);
  });
});

describe("listings and counters that lie", () => {
  test("are read by other questions where SEARCH ALL is refused [row 54]", async () => {
    const server = await serve({ capabilities: without("ESEARCH") });
    server.append("INBOX", 45_000);
    server.fault = ({ verb }) => (verb === "UID SEARCH" ? "{tag} BAD SEARCH not understood\r\n" : honestly);
    const mirror = createMirror(open(server), inbox);
    await mirror.pullChanges();
    await mirror.pullHistory(40);
    expect(mirror.listed).toEqual(Array.from({ length: 40 }, (_, index) => String(45_000 - index)));
    server.expunge("INBOX", [44_990, 3]);
    await mirror.pullChanges(10, true);
    expect(mirror.messages.size).toBe(39);
  });

  test("lose no message when SEARCH is cut at either end [row 70]", async () => {
    for (const cut of [(uids: string[]) => uids.slice(0, 10), (uids: string[]) => uids.slice(-10)]) {
      const server = await serve({ capabilities: without("ESEARCH") });
      server.append("INBOX", 40);
      server.fault = ({ verb }, honest) =>
        verb === "UID SEARCH" ? honest().replace(/SEARCH( \d+)+/, (line) => `SEARCH ${cut(line.split(" ").slice(1)).join(" ")}`) : honestly;
      const { mirror } = await settled(server);
      expect(mirror.messages.size).toBe(40);
      server.append("INBOX", 40);
      await mirror.settle(7);
      expect(mirror.messages.size).toBe(80);
      expect(new Set(mirror.listed).size).toBe(mirror.listed.length);
    }
  });

  test("skip the one message that is [UNAVAILABLE], say so, and give it when it is back [row 58]", async () => {
    const server = await serve();
    server.append("INBOX", 3);
    const { provider, mirror } = await settled(server);
    server.append("INBOX", 20);
    server.fault = ({ verb }, honest) =>
      verb === "UID FETCH" && /[( ]UID 11 /.test(honest()) ? "{tag} NO [UNAVAILABLE] cannot read it now\r\n" : honestly;
    const page = await provider.pullChanges(inbox, mirror.cursor, { limit: 100 });
    expect(page.added).toHaveLength(19);
    expect(page.skipped).toMatchObject([{ ref: "11", code: "unavailable" }]);
    expect(await provider.fetchMessages(inbox, page.cursor, ["11"])).toMatchObject({ messages: [], skipped: [{ ref: "11" }] });
    server.fault = undefined;
    expect(await provider.fetchMessages(inbox, page.cursor, ["11", "4000"])).toMatchObject({ messages: [{ ref: "11" }], skipped: [] });
  });

  test("find flag changes although the counter stands still", async () => {
    const server = await serve();
    server.append("INBOX", 5);
    const { mirror } = await settled(server);
    server.fault = ({ verb }, honest) => (verb === "EXAMINE" ? honest().replace(/HIGHESTMODSEQ \d+/, "HIGHESTMODSEQ 6") : honestly);
    server.setFlags("INBOX", 2, ["\\Seen"]);
    server.append("INBOX");
    await mirror.settle();
    expect(mirror.messages.get("2")?.flags).toEqual(["seen"]);
    server.setFlags("INBOX", 3, ["\\Flagged"]);
    await mirror.settle();
    expect(mirror.messages.get("3")?.flags).toEqual(["flagged"]);
  });

  test("find flag changes although the counter goes back, once and again and again", async () => {
    const server = await serve();
    server.append("INBOX", 5);
    const { mirror } = await settled(server);
    let counter = 100;
    server.fault = ({ verb }, honest) => (verb === "EXAMINE" ? honest().replace(/HIGHESTMODSEQ \d+/, `HIGHESTMODSEQ ${counter}`) : honestly);
    for (const [uid, flag] of [
      ["1", "Seen"],
      ["2", "Flagged"],
      ["3", "Answered"],
      ["4", "Draft"],
      ["5", "Seen"],
    ] as const) {
      counter -= 7;
      server.setFlags("INBOX", Number(uid), [`\\${flag}`]);
      await mirror.settle();
      expect(mirror.messages.get(uid)?.flags, uid).toEqual([flag.toLowerCase()]);
    }
    expect(mirror.cursor).toMatchObject({ ignoresModseq: true });
    expect(mirror.resets).toBe(1);
  });

  test("find flag changes where the counter is offered and the folder has none (NOMODSEQ)", async () => {
    const server = await serve({ folders: [scriptedFolder("INBOX", { modseq: null })] });
    server.append("INBOX", 5);
    const { mirror } = await settled(server);
    expect(mirror.cursor).toMatchObject({ modseq: null });
    server.setFlags("INBOX", 2, ["\\Seen"]);
    await mirror.settle();
    expect(mirror.messages.get("2")?.flags).toEqual(["seen"]);
  });
});
