import { describe, expect, it } from "vitest";
import { domainOf, normaliseAddress, withoutSubaddress } from "../../domain/address.ts";
import { directionOf, isSelf } from "../../domain/direction.ts";
import { compareRoles, type FolderRole, isSyncedByDefault } from "../../domain/folder.ts";

const self = { email: "Me@Example.test", aliases: ["alias@example.test"], ownDomains: ["Own.test"] };
const from = (address?: string) => (address === undefined ? [] : [{ name: "", address }]);

describe("direction", () => {
  it.each([
    ["inbox", "ann@other.test", [], "incoming"],
    ["inbox", "me@example.test", [], "incoming"],
    ["sent", "ann@other.test", [], "outgoing"],
    ["drafts", "me@example.test", [], "draft"],
    ["sent", "me@example.test", ["draft"], "draft"],
    ["junk", "me@example.test", [], "junk"],
    ["trash", "ann@other.test", [], "trash"],
    ["archive", "ann@other.test", [], "incoming"],
    ["archive", "me+shop@example.test", [], "outgoing"],
    ["none", "alias@example.test", [], "outgoing"],
    ["all", "anyone@own.test", [], "outgoing"],
    ["none", undefined, [], "incoming"],
    ["none", "", [], "incoming"],
  ] as const)("in %s from %s with flags %j is %s", (role, sender, flags, expected) => {
    expect(directionOf({ envelope: { from: from(sender) }, flags }, role, self)).toBe(expected);
  });

  it.each([
    ["ME@example.TEST", true],
    ["me+a+b@example.test", true],
    ["someone@own.TEST", true],
    ["someone@sub.own.test", false],
    ["me@example.test.evil.test", false],
    ["", false],
  ])("%s is the mailbox itself: %s", (address, expected) => {
    expect(isSelf(self, address)).toBe(expected);
  });
});

describe("addresses", () => {
  it.each([
    [" Ann@X.org ", "ann@x.org"],
    ["", ""],
  ])("%j is compared as %j", (given, expected) => expect(normaliseAddress(given)).toBe(expected));

  it.each([
    ["ann@x.org", "x.org"],
    ['"a@b"@X.org', "x.org"],
    ["nobody", ""],
  ])("the domain of %s is %j", (given, expected) => expect(domainOf(given)).toBe(expected));

  it.each([
    ["ann+shop@x.org", "ann@x.org"],
    ["+ann@x.org", "+ann@x.org"],
    ["ann@x+y.org", "ann@x+y.org"],
    ["nobody+x", "nobody+x"],
  ])("%s reaches %s", (given, expected) => expect(withoutSubaddress(given)).toBe(expected));
});

describe("folders", () => {
  it("are ordered by where a person would look first", () => {
    const roles: FolderRole[] = ["trash", "none", "inbox", "junk", "sent", "archive"];
    expect(roles.toSorted(compareRoles)).toEqual(["inbox", "sent", "none", "archive", "junk", "trash"]);
  });

  it.each([
    ["inbox", true, true],
    ["junk", true, true],
    ["all", true, false],
    ["flagged", true, false],
    ["important", true, false],
    ["none", false, false],
  ] as const)("a %s folder that can be selected (%s) is read: %s", (role, selectable, expected) => {
    expect(isSyncedByDefault({ role, selectable, isShared: false })).toBe(expected);
  });
});
