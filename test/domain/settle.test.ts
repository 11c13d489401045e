import { describe, expect, it } from "vitest";
import type { FolderRole } from "../../domain/folder.ts";
import { type KnownMessage, type Location, settle } from "../../domain/settle.ts";

const self = { email: "me@example.test", aliases: ["alias@example.test"], ownDomains: ["own.test"] };
const known: KnownMessage = {
  envelope: { from: [{ name: "", address: "ann@other.test" }] },
  flags: [],
  direction: "incoming",
  mainFolderId: "fld_inbox",
  isDeleted: false,
  isNew: false,
};
const at = (role: FolderRole, path: string = role, flags: readonly string[] = []): Location => ({
  folderId: `fld_${path}`,
  ref: "1",
  path,
  role,
  flags,
});

describe("a message is judged by its places", () => {
  it.each([
    ["a new one in the inbox is told", { isNew: true }, [at("inbox")], "created", {}],
    ["a new draft is not told", { isNew: true }, [at("drafts")], "nothing", {}],
    ["a new one with the draft flag is not told", { isNew: true }, [at("inbox", "inbox", ["draft"])], "nothing", {}],
    ["a draft that was sent is told as new", { direction: "draft", mainFolderId: "fld_drafts" }, [at("sent")], "created", {}],
    ["one that did not change is not told", {}, [at("inbox")], "nothing", {}],
    ["added flags are told", {}, [at("inbox", "inbox", ["seen"])], "updated", { flags: { added: ["seen"], removed: [] } }],
    ["removed flags are told", { flags: ["seen"] }, [at("inbox")], "updated", { flags: { added: [], removed: ["seen"] } }],
    ["a move is told with where it went", {}, [at("archive")], "updated", { movedTo: "archive" }],
    ["a copy in a lesser folder is not told", {}, [at("archive"), at("inbox")], "nothing", {}],
    ["one that comes back is told as moved", { isDeleted: true, mainFolderId: null }, [at("inbox")], "updated", { movedTo: "inbox" }],
    [
      "a move and flags are one change",
      { flags: ["seen"] },
      [at("trash", "trash", ["deleted"])],
      "updated",
      { flags: { added: ["deleted"], removed: ["seen"] }, movedTo: "trash" },
    ],
  ] as const)("%s", (_title, differs, locations, tell, changes) => {
    expect(settle({ ...known, ...differs }, locations, self, false)).toMatchObject({ kind: "present", tell, changes });
  });

  it("lies first where a person would look, and by name where roles are equal", () => {
    const main = (...places: Location[]) => settle(known, places, self, false);
    expect(main(at("trash"), at("junk"), at("inbox"))).toMatchObject({ main: { path: "inbox" } });
    expect(main(at("none", "b"), at("none", "a"))).toMatchObject({ main: { path: "a" } });
    expect(main(at("all"), at("sent"))).toMatchObject({ main: { path: "sent" }, direction: "outgoing" });
  });

  it("without a place waits until every folder was looked at", () => {
    expect(settle(known, [], self, false)).toEqual({ kind: "wait" });
    expect(settle(known, [], self, true)).toEqual({ kind: "deleted", isTold: true });
  });

  it.each([
    ["that nobody was told of", { isNew: true }],
    ["that is a draft", { direction: "draft" }],
    ["that was deleted before", { isDeleted: true }],
  ] as const)("is not told to be deleted if it is one %s", (_title, differs) => {
    expect(settle({ ...known, ...differs }, [], self, true)).toEqual({ kind: "deleted", isTold: false });
  });
});
