import { specialUse } from "imapflow/lib/special-use.js";
import { compareRoles, type FolderRole, type RoleSource } from "../../domain/folder.ts";

/** A folder as LIST gives it. */
export interface ListedFolder {
  readonly path: string;
  readonly name: string;
  readonly delimiter: string;
  readonly flags: ReadonlySet<string>;
}

export interface DetectedRole {
  readonly role: FolderRole;
  readonly roleSource: RoleSource;
}

/** Special-use attributes (RFC 6154, RFC 8457) and their ancestors in XLIST, in lower case. */
const rolesByFlag: Readonly<Record<string, FolderRole>> = {
  "\\inbox": "inbox",
  "\\sent": "sent",
  "\\drafts": "drafts",
  "\\junk": "junk",
  "\\spam": "junk",
  "\\trash": "trash",
  "\\archive": "archive",
  "\\all": "all",
  "\\allmail": "all",
  "\\flagged": "flagged",
  "\\starred": "flagged",
  "\\important": "important",
};

/**
 * Names that big providers give and ImapFlow's table (some forty languages) lacks, in lower case. A line belongs here when a provider's own default folder
 * goes by that name.
 */
const rolesByName: Readonly<Record<string, FolderRole>> = {
  보낸편지함: "sent",
  "보낸 편지함": "sent",
  보낸메일함: "sent",
  임시보관함: "drafts",
  "임시 보관함": "drafts",
  지운편지함: "trash",
  휴지통: "trash",
  스팸편지함: "junk",
  스팸메일함: "junk",
  寄件備份: "sent",
  草稿: "drafts",
  垃圾桶: "trash",
  垃圾信件匣: "junk",
};

/** Folders that hold the account's own folders: a well-known name below one of them is as good as at the top. */
const prefixes = new Set(["inbox", "[gmail]", "[google mail]"]);

export interface RoleHints {
  /** Where the account's own folders begin (RFC 2342): `INBOX.`, `mail/`, or nothing. */
  readonly personalPrefix?: string;
  /** At Gmail, All Mail is the only place of what was archived: there it is the archive, and not a copy of everything. */
  readonly isGmail?: boolean;
}

/**
 * The role of each folder by path. What the customer set goes first, then what the server says, then the name in some forty languages, where the folder
 * lies at the top or right below INBOX or [Gmail]. A role that is guessed goes to one folder only, and never beside one that the server named.
 */
export function detectRoles(
  folders: readonly ListedFolder[],
  overrides: Readonly<Record<string, FolderRole>>,
  { personalPrefix = "", isGmail = false }: RoleHints = {},
): ReadonlyMap<string, DetectedRole> {
  const roles = new Map<string, DetectedRole>();
  const taken = new Set<FolderRole>();
  const settle = (path: string, role: FolderRole, roleSource: RoleSource) => {
    roles.set(path, { role, roleSource });
    taken.add(role);
  };
  for (const { path } of folders) {
    const override = Object.hasOwn(overrides, path) ? overrides[path] : undefined;
    if (override !== undefined) settle(path, override, "override");
  }
  for (const folder of folders) {
    if (roles.has(folder.path)) continue;
    if (folder.path.toUpperCase() === "INBOX") settle(folder.path, "inbox", "server");
    else {
      const role = roleByFlags(folder.flags, isGmail);
      if (role !== undefined) settle(folder.path, role, "server");
    }
  }
  const guesses = folders.filter(({ path }) => !roles.has(path)).flatMap((folder) => guess(folder, personalPrefix));
  for (const { path, role } of guesses.toSorted((a, b) => a.rank - b.rank || compareRoles(a.role, b.role) || compareText(a.path, b.path))) {
    if (!taken.has(role) && !roles.has(path)) settle(path, role, "name");
  }
  for (const { path } of folders) if (!roles.has(path)) roles.set(path, { role: "none", roleSource: "none" });
  return roles;
}

function roleByFlags(flags: ReadonlySet<string>, isGmail: boolean): FolderRole | undefined {
  const named = [...flags].map((flag) => rolesByFlag[flag.toLowerCase()]).filter((role) => role !== undefined);
  const role = named.toSorted(compareRoles)[0];
  return isGmail && role === "all" ? "archive" : role;
}

/** A guess and how good it is: an exact name before a decorated one (`Sent Mail`), the top before a level below. */
function guess(folder: ListedFolder, personalPrefix: string): readonly { readonly path: string; readonly role: FolderRole; readonly rank: number }[] {
  const ownPath = folder.path.startsWith(personalPrefix) ? folder.path.slice(personalPrefix.length) : folder.path;
  const parents = folder.delimiter === "" ? [] : ownPath.split(folder.delimiter).slice(0, -1);
  const isNested = parents.length > 1 || (parents.length === 1 && !prefixes.has((parents[0] ?? "").toLowerCase()));
  if (isNested || [...folder.flags].some((flag) => /^\\(noselect|nonexistent)$/i.test(flag))) return [];
  const ownName = folder.name.trim().normalize("NFKC").toLowerCase();
  const known = Object.hasOwn(rolesByName, ownName) ? rolesByName[ownName] : undefined;
  if (known !== undefined) return [{ path: folder.path, role: known, rank: parents.length }];
  const { flag, source } = specialUse(false, { name: folder.name, flags: new Set() } as unknown as Parameters<typeof specialUse>[1]);
  const role = typeof flag === "string" ? rolesByFlag[flag.toLowerCase()] : undefined;
  return role === undefined ? [] : [{ path: folder.path, role, rank: (source === "name" ? 0 : 2) + parents.length }];
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
