import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { WriteRef } from "../../domain/message-action.ts";
import type { MailProvider } from "../../providers/provider.ts";
import type { Backend, TestMailbox } from "./mail-provider.contract.ts";
import { createMirror, type Mirror } from "./mirror.ts";

export interface WritingBackend extends Backend {
  /** The server does not tell under which refs messages arrive. */
  readonly isSilentAboutNewRefs?: boolean;
}

/** What every provider's writes must do, whatever lies behind it. Run once per backend. */
export function describeMailWrites(backend: WritingBackend): void {
  describe(`${backend.name} writes`, () => {
    let mailbox: TestMailbox;
    let provider: MailProvider;
    let folderNumber = 0;

    beforeAll(async () => {
      mailbox = await backend.newMailbox();
      provider = mailbox.open();
    });
    afterAll(() => mailbox.close());

    const newFolder = async (count: number) => {
      folderNumber += 1;
      const path = `Writes ${folderNumber}`;
      await mailbox.createFolder(path);
      const refs: string[] = [];
      for (let index = 0; index < count; index += 1) refs.push(await mailbox.append(path, { subject: `${path} ${index}`, text: "x".repeat(index) }));
      const mirror = createMirror(provider, { path });
      await mirror.settle();
      return { path, refs, mirror, scope: () => ({ path, cursor: mirror.cursor ?? {} }) };
    };
    const marked = async (path: string, isRepeat = false) => ({ path, mark: await provider.markFolder(path), isRepeat });
    const toRefs = (mirror: Mirror, refs: readonly string[]): WriteRef[] =>
      refs.map((ref) => {
        const message = mirror.messages.get(ref);
        if (message === undefined) throw new Error(`nothing is known of ${ref}`);
        return { ref, messageId: message.envelope.messageId, sizeBytes: message.sizeBytes, receivedAt: message.receivedAt };
      });
    const subjects = (mirror: Mirror) => [...mirror.messages.values()].map(({ envelope }) => envelope.subject).toSorted();
    const states = (results: ReadonlyMap<string, { readonly state: string }>) => [...results.values()].map(({ state }) => state);

    test("sets and clears flags, and tells what they are now", async () => {
      const { path, refs, mirror, scope } = await newFolder(3);
      const [first = "", second = ""] = refs;
      await mailbox.setFlags(path, second, ["seen"]);
      const results = await provider.setFlags(scope(), [first, second, "4000000"], { add: ["flagged"], remove: ["seen"] });
      expect(results.get(first)).toEqual({ state: "done", flags: ["flagged"] });
      expect(results.get(second)).toEqual({ state: "done", flags: ["flagged"] });
      expect(results.get("4000000")).toEqual({ state: "not_found" });
      await mirror.pullChanges(100, true);
      expect(refs.map((ref) => mirror.messages.get(ref)?.flags)).toEqual([["flagged"], ["flagged"], []]);
    });

    test("moves messages with their flags, and names them in the target", async () => {
      const from = await newFolder(3);
      const to = await newFolder(1);
      const [first = "", second = ""] = from.refs;
      await mailbox.setFlags(from.path, first, ["flagged"]);
      const results = await provider.move(
        from.scope(),
        [...toRefs(from.mirror, [first, second]), { ...toRefs(from.mirror, [first])[0], ref: "4000000" } as WriteRef],
        await marked(to.path),
      );
      expect(states(results)).toEqual(["done", "done", "not_found"]);
      await from.mirror.pullChanges();
      await to.mirror.pullChanges();
      expect(subjects(from.mirror)).toEqual([`${from.path} 2`]);
      expect(subjects(to.mirror)).toEqual([`${from.path} 0`, `${from.path} 1`, `${to.path} 0`]);
      const moved = results.get(first);
      if (moved?.state !== "done") throw new Error("the first message was not moved");
      if (backend.isSilentAboutNewRefs === true) expect(moved.ref).toBeNull();
      else expect(to.mirror.messages.get(moved.ref ?? "")).toMatchObject({ envelope: { subject: `${from.path} 0` }, flags: ["flagged"] });
    });

    test("copies messages and leaves them where they are", async () => {
      const from = await newFolder(2);
      const to = await newFolder(0);
      const results = await provider.copy(from.scope(), toRefs(from.mirror, from.refs), await marked(to.path));
      expect(states(results)).toEqual(["done", "done"]);
      await to.mirror.pullChanges();
      await from.mirror.pullChanges(100, true);
      expect(subjects(to.mirror)).toEqual(subjects(from.mirror));
    });

    test("deletes the named messages for good, and nothing that others marked as deleted", async () => {
      const { path, refs, mirror, scope } = await newFolder(4);
      const [first = "", second = "", third = ""] = refs;
      await mailbox.setFlags(path, second, ["deleted"]);
      const results = await provider.remove(scope(), [first, third, "4000000"]);
      expect(states(results)).toEqual(["done", "done", "not_found"]);
      await mirror.pullChanges(100, true);
      expect(subjects(mirror)).toEqual([`${path} 1`, `${path} 3`]);
      expect(mirror.messages.get(second)?.flags).toEqual(["deleted"]);
    });

    test("does not copy twice what an attempt that broke off had copied", async () => {
      const from = await newFolder(3);
      const to = await newFolder(1);
      const target = await marked(to.path);
      // The same message came to the target before: that is no trace of the attempt.
      const messages = toRefs(from.mirror, from.refs);
      await provider.copy(from.scope(), messages.slice(0, 2), target);
      const again = await provider.copy(from.scope(), messages, { ...target, isRepeat: true });
      expect(states(again)).toEqual(["done", "done", "done"]);
      await to.mirror.pullChanges();
      expect(subjects(to.mirror)).toEqual([`${from.path} 0`, `${from.path} 1`, `${from.path} 2`, `${to.path} 0`]);
    });

    test("finishes a move that broke off between copy and removal, and one that broke off behind both", async () => {
      const from = await newFolder(3);
      const to = await newFolder(0);
      const target = await marked(to.path);
      const messages = toRefs(from.mirror, from.refs);
      await provider.copy(from.scope(), messages.slice(0, 1), target);
      await provider.move(from.scope(), messages.slice(1, 2), target);
      const again = await provider.move(from.scope(), messages, { ...target, isRepeat: true });
      expect(states(again)).toEqual(["done", "done", "done"]);
      await from.mirror.pullChanges(100, true);
      await to.mirror.pullChanges();
      expect(subjects(from.mirror)).toEqual([]);
      expect(subjects(to.mirror)).toEqual([`${from.path} 0`, `${from.path} 1`, `${from.path} 2`]);
      expect(again.get(messages[0]?.ref ?? "")).toMatchObject({ ref: expect.stringMatching(/^\d+$/) });
    });

    test("takes a copy that lay in the target before the mark for no trace of an attempt", async () => {
      const from = await newFolder(1);
      const to = await newFolder(0);
      const messages = toRefs(from.mirror, from.refs);
      await provider.copy(from.scope(), messages, await marked(to.path));
      await provider.copy(from.scope(), messages, await marked(to.path, true));
      await to.mirror.pullChanges();
      expect(to.mirror.messages.size).toBe(2);
    });

    test("touches nothing in a folder that was made anew, where a ref means another message [row 46]", async () => {
      const { path, refs, mirror, scope } = await newFolder(1);
      // Dovecot now and then loses what lies in a new folder whose namesake was deleted under a session that had it open.
      await provider.yieldConnections();
      await mailbox.deleteFolder(path);
      await mailbox.createFolder(path);
      await mailbox.append(path, { subject: "another one" });
      await expect(provider.remove(scope(), refs)).rejects.toMatchObject({ code: "unavailable" });
      await expect(provider.setFlags(scope(), refs, { add: ["seen"], remove: [] })).rejects.toMatchObject({ code: "unavailable" });
      await mirror.settle();
      expect([...mirror.messages.values()]).toMatchObject([{ envelope: { subject: "another one" }, flags: [] }]);
    });

    test("says that the target is gone, and moves nothing", async () => {
      const from = await newFolder(1);
      await expect(provider.markFolder("No such folder")).rejects.toMatchObject({ code: "not_found" });
      const mark = await provider.markFolder(from.path);
      await provider
        .move(from.scope(), toRefs(from.mirror, from.refs), { path: "No such folder", mark, isRepeat: false })
        .then((results) => expect(results.get(from.refs[0] ?? "")).toMatchObject({ state: "refused", error: { code: "not_found" } }))
        .catch((error: unknown) => expect(error).toMatchObject({ code: "not_found" }));
      await from.mirror.pullChanges(100, true);
      expect(from.mirror.messages.size).toBe(1);
    });

    test("makes, renames and deletes folders, non-ASCII names among them [row 77]", async () => {
      await provider.createFolder("Entwürfe & 下書き");
      await expect(provider.createFolder("Entwürfe & 下書き")).rejects.toMatchObject({ code: "folder_exists" });
      await mailbox.append("Entwürfe & 下書き", { subject: "within" });
      await provider.renameFolder("Entwürfe & 下書き", "Später");
      await expect(provider.renameFolder("Entwürfe & 下書き", "x")).rejects.toMatchObject({ code: "not_found" });
      await provider.createFolder("Other");
      await expect(provider.renameFolder("Other", "Später")).rejects.toMatchObject({ code: "folder_exists" });
      const moved = createMirror(provider, { path: "Später" });
      await moved.settle();
      expect(subjects(moved)).toEqual(["within"]);
      await expect(provider.deleteFolder("Später", { force: false })).rejects.toMatchObject({ code: "folder_not_empty" });
      await provider.deleteFolder("Später", { force: true });
      await provider.deleteFolder("Other", { force: false });
      await expect(provider.deleteFolder("Später", { force: false })).rejects.toMatchObject({ code: "not_found" });
      expect((await provider.listFolders()).map(({ path }) => path)).not.toContain("Später");
    });
  });
}
