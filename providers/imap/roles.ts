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
 * Names by which mail programs and providers call their own default folders, and which ImapFlow's table (some forty languages) lacks; in lower case, by language
 * as they come. A word that a person may as well choose for something else does not belong here.
 */
const namesByRole: Readonly<Partial<Record<FolderRole, readonly string[]>>> = {
  sent: [
    "courrier envoyé",
    "envoyé",
    "correo enviado",
    "отправлено",
    "відправлені",
    "надіслане",
    "надіслані листи",
    "skickade",
    "skickade objekt",
    "skickade meddelanden",
    "lähetetyt kohteet",
    "odeslané zprávy",
    "elküldve",
    "elküldött levelek",
    "e-mailuri trimise",
    "gönderilenler",
    "gönderilmiş postalar",
    "gönderilen",
    "изпратена поща",
    "изпратени елементи",
    "poslane stavke",
    "poslane poruke",
    "послате поруке",
    "poslani elementi",
    "išsiųsta",
    "nosūtītie",
    "送信済",
    "已傳送郵件",
    "寄件匣備份",
    "已传送",
    "已送出",
    "已寄出",
    "보낸 메일함",
    "보낸 메시지",
    "보낸 항목",
    "العناصر المرسلة",
    "الرسائل المرسلة",
    "דואר שנשלח",
    "דואר יוצא שנשלח",
    "mục đã gửi",
    "จดหมายที่ส่งแล้ว",
    "รายการที่ส่ง",
    "pesan terkirim",
    "elements enviats",
    "보낸편지함",
    "보낸 편지함",
    "보낸메일함",
    "寄件備份",
  ],
  drafts: ["udkast", "rozpísané", "ドラフト", "bản nháp", "จดหมายร่าง", "แบบร่าง", "임시보관함", "임시 보관함", "草稿"],
  trash: [
    "messages supprimés",
    "eliminados",
    "mensajes eliminados",
    "messaggi eliminati",
    "mensagens excluídas",
    "verwijderd",
    "verwijderde berichten",
    "poistetut kohteet",
    "odstraněné",
    "odstránené",
    "odstránená pošta",
    "odstránené položky",
    "törölt üzenetek",
    "mesaje șterse",
    "silinenler",
    "κάδος",
    "διεγραμμένα",
    "изтрити елементи",
    "izbrisano",
    "izbrisane stavke",
    "обрисано",
    "izbrisani elementi",
    "ištrinta",
    "miskaste",
    "dzēstie",
    "削除済み",
    "已删除",
    "废纸篓",
    "刪除的郵件",
    "已刪除",
    "삭제된 항목",
    "سلة المهملات",
    "المحذوفة",
    "סל אשפה",
    "נמחקו",
    "ट्रैश",
    "हटाए गए आइटम",
    "thư đã xóa",
    "item terhapus",
    "지운편지함",
    "휴지통",
    "垃圾桶",
  ],
  junk: [
    "spamverdacht",
    "unerwünscht",
    "unerwünschte werbung",
    "correio eletrónico não solicitado",
    "email de lixo",
    "correio de lixo",
    "publicidade não solicitada",
    "ongewenste reclame",
    "oönskad e-post",
    "useriøs e-post",
    "roskaviestit",
    "nevyžádané",
    "nevyžiadané",
    "e-mail nedorit",
    "nedorite",
    "ανεπιθύμητη",
    "bezvrijedna pošta",
    "neželjena e-pošta",
    "нежељена пошта",
    "neželeno",
    "vsiljena pošta",
    "nepageidaujami",
    "surogātpasts",
    "スパム",
    "ジャンク",
    "广告邮件",
    "스팸 메일함",
    "스팸함",
    "البريد العشوائي",
    "البريد غير الهام",
    "ספאם",
    "जंक",
    "जंक ईमेल",
    "email rác",
    "จดหมายขยะ",
    "email sampah",
    "surat sampah",
    "스팸편지함",
    "스팸메일함",
    "垃圾信件匣",
  ],
  archive: ["archivierte elemente", "歸檔", "보관", "आर्काइव", "เก็บถาวร"],
};

const rolesByName: ReadonlyMap<string, FolderRole> = new Map(
  Object.entries(namesByRole).flatMap(([role, names]) => names.map((name) => [name, role as FolderRole] as const)),
);

/**
 * Words that ImapFlow's table takes for a role in one language, and that are everyday names of other things in another: Finnish time and base, Polish and Turkish
 * cassettes, files in Spanish and Portuguese, a server of preprints.
 */
const otherThings: ReadonlySet<string> = new Set(["aika", "kanta", "kaset", "lasa", "archivos", "arquivos", "arxiv"]);

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
  if (otherThings.has(ownName)) return [];
  const known = rolesByName.get(ownName);
  if (known !== undefined) return [{ path: folder.path, role: known, rank: parents.length }];
  const { flag, source } = specialUse(false, { name: folder.name, flags: new Set() } as unknown as Parameters<typeof specialUse>[1]);
  const role = typeof flag === "string" ? rolesByFlag[flag.toLowerCase()] : undefined;
  return role === undefined ? [] : [{ path: folder.path, role, rank: (source === "name" ? 0 : 2) + parents.length }];
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
