import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MailError } from "../../domain/errors.ts";
import type { SyncCursor } from "../../domain/sync.ts";
import type { MailProvider } from "../../providers/provider.ts";
import { until } from "../helpers/wait.ts";
import { createMirror } from "./mirror.ts";

/** What a test says of a message; the backend makes a real one of it. */
export interface TestMessage {
  readonly subject?: string;
  readonly messageId?: string | null;
  readonly text?: string;
  readonly flags?: readonly string[];
  /** A second part, behind the text. */
  readonly attachment?: { readonly fileName: string; readonly content: Buffer };
}

/** One account at a server, seen from the other side: what a person or another mail program does there. */
export interface TestMailbox {
  /** Opened anew each time, and closed with the mailbox. */
  open(options?: { readonly password?: string }): MailProvider;
  append(path: string, message: TestMessage): Promise<string>;
  /** The same, fast, for folders with thousands. */
  appendMany(path: string, messages: readonly TestMessage[]): Promise<void>;
  setFlags(path: string, ref: string, flags: readonly string[]): Promise<void>;
  expunge(path: string, refs: readonly string[]): Promise<void>;
  createFolder(path: string): Promise<void>;
  deleteFolder(path: string): Promise<void>;
  /** The server goes away; until then, connections that are open work. */
  disappear(): Promise<void>;
  close(): Promise<void>;
}

export interface Backend {
  readonly name: string;
  newMailbox(): Promise<TestMailbox>;
  /** Tests that this backend cannot pass, by title, with the reason. */
  readonly skip?: Readonly<Record<string, string>>;
}

const inbox = { path: "INBOX" };

/** What every provider must do, whatever lies behind it. Run once per backend. */
export function describeMailProvider(backend: Backend): void {
  const it = (title: string, run: () => Promise<void>, timeoutMs?: number) => {
    if (backend.skip?.[title] === undefined) test(title, run, timeoutMs);
  };

  describe(`${backend.name} fulfils the provider contract`, () => {
    let mailbox: TestMailbox;
    let provider: MailProvider;
    let folderNumber = 0;

    beforeAll(async () => {
      mailbox = await backend.newMailbox();
      provider = mailbox.open();
    });
    afterAll(async () => {
      await mailbox.close();
    });

    const newFolder = async () => {
      folderNumber += 1;
      const path = `Folder ${folderNumber}`;
      await mailbox.createFolder(path);
      return { path };
    };
    const appendAll = async (path: string, count: number, from = 0) => {
      const refs: string[] = [];
      for (let index = 0; index < count; index += 1) refs.push(await mailbox.append(path, { subject: `message ${from + index}` }));
      return refs;
    };

    it("verifies the account and counts the inbox", async () => {
      const other = await backend.newMailbox();
      await other.append("INBOX", { subject: "one" });
      await other.append("INBOX", { subject: "two", flags: ["seen"] });
      const report = await other.open().verify();
      expect(report.inbox).toEqual({ total: 2, unseen: 1 });
      expect(report.folders.find((folder) => folder.path === "INBOX")).toMatchObject({ role: "inbox", selectable: true });
      await other.close();
    });

    it("refuses a wrong password with authentication_failed, for every method", async () => {
      const wrong = mailbox.open({ password: "not the password" });
      await expect(wrong.verify()).rejects.toMatchObject({ name: "MailError", code: "authentication_failed" });
      await expect(wrong.pullChanges(inbox, undefined, { limit: 10 })).rejects.toMatchObject({ code: "authentication_failed" });
      const watching = wrong.watch(watchOptions(new AbortController().signal, new Map()));
      await expect(watching).rejects.toMatchObject({ code: "authentication_failed" });
    });

    it("answers the first look with a reset, an empty page and the way into the history", async () => {
      const scope = await newFolder();
      await appendAll(scope.path, 3);
      const page = await provider.pullChanges(scope, undefined, { limit: 10 });
      expect(page).toMatchObject({ added: [], flagChanges: [], removed: [], reset: true, more: false, total: 3 });
      expect(page.historyCursor).toBeDefined();
    });

    it("lists an empty folder as empty", async () => {
      const scope = await newFolder();
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      expect(mirror.listed).toEqual([]);
      expect(mirror.resets).toBe(1);
      const again = await provider.pullChanges(scope, mirror.cursor, { limit: 10 });
      expect(again).toMatchObject({ added: [], reset: false, more: false, present: undefined, total: 0 });
    });

    it("lists the history newest first, in pages, and resumes from the cursor alone", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 10);
      const first = createMirror(provider, scope);
      await first.pullChanges();
      await first.pullHistory(4);
      // Somebody else goes on with nothing but the stored cursor.
      const second = createMirror(mailbox.open(), scope);
      second.historyCursor = first.historyCursor;
      while (await second.pullHistory(4));
      expect([...first.listed, ...second.listed]).toEqual(refs.toReversed());
    });

    it("repeats a page of history when its cursor was not stored, though the next one was asked for already", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 10);
      const mirror = createMirror(provider, scope);
      await mirror.pullChanges();
      await mirror.pullHistory(3);
      const lost = await provider.pullHistory(scope, mirror.historyCursor as SyncCursor, { limit: 3 });
      await provider.pullHistory(scope, lost.cursor, { limit: 3 });
      await mirror.settle(3);
      expect(mirror.listed).toEqual(refs.toReversed());
    });

    it("goes on with the history when messages are expunged in between", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 10);
      const mirror = createMirror(provider, scope);
      await mirror.pullChanges();
      await mirror.pullHistory(3);
      await mailbox.expunge(scope.path, [refs[6], refs[5], refs[2]] as string[]);
      await mirror.settle(3);
      expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual(refs.filter((_, index) => ![2, 5, 6].includes(index)));
      expect(new Set(mirror.listed).size).toBe(mirror.listed.length);
    });

    it("ends the history at once when everything was expunged", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 5);
      const mirror = createMirror(provider, scope);
      await mirror.pullChanges();
      await mailbox.expunge(scope.path, refs);
      expect(await mirror.pullHistory(2)).toBe(false);
      expect(mirror.listed).toEqual([]);
    });

    it("lists new messages oldest first, in pages, each once", async () => {
      const scope = await newFolder();
      await appendAll(scope.path, 2);
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      const before = mirror.listed.length;
      const refs = await appendAll(scope.path, 7, 2);
      expect(await mirror.pullChanges(3)).toBe(true);
      expect(mirror.listed.slice(before)).toEqual(refs.slice(0, 3));
      expect(await mirror.pullChanges(3)).toBe(true);
      expect(await mirror.pullChanges(3)).toBe(false);
      expect(mirror.listed.slice(before)).toEqual(refs);
      expect(await mirror.pullChanges(3)).toBe(false);
      expect(mirror.listed.slice(before)).toEqual(refs);
    });

    it("repeats a page when the cursor was not stored, and loses nothing [row 45]", async () => {
      const scope = await newFolder();
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      const refs = await appendAll(scope.path, 5);
      const lost = await provider.pullChanges(scope, mirror.cursor, { limit: 3 });
      const again = await provider.pullChanges(scope, mirror.cursor, { limit: 3 });
      expect(again.added.map((message) => message.ref)).toEqual(lost.added.map((message) => message.ref));
      await mirror.settle(3);
      expect(mirror.listed).toEqual(refs);
    });

    it("tells flag changes of messages it listed", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 3);
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      await mailbox.setFlags(scope.path, refs[1] as string, ["flagged", "seen"]);
      await mirror.settle();
      expect(mirror.messages.get(refs[1] as string)?.flags).toEqual(["flagged", "seen"]);
      await mailbox.setFlags(scope.path, refs[1] as string, []);
      await mirror.settle();
      expect(mirror.messages.get(refs[1] as string)?.flags).toEqual([]);
    });

    it("tells a flag change although new messages fill the page before it", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 2);
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      await mailbox.setFlags(scope.path, refs[0] as string, ["seen"]);
      await appendAll(scope.path, 5, 2);
      await mirror.settle(2);
      expect(mirror.messages.get(refs[0] as string)?.flags).toEqual(["seen"]);
      expect(mirror.listed).toHaveLength(7);
    });

    it("tells one removal, many, and all", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 8);
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      await mailbox.expunge(scope.path, [refs[0] as string]);
      await mirror.settle();
      expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual(refs.slice(1));
      await mailbox.expunge(scope.path, [refs[7], refs[3], refs[4]] as string[]);
      await mirror.settle();
      expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual([refs[1], refs[2], refs[5], refs[6]]);
      await mailbox.expunge(scope.path, [refs[1], refs[2], refs[5], refs[6]] as string[]);
      await mirror.settle();
      expect(mirror.messages.size).toBe(0);
    });

    it("tells a removal that hides behind as many arrivals", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 4);
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      await mailbox.expunge(scope.path, refs.slice(0, 2));
      const arrived = await appendAll(scope.path, 2, 4);
      await mirror.settle();
      expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual([...refs.slice(2), ...arrived]);
    });

    it("lists what is present when thoroughness is asked for, so that a history page that came too late leaves nothing behind", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 3);
      const mirror = createMirror(provider, scope);
      await mirror.pullChanges();
      // The page is under way while its messages go and the removal is told.
      const late = await provider.pullHistory(scope, mirror.historyCursor as SyncCursor, { limit: 10 });
      await mailbox.expunge(scope.path, refs.slice(0, 2));
      await mirror.pullChanges();
      for (const message of late.messages) mirror.messages.set(message.ref, message);
      await mirror.pullChanges();
      expect(mirror.messages.size).toBe(3);
      await mirror.pullChanges(100, true);
      expect([...mirror.messages.keys()]).toEqual(refs.slice(2));
    });

    it("never lists a message that came and went between two looks", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 2);
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      const shortLived = await mailbox.append(scope.path, { subject: "short-lived" });
      await mailbox.expunge(scope.path, [shortLived]);
      await mirror.settle();
      expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual(refs);
    });

    it("begins anew when the folder was deleted and made again, and its old history cursor does not end the import", async () => {
      const scope = await newFolder();
      await appendAll(scope.path, 4);
      const mirror = createMirror(provider, scope);
      await mirror.pullChanges();
      await mirror.pullHistory(1);
      await mailbox.deleteFolder(scope.path);
      await mailbox.createFolder(scope.path);
      const refs = await appendAll(scope.path, 2, 10);
      await expect(provider.pullHistory(scope, mirror.historyCursor as SyncCursor, { limit: 1 })).rejects.toMatchObject({ code: "unavailable" });
      await mirror.settle();
      expect(mirror.resets).toBe(2);
      expect(mirror.listed).toEqual(refs.toReversed());
      expect([...mirror.messages.values()].map((message) => message.envelope.subject).toSorted()).toEqual(["message 10", "message 11"]);
    });

    it("says not_found for a folder that is gone, and goes on with the others", async () => {
      const scope = await newFolder();
      await mailbox.deleteFolder(scope.path);
      await expect(provider.pullChanges(scope, undefined, { limit: 10 })).rejects.toMatchObject({ name: "MailError", code: "not_found" });
      await expect(provider.pullChanges(inbox, undefined, { limit: 10 })).resolves.toMatchObject({ reset: true });
    });

    const expectFoldersToBeRead = async (paths: readonly string[]) => {
      for (const path of paths) {
        await mailbox.createFolder(path);
        const scope = { path };
        await mailbox.append(scope.path, { subject: "in here" });
        const mirror = createMirror(provider, scope);
        await mirror.settle();
        expect(mirror.listed, path).toHaveLength(1);
        expect((await provider.listFolders()).map((folder) => folder.path)).toContain(scope.path);
        expect(await provider.checkScopes(new Map([[scope.path, mirror.cursor as SyncCursor]]))).toMatchObject([
          { path: scope.path, changed: false, total: 1, unseen: 1 },
        ]);
      }
    };

    it("reads folders with names in any script", () =>
      expectFoldersToBeRead(["Entwürfe & Ideen", "受信 送信 済み", 'He said "no"', "back\\slash", "Отправленные", "👍 done", "&-"]));

    it("reads folders whose names hold what LIST takes for wildcards", () => expectFoldersToBeRead(["100% sure", "stars **"]));

    it("lists messages without a Message-ID, and two with the same one", async () => {
      const scope = await newFolder();
      await mailbox.append(scope.path, { subject: "none", messageId: null });
      await mailbox.append(scope.path, { subject: "first", messageId: "<same@example.test>" });
      await mailbox.append(scope.path, { subject: "second", messageId: "<same@example.test>" });
      const mirror = createMirror(provider, scope);
      await mirror.settle();
      const ids = [...mirror.messages.values()].map(({ envelope }) => [envelope.subject, envelope.messageId]);
      expect(Object.fromEntries(ids)).toEqual({ none: null, first: "<same@example.test>", second: "<same@example.test>" });
    });

    it("gives the readable text of messages, cut at a whole character", async () => {
      const scope = await newFolder();
      await mailbox.append(scope.path, { subject: "short", text: "Grüße aus Köln" });
      await mailbox.append(scope.path, { subject: "long", text: "ä".repeat(500) });
      await mailbox.append(scope.path, { subject: "blank", text: "  \r\n " });
      const page = await provider.pullChanges(scope, undefined, { limit: 10 });
      const { messages } = await provider.pullHistory(scope, page.historyCursor as SyncCursor, { limit: 10 });
      const texts = await provider.fetchTexts(scope, messages, { bytesMax: 101 });
      const bySubject = Object.fromEntries(messages.map((message) => [message.envelope.subject, texts.get(message.ref)]));
      expect({ ...bySubject, blank: bySubject.blank?.trim() }).toEqual({ short: "Grüße aus Köln", long: "ä".repeat(50), blank: "" });
      expect(await provider.fetchTexts(scope, [{ ref: "4000000", textPart: messages[0]?.textPart ?? null }], { bytesMax: 100 })).toEqual(new Map());
    });

    it("opens the source of a message, and says not_found for one that is gone", async () => {
      const scope = await newFolder();
      const ref = await mailbox.append(scope.path, { subject: "the source", text: "body" });
      const { sizeBytes, stream } = await provider.openSource(scope, ref);
      const source = Buffer.concat(await stream.toArray());
      expect(source.toString()).toContain("the source");
      expect(source.length).toBe(sizeBytes);
      await mailbox.expunge(scope.path, [ref]);
      await expect(provider.openSource(scope, ref)).rejects.toMatchObject({ name: "MailError", code: "not_found" });
      await expect(provider.openSource(scope, "1:*")).rejects.toMatchObject({ code: "not_found" });
    });

    it("gives the sources of several messages at once, and leaves out those that are gone", async () => {
      const scope = await newFolder();
      const refs = await appendAll(scope.path, 5);
      await mailbox.expunge(scope.path, [refs[1] ?? ""]);
      const sources = await provider.fetchSources(scope, [refs[4] ?? "", refs[0] ?? "", refs[1] ?? "", "1:*"]);
      expect([...sources.keys()].toSorted(byNumber)).toEqual([refs[0], refs[4]]);
      const { stream } = await provider.openSource(scope, refs[4] ?? "");
      expect(sources.get(refs[4] ?? "")?.equals(Buffer.concat(await stream.toArray()))).toBe(true);
      expect(await provider.fetchSources(scope, [])).toEqual(new Map());
    });

    it("opens one part of a message, decoded to the byte, and says not_found for one that is not there", async () => {
      const scope = await newFolder();
      // Longer than one piece of a read, and of no length that base64 likes.
      const content = Buffer.from(Array.from({ length: 900_001 }, (_, index) => (index * index) % 251));
      const ref = await mailbox.append(scope.path, { subject: "with a part", text: "see the part", attachment: { fileName: "a.bin", content } });
      const { stream } = await provider.openPart(scope, ref, "2");
      expect(Buffer.concat(await stream.toArray()).equals(content)).toBe(true);
      const text = await provider.openPart(scope, ref, "1");
      expect(
        Buffer.concat(await text.stream.toArray())
          .toString()
          .trim(),
      ).toBe("see the part");
      for (const part of ["3", "2.1", "0"]) {
        await expect(provider.openPart(scope, ref, part)).rejects.toMatchObject({ name: "MailError", code: "not_found" });
      }
      await mailbox.expunge(scope.path, [ref]);
      await expect(provider.openPart(scope, ref, "2")).rejects.toMatchObject({ name: "MailError", code: "not_found" });
      await expect(provider.openPart(scope, "1:*", "1")).rejects.toMatchObject({ code: "not_found" });
    });

    it("counts a folder, and what it received lately, without changing what is new in it", async () => {
      const folder = await newFolder();
      for (const n of [1, 2, 3]) await mailbox.append(folder.path, { subject: `${n}` });
      expect(await provider.countMessages(folder, undefined)).toBe(3);
      expect(await provider.countMessages(folder, new Date(Date.now() - 3_600_000))).toBe(3);
      expect(await provider.countMessages(folder, new Date(Date.now() + 7 * 86_400_000))).toBe(0);
      await expect(provider.countMessages({ path: "Nowhere" }, undefined)).rejects.toMatchObject({ code: "not_found" });
    });

    it("checks folders against their cursors and leaves out those that are gone", async () => {
      const [quiet, busy, flagged, gone] = [await newFolder(), await newFolder(), await newFolder(), await newFolder()];
      const cursors = new Map<string, SyncCursor>();
      let ref = "";
      for (const scope of [quiet, busy, flagged, gone]) {
        ref = await mailbox.append(scope.path, { subject: "there" });
        cursors.set(scope.path, (await provider.pullChanges(scope, undefined, { limit: 10 })).cursor);
      }
      await mailbox.append(busy.path, { subject: "new" });
      await mailbox.setFlags(flagged.path, ref, ["seen"]);
      await mailbox.deleteFolder(gone.path);
      const states = await provider.checkScopes(cursors);
      expect(states.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toMatchObject(
        [
          { path: quiet.path, changed: false, total: 1, unseen: 1 },
          { path: busy.path, changed: true, total: 2, unseen: 2 },
          { path: flagged.path, changed: true, total: 1, unseen: 0 },
        ].toSorted((a, b) => (a.path < b.path ? -1 : 1)),
      );
    });

    it("announces what happened before the watch began, while it lasts, and in other folders", async () => {
      const other = await newFolder();
      const cursors = new Map<string, SyncCursor>();
      const learn = async (path: string) => cursors.set(path, (await provider.pullChanges({ path }, cursors.get(path), { limit: 1_000 })).cursor);
      await learn("INBOX");
      await learn(other.path);
      await mailbox.append("INBOX", { subject: "before the watch" });

      const control = new AbortController();
      const announced: string[] = [];
      let aliveCount = 0;
      const watching = provider.watch({
        ...watchOptions(control.signal, cursors),
        onChange: (paths) => announced.push(...paths),
        onAlive: () => {
          aliveCount += 1;
        },
      });
      await until(() => announced.includes("INBOX"), "the change before the watch");
      await learn("INBOX");
      await until(() => aliveCount > 0, "a sign of life");

      announced.length = 0;
      await mailbox.append("INBOX", { subject: "during the watch" });
      await until(() => announced.includes("INBOX"), "the change in the watched folder");
      await learn("INBOX");

      announced.length = 0;
      await mailbox.append(other.path, { subject: "elsewhere" });
      await until(() => announced.includes(other.path), "the change in another folder");
      await learn(other.path);

      announced.length = 0;
      await mailbox.append("INBOX", { subject: "after an announcement" });
      await until(() => announced.includes("INBOX"), "a change after all the others");

      control.abort();
      await expect(watching).resolves.toBeUndefined();
    });

    it("ends the watch at once when it is aborted before it began", async () => {
      const control = new AbortController();
      control.abort();
      await expect(provider.watch(watchOptions(control.signal, new Map()))).resolves.toBeUndefined();
    });

    it("rejects with the caller's reason when a call is aborted, and works again afterwards", async () => {
      const reason = new Error("enough");
      await expect(provider.pullChanges(inbox, undefined, { limit: 10, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const control = new AbortController();
      const call = provider.pullChanges(inbox, undefined, { limit: 10, signal: control.signal });
      control.abort(reason);
      await expect(call).rejects.toBe(reason);
      await expect(provider.pullChanges(inbox, undefined, { limit: 10 })).resolves.toMatchObject({ reset: true });
    });

    it("serves calls that are made at once on different folders", async () => {
      const scopes = await Promise.all([newFolder(), newFolder(), newFolder()]);
      await Promise.all(scopes.map((scope) => mailbox.append(scope.path, { subject: scope.path })));
      const mirrors = scopes.map((scope) => createMirror(provider, scope));
      await Promise.all(mirrors.map((mirror) => mirror.settle()));
      expect(mirrors.map((mirror) => [...mirror.messages.values()].map(({ envelope }) => envelope.subject))).toEqual(
        scopes.map(({ path }) => [path]),
      );
    });

    it("says so when it was closed", async () => {
      const closed = mailbox.open();
      await closed.verify();
      expect(closed.isUsable()).toBe(true);
      await closed.close();
      expect(closed.isUsable()).toBe(false);
      await expect(closed.listFolders()).rejects.toBeInstanceOf(MailError);
    });

    it("says that the server is gone, in calls and in the watch, instead of hanging [row 75]", async () => {
      const doomed = await backend.newMailbox();
      const open = doomed.open();
      await open.verify();
      const control = new AbortController();
      let isAlive = false;
      const watching = open.watch({
        ...watchOptions(control.signal, new Map()),
        onAlive: () => {
          isAlive = true;
        },
      });
      watching.catch(() => {});
      await until(() => isAlive, "the watch to begin");
      await doomed.disappear();
      await expect(open.pullChanges(inbox, undefined, { limit: 10 })).rejects.toMatchObject({
        name: "MailError",
        code: expect.stringMatching(/unavailable|refused/),
      });
      await expect(watching).rejects.toMatchObject({ name: "MailError", code: expect.stringMatching(/unavailable|refused/) });
      expect(open.isUsable()).toBe(false);
      await doomed.close();
    });

    it("lists a folder of 2,000 messages completely, and counts its removals", async () => {
      const scope = await newFolder();
      await mailbox.appendMany(
        scope.path,
        Array.from({ length: 2_000 }, (_, index) => ({ subject: `message ${index}` })),
      );
      const mirror = createMirror(provider, scope);
      await mirror.settle(300);
      expect(mirror.listed).toHaveLength(2_000);
      expect(new Set(mirror.listed).size).toBe(2_000);
      const refs = [...mirror.messages.keys()].toSorted(byNumber);
      const gone = refs.filter((_, index) => index % 3 === 0);
      await mailbox.expunge(scope.path, gone);
      await mirror.settle(300);
      expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual(refs.filter((_, index) => index % 3 !== 0));
    }, 120_000);

    it("lists every message exactly once and forgets every removed one, whatever happens in between [row 45]", async () => {
      const step = fc.oneof(
        { weight: 4, arbitrary: fc.record({ do: fc.constant("append" as const), count: fc.integer({ min: 1, max: 4 }) }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant("expunge" as const), at: fc.nat(1_000), count: fc.integer({ min: 1, max: 3 }) }) },
        {
          weight: 2,
          arbitrary: fc.record({ do: fc.constant("flag" as const), at: fc.nat(1_000), flags: fc.subarray(["answered", "flagged", "seen"]) }),
        },
        { weight: 4, arbitrary: fc.record({ do: fc.constant("changes" as const), limit: fc.integer({ min: 1, max: 5 }) }) },
        { weight: 2, arbitrary: fc.record({ do: fc.constant("history" as const), limit: fc.integer({ min: 1, max: 5 }) }) },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("recreate" as const) }) },
      );
      const property = fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
        const scope = await newFolder();
        let truth = new Map<string, readonly string[]>();
        const mirror = createMirror(provider, scope);
        for (const one of steps) {
          const refs = [...truth.keys()];
          if (one.do === "append") for (const ref of await appendAll(scope.path, one.count)) truth.set(ref, []);
          if (one.do === "changes") await mirror.pullChanges(one.limit);
          // A history of a folder that was made anew waits for pullChanges to see it.
          if (one.do === "history") await mirror.pullHistory(one.limit).catch(ignoreUnavailable);
          if (one.do === "recreate") {
            await mailbox.deleteFolder(scope.path);
            await mailbox.createFolder(scope.path);
            truth = new Map();
          }
          if (one.do === "expunge" && refs.length > 0) {
            const gone = refs.slice(one.at % refs.length).slice(0, one.count);
            await mailbox.expunge(scope.path, gone);
            for (const ref of gone) truth.delete(ref);
          }
          if (one.do === "flag" && refs.length > 0) {
            const ref = refs[one.at % refs.length] as string;
            await mailbox.setFlags(scope.path, ref, one.flags);
            truth.set(ref, one.flags);
          }
        }
        await mirror.settle(3);
        expect([...mirror.messages.keys()].toSorted(byNumber)).toEqual([...truth.keys()].toSorted(byNumber));
        expect(new Set(mirror.listed).size).toBe(mirror.listed.length);
        for (const [ref, flags] of truth) expect(mirror.messages.get(ref)?.flags).toEqual(flags.toSorted());
        await mailbox.deleteFolder(scope.path);
      });
      await fc.assert(property, { numRuns: 15, endOnFailure: true });
    }, 180_000);
  });
}

function watchOptions(signal: AbortSignal, cursors: ReadonlyMap<string, SyncCursor>) {
  return {
    scope: inbox,
    knownCursors: async () => cursors,
    checkEveryMs: 300,
    onChange: () => {},
    onAlive: () => {},
    signal,
  };
}

function ignoreUnavailable(error: unknown): false {
  if (error instanceof MailError && error.code === "unavailable") return false;
  throw error;
}

function byNumber(a: string, b: string): number {
  return Number(a) - Number(b);
}
