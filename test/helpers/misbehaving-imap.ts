import { type Connection, type Reply, type Script, type ScriptedServer, scriptedSessions } from "./scripted-server.ts";

/** A folder of the misbehaving server, to be changed while it runs. */
export interface ScriptedFolder {
  readonly name: string;
  /** The name as bytes on the wire, where it is not the name in modified UTF-7: for names that no encoder would make. */
  readonly wireName?: string;
  /** Attributes of LIST. */
  readonly flags?: readonly string[];
  /** Null for NIL: names are flat. */
  readonly delimiter?: string | null;
  readonly mailboxId?: string;
  uidValidity: number;
  uidNext: number;
  /** Ascending. */
  uids: number[];
  /** The counter of changes; null for a folder that keeps none. */
  modseq: number | null;
  readonly messages: Map<number, ScriptedMessage>;
}

/** What is told of a message besides its UID; a message of which nothing is noted is a short one. */
export interface ScriptedMessage {
  readonly subject?: string;
  readonly flags?: readonly string[];
  readonly modseq?: number;
  readonly body?: string;
  /** As INTERNALDATE writes it. */
  readonly receivedAt?: string;
  readonly emailId?: string;
  readonly threadId?: string;
}

/** A command as the server heard it, literals and all. */
export interface Command {
  readonly tag: string;
  /** In capitals; `UID FETCH` is one verb. */
  readonly verb: string;
  readonly line: string;
  readonly args: readonly Argument[];
}

type Argument = string | readonly Argument[];

/** What a server does in place of what it should: the honest answer is there to be damaged. Undefined says `honest` as it is. */
export type Fault = (command: Command, honest: () => string) => Reply | typeof honestly;

/** Stands for the answer that the server would give without the fault. */
export const honestly = Symbol("honestly");

export interface MisbehavingOptions {
  readonly greeting?: Reply | undefined;
  readonly capabilities?: readonly string[];
  readonly folders?: readonly ScriptedFolder[];
  /** The untagged answer to NAMESPACE, after the word. */
  readonly namespace?: string;
  readonly fault?: Fault;
}

export interface MisbehavingImap extends ScriptedServer {
  readonly folders: ScriptedFolder[];
  folder(name: string): ScriptedFolder;
  /** Takes effect with the next command. */
  fault: Fault | undefined;
  append(name: string, count?: number, message?: ScriptedMessage): readonly number[];
  expunge(name: string, uids: readonly number[]): void;
  setFlags(name: string, uid: number, flags: readonly string[]): void;
  /** To everybody, without being asked. */
  say(reply: Reply): void;
  /** Hears everything from now on and answers nothing, as a connection does that died on the way. */
  goSilent(): void;
}

/** What a well-equipped server offers today. */
export const usualCapabilities = [
  "IMAP4rev1",
  "ENABLE",
  "IDLE",
  "NAMESPACE",
  "UIDPLUS",
  "MOVE",
  "CONDSTORE",
  "ESEARCH",
  "SPECIAL-USE",
  "LIST-EXTENDED",
  "LIST-STATUS",
  "UTF8=ACCEPT",
];

export function scriptedFolder(name: string, more: Partial<ScriptedFolder> = {}): ScriptedFolder {
  return { name, uidValidity: 1_700_000_000, uidNext: 1, uids: [], modseq: 1, messages: new Map(), ...more };
}

/** An IMAP server that keeps folders and messages as it should, and lies about them as a test wants it to. */
export async function misbehavingImap(options: MisbehavingOptions = {}): Promise<MisbehavingImap> {
  const folders = [...(options.folders ?? [scriptedFolder("INBOX")])];
  const sessions = new Set<Session>();
  let isSilent = false;
  const model: Model = {
    folders,
    capabilities: options.capabilities ?? usualCapabilities,
    namespace: options.namespace ?? '(("" "/")) NIL NIL',
    fault: () => misbehaving.fault,
  };
  const server = await scriptedSessions("greeting" in options ? options.greeting : "* OK ready\r\n", (connection) => {
    const session: Session = { connection, selected: undefined, idleTag: undefined, usesUtf8: false };
    sessions.add(session);
    connection.onClose(() => sessions.delete(session));
    const answer = conversation(model, session);
    return (line) => (isSilent ? undefined : answer(line));
  });
  const folder = (name: string) => {
    const found = folders.find((one) => one.name === name);
    if (found === undefined) throw new Error(`the test's server has no folder ${name}`);
    return found;
  };
  const changed = () => {
    for (const session of sessions) if (session.idleTag !== undefined) session.connection.say(news(session));
  };
  const misbehaving: MisbehavingImap = Object.assign(server, {
    folders,
    folder,
    fault: options.fault,
    append(name: string, count = 1, message: ScriptedMessage = {}) {
      const target = folder(name);
      const uids = Array.from({ length: count }, (_, index) => target.uidNext + index);
      for (const uid of uids) {
        const modseq = step(target);
        if (modseq !== undefined || Object.keys(message).length > 0)
          target.messages.set(uid, { ...message, ...(modseq === undefined ? {} : { modseq }) });
      }
      target.uids = [...target.uids, ...uids];
      target.uidNext += count;
      changed();
      return uids;
    },
    expunge(name: string, uids: readonly number[]) {
      const target = folder(name);
      const gone = new Set(uids);
      step(target);
      target.uids = target.uids.filter((uid) => !gone.has(uid));
      changed();
    },
    setFlags(name: string, uid: number, flags: readonly string[]) {
      const target = folder(name);
      const modseq = step(target);
      target.messages.set(uid, { ...target.messages.get(uid), flags, ...(modseq === undefined ? {} : { modseq }) });
    },
    say(reply: Reply) {
      for (const session of sessions) session.connection.say(reply);
    },
    goSilent() {
      isSilent = true;
    },
  });
  return misbehaving;
}

interface Model {
  readonly folders: readonly ScriptedFolder[];
  readonly capabilities: readonly string[];
  readonly namespace: string;
  readonly fault: () => Fault | undefined;
}

interface Session {
  readonly connection: Connection;
  /** The folder with the messages that this session was told of: sequence numbers count these. */
  selected: { readonly folder: ScriptedFolder; told: number[] } | undefined;
  idleTag: string | undefined;
  usesUtf8: boolean;
}

function step(folder: ScriptedFolder): number | undefined {
  if (folder.modseq === null) return undefined;
  folder.modseq += 1;
  return folder.modseq;
}

function conversation(model: Model, session: Session): Script {
  let begun = "";
  let literalLength = 0;
  return (line) => {
    if (session.idleTag !== undefined) {
      const tag = session.idleTag;
      if (!/^DONE$/i.test(line)) return undefined;
      session.idleTag = undefined;
      return `${tag} OK done\r\n`;
    }
    // A literal comes with the line after its length; the names that tests use have no line breaks.
    const whole = begun === "" ? line : `${begun}${quoted(line.slice(0, literalLength))}${line.slice(literalLength)}`;
    const literal = /\{(\d+)(\+?)\}$/.exec(whole);
    begun = literal === null ? "" : whole.slice(0, -literal[0].length);
    literalLength = Number(literal?.[1]);
    if (literal !== null) return literal[2] === "+" ? undefined : "+ go on\r\n";
    const command = parseCommand(whole);
    const honest = () => answer(model, session, command);
    const fault = model.fault();
    const reply = fault === undefined ? honestly : fault(command, honest);
    return reply === honestly ? honest() : withTag(reply, command.tag);
  };
}

function withTag(reply: Reply, tag: string): Reply {
  if (typeof reply === "string") return reply.replaceAll("{tag}", tag);
  return reply === null || reply === undefined ? reply : { ...reply, said: reply.said.replaceAll("{tag}", tag) };
}

function answer(model: Model, session: Session, { tag, verb, args }: Command): string {
  const done = `${tag} OK done\r\n`;
  const text = (index: number) => (typeof args[index] === "string" ? args[index] : "");
  const list = (index: number) => (Array.isArray(args[index]) ? (args[index] as readonly Argument[]) : []);
  switch (verb) {
    case "CAPABILITY":
      return `* CAPABILITY ${model.capabilities.join(" ")}\r\n${done}`;
    case "NAMESPACE":
      return `* NAMESPACE ${model.namespace}\r\n${done}`;
    case "ENABLE": {
      const enabled = args.filter((name) => model.capabilities.includes(String(name)));
      if (enabled.includes("UTF8=ACCEPT")) session.usesUtf8 = true;
      return `* ENABLED ${enabled.join(" ")}\r\n${done}`;
    }
    case "LIST":
    case "XLIST":
      return `${listing(model, session, text(0) + text(1), args)}${done}`;
    case "STATUS": {
      const folder = find(model, session, text(0));
      return folder === undefined ? `${tag} NO [NONEXISTENT] no such mailbox\r\n` : `${status(session, folder, list(1).map(String))}${done}`;
    }
    case "SELECT":
    case "EXAMINE": {
      const folder = find(model, session, text(0));
      session.selected = undefined;
      if (folder === undefined) return `${tag} NO [NONEXISTENT] no such mailbox\r\n`;
      session.selected = { folder, told: [...folder.uids] };
      return `${selection(folder)}${tag} OK [READ-ONLY] done\r\n`;
    }
    case "CLOSE":
      session.selected = undefined;
      return done;
    case "NOOP":
      return `${news(session)}${done}`;
    case "IDLE":
      session.idleTag = tag;
      return `+ idling\r\n${news(session)}`;
    case "SEARCH":
    case "UID SEARCH":
      return `${search(session, tag, args)}${done}`;
    case "FETCH":
    case "UID FETCH":
      return `${fetch(session, verb === "UID FETCH", text(0), list(1), list(2))}${done}`;
    case "LOGOUT":
      return `* BYE\r\n${done}`;
    default:
      return done;
  }
}

function listing(model: Model, session: Session, pattern: string, args: readonly Argument[]): string {
  const returned = args.find((_, index) => args[index - 1] === "RETURN");
  const statusItems = Array.isArray(returned) ? returned.find((_, index) => returned[index - 1] === "STATUS") : undefined;
  return model.folders
    .filter((folder) => matches(pattern, wireName(session, folder), folder.delimiter ?? "/"))
    .map((folder) => {
      const delimiter = folder.delimiter === null ? "NIL" : quoted(folder.delimiter ?? "/");
      const line = `* LIST (${(folder.flags ?? []).join(" ")}) ${delimiter} ${quoted(wireName(session, folder))}\r\n`;
      const isSelectable = !(folder.flags ?? []).some((flag) => /^\\(noselect|nonexistent)$/i.test(flag));
      return statusItems !== undefined && isSelectable ? `${line}${status(session, folder, (statusItems as readonly Argument[]).map(String))}` : line;
    })
    .join("");
}

function matches(pattern: string, name: string, delimiter: string): boolean {
  const source = [...pattern].map((character) => {
    if (character === "*") return "[^]*";
    return character === "%" ? `[^${escapePattern(delimiter)}]*` : escapePattern(character);
  });
  return new RegExp(`^${source.join("")}$`).test(name);
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}

function status(session: Session, folder: ScriptedFolder, items: readonly string[]): string {
  const values: Readonly<Record<string, number | string | null | undefined>> = {
    MESSAGES: folder.uids.length,
    UIDNEXT: folder.uidNext,
    UIDVALIDITY: folder.uidValidity,
    UNSEEN: folder.uids.length,
    HIGHESTMODSEQ: folder.modseq ?? 0,
    MAILBOXID: folder.mailboxId === undefined ? undefined : `(${folder.mailboxId})`,
  };
  const told = items.filter((item) => values[item] !== undefined).map((item) => `${item} ${values[item]}`);
  return `* STATUS ${quoted(wireName(session, folder))} (${told.join(" ")})\r\n`;
}

function selection(folder: ScriptedFolder): string {
  return [
    `* ${folder.uids.length} EXISTS`,
    "* 0 RECENT",
    "* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)",
    `* OK [UIDVALIDITY ${folder.uidValidity}] valid`,
    `* OK [UIDNEXT ${folder.uidNext}] next`,
    folder.modseq === null ? "* OK [NOMODSEQ] none" : `* OK [HIGHESTMODSEQ ${folder.modseq}] highest`,
    ...(folder.mailboxId === undefined ? [] : [`* OK [MAILBOXID (${folder.mailboxId})] id`]),
    "",
  ].join("\r\n");
}

/** What the session was not told yet of its folder. */
function news(session: Session): string {
  if (session.selected === undefined) return "";
  const { folder, told } = session.selected;
  const present = new Set(folder.uids);
  const lines: string[] = [];
  const kept: number[] = [];
  for (const uid of told) {
    if (present.has(uid)) kept.push(uid);
    else lines.push(`* ${kept.length + 1} EXPUNGE\r\n`);
  }
  if (folder.uids.length > kept.length) lines.push(`* ${folder.uids.length} EXISTS\r\n`);
  session.selected.told = [...folder.uids];
  return lines.join("");
}

function search(session: Session, tag: string, args: readonly Argument[]): string {
  if (session.selected === undefined) return "";
  const { folder, told } = session.selected;
  const returnsRanges = args[0] === "RETURN";
  const criteria = args.slice(returnsRanges ? 2 : 0).map(String);
  let found: readonly number[] = told;
  for (const [index, word] of criteria.entries()) {
    const value = criteria[index + 1] ?? "";
    if (word === "UID") found = found.filter(within(value, told.at(-1) ?? 0));
    if (word === "MODSEQ") found = found.filter((uid) => (folder.messages.get(uid)?.modseq ?? 1) >= Number(value));
  }
  if (!returnsRanges) return `* SEARCH${found.map((uid) => ` ${uid}`).join("")}\r\n`;
  return `* ESEARCH (TAG "${tag}") UID${found.length === 0 ? "" : ` ALL ${toSet(found)}`}\r\n`;
}

function fetch(session: Session, byUid: boolean, set: string, items: readonly Argument[], modifiers: readonly Argument[]): string {
  if (session.selected === undefined) return "";
  const { folder, told } = session.selected;
  const since = modifiers[0] === "CHANGEDSINCE" ? Number(modifiers[1]) : undefined;
  const isAsked = within(set, byUid ? (told.at(-1) ?? 0) : told.length);
  const present = new Set(folder.uids);
  const rows: string[] = [];
  for (const [index, uid] of told.entries()) {
    if (!isAsked(byUid ? uid : index + 1) || !present.has(uid)) continue;
    if (since === undefined || (folder.messages.get(uid)?.modseq ?? 1) > since) rows.push(`* ${index + 1} FETCH (${row(folder, uid, items)})\r\n`);
  }
  return rows.join("");
}

function row(folder: ScriptedFolder, uid: number, items: readonly Argument[]): string {
  const message = folder.messages.get(uid) ?? {};
  const body = message.body ?? `message ${uid}\r\n`;
  const subject = message.subject ?? `message ${uid}`;
  const sender = '(("Ann" NIL "ann" "example.test"))';
  const source = `From: Ann <ann@example.test>\r\nSubject: ${subject}\r\nMessage-ID: <${uid}.${folder.uidValidity}@example.test>\r\n\r\n${body}`;
  const told = items.map((raw) => {
    const item = String(raw);
    if (item === "UID") return `UID ${uid}`;
    if (item === "FLAGS") return `FLAGS (${(message.flags ?? []).join(" ")})`;
    if (item === "INTERNALDATE") return `INTERNALDATE "${message.receivedAt ?? "20-Nov-2026 10:00:00 +0000"}"`;
    if (item === "RFC822.SIZE") return `RFC822.SIZE ${source.length}`;
    if (item === "MODSEQ") return folder.modseq === null ? "" : `MODSEQ (${message.modseq ?? 1})`;
    if (item === "EMAILID") return `EMAILID (${message.emailId ?? `M${folder.uidValidity}-${uid}`})`;
    if (item === "THREADID") return `THREADID ${message.threadId === undefined ? "NIL" : `(${message.threadId})`}`;
    if (item === "X-GM-MSGID") return `X-GM-MSGID ${message.emailId ?? uid}`;
    if (item === "X-GM-THRID") return `X-GM-THRID ${message.threadId ?? uid}`;
    if (item === "ENVELOPE")
      return `ENVELOPE ("Fri, 20 Nov 2026 10:00:00 +0000" ${quoted(subject)} ${sender} ${sender} ${sender} NIL NIL NIL NIL "<${uid}.${folder.uidValidity}@example.test>")`;
    if (item === "BODYSTRUCTURE") return `BODYSTRUCTURE ("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "8BIT" ${body.length} 1 NIL NIL NIL NIL)`;
    return bodyPart(item, { source, body });
  });
  return told.filter((text) => text !== "").join(" ");
}

function bodyPart(item: string, { source, body }: { readonly source: string; readonly body: string }): string {
  const [, section = "", start, length] = /^BODY\.PEEK\[(.*)\](?:<(\d+)\.(\d+)>)?$/.exec(item) ?? [];
  const whole = section.startsWith("HEADER") ? "\r\n" : section === "" ? source : body;
  const text = start === undefined ? whole : whole.slice(Number(start), Number(start) + Number(length));
  return `BODY[${section}]${start === undefined ? "" : `<${start}>`} {${text.length}}\r\n${text}`;
}

function find(model: Model, session: Session, name: string): ScriptedFolder | undefined {
  // Most names are the same on the wire, and ten thousand of them are looked for.
  const isPlain = /^[\x20-\x25\x27-\x7e]*$/.test(name);
  const folder =
    (isPlain ? model.folders.find((one) => one.name === name && one.wireName === undefined) : undefined) ??
    model.folders.find((one) => wireName(session, one) === name || (name.toUpperCase() === "INBOX" && one.name === "INBOX"));
  return folder?.flags?.some((flag) => /^\\(noselect|nonexistent)$/i.test(flag)) ? undefined : folder;
}

function wireName(session: Session, folder: ScriptedFolder): string {
  if (folder.wireName !== undefined) return folder.wireName;
  return session.usesUtf8 ? Buffer.from(folder.name).toString("latin1") : toModifiedUtf7(folder.name);
}

/** RFC 9051 appendix A.1. */
export function toModifiedUtf7(text: string): string {
  return text.replace(/&|[^\x20-\x7e]+/g, (run) =>
    run === "&" ? "&-" : `&${Buffer.from(run, "utf16le").swap16().toString("base64").replace(/=+$/, "").replaceAll("/", ",")}-`,
  );
}

function quoted(text: string): string {
  return /[\r\n]/.test(text) ? `{${text.length}}\r\n${text}` : `"${text.replace(/["\\]/g, "\\$&")}"`;
}

function within(set: string, last: number): (value: number) => boolean {
  const ranges = set.split(",").map((part) => {
    const [from = "", to = from] = part.split(":");
    const [first, second] = [from, to].map((end) => (end === "*" ? last : Number(end))) as [number, number];
    return [Math.min(first, second), Math.max(first, second)] as const;
  });
  return (value) => ranges.some(([first, second]) => value >= first && value <= second);
}

function toSet(uids: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const uid of uids) {
    const previous = ranges.at(-1);
    if (previous !== undefined && previous[1] + 1 === uid) previous[1] = uid;
    else ranges.push([uid, uid]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}:${last}`)).join(",");
}

function parseCommand(line: string): Command {
  const [tag = "", first = "", second = ""] = line.split(" ", 3);
  const isUid = first.toUpperCase() === "UID";
  const verb = isUid ? `UID ${second.toUpperCase()}` : first.toUpperCase();
  const head = `${tag} ${isUid ? `${first} ${second}` : first} `;
  return { tag, verb, line, args: parseArguments(line.slice(head.length)) };
}

function parseArguments(text: string): readonly Argument[] {
  let at = 0;
  const read = (): Argument[] => {
    const found: Argument[] = [];
    while (at < text.length) {
      const character = text[at];
      if (character === ")") {
        at += 1;
        return found;
      }
      if (character === " ") at += 1;
      else if (character === "(") {
        at += 1;
        found.push(read());
      } else if (character === '"') {
        const [whole = '"', inner = ""] = /^"((?:[^"\\]|\\.)*)"/.exec(text.slice(at)) ?? [];
        at += whole.length;
        found.push(inner.replace(/\\(.)/g, "$1"));
      } else {
        const [atom = character ?? ""] = /^[^ ()"[]*(?:\[[^\]]*\](?:<[\d.]+>)?)?/.exec(text.slice(at)) ?? [];
        at += Math.max(1, atom.length);
        found.push(atom);
      }
    }
    return found;
  };
  return read();
}
