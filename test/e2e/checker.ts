/** A message that the test handed to the mail server, which accepted it. */
export interface Delivered {
  readonly messageId: string;
  /** It came after the mailbox was connected: the customer must be told of it. Older mail is history and told to nobody. */
  readonly isTold: boolean;
  /** Its readable text. */
  readonly text: string;
  /** The digest of its attachment's content; null without one. */
  readonly attachment: string | null;
}

/** A folder as an independent IMAP client sees it. */
export interface ListedFolder {
  readonly path: string;
  readonly uidValidity: string;
  readonly uidNext: number;
  readonly unseen: number;
  readonly messages: readonly {
    readonly uid: number;
    readonly messageId: string;
    /** The digest of the whole source, where sources are kept. */
    readonly source?: string;
  }[];
}

export interface StoredFolder {
  readonly path: string;
  readonly importState: string;
  readonly cursor: { readonly uidValidity?: unknown; readonly uidNext?: unknown; readonly exists?: unknown } | null;
  readonly historyCursor: unknown;
  readonly total: number;
  readonly unseen: number;
  readonly problem: unknown;
}

export interface StoredEvent {
  readonly id: string;
  readonly type: string;
  readonly sequence: number | null;
  /** The Message-ID of the message that it tells of; null for events about something else. */
  readonly messageId: string | null;
}

/** What Everpost's own tables say about a mailbox. */
export interface Stored {
  readonly folders: readonly StoredFolder[];
  readonly messages: readonly {
    readonly id: string;
    readonly messageId: string;
    readonly state: string;
    readonly isDeleted: boolean;
    readonly isTold: boolean;
  }[];
  readonly locations: readonly { readonly path: string; readonly uid: number; readonly messageId: string }[];
  readonly events: readonly StoredEvent[];
  readonly lastSequence: number;
  /** What waits, rests or was given up, in words: once everything is over, nothing has a reason to. */
  readonly stuck: readonly string[];
}

/** What the mailbox's settings say is kept of its messages. */
export interface Keeping {
  readonly texts: boolean;
  readonly sources: boolean;
  readonly attachments: boolean;
}

/** Contents as they come out of the tables and the blob store. */
export interface Kept {
  readonly texts: readonly { readonly messageId: string; readonly text: string }[];
  /** `digest` is null for a blob that cannot be opened. */
  readonly sources: readonly { readonly messageId: string; readonly digest: string | null }[];
  readonly attachments: readonly { readonly messageId: string; readonly digest: string | null }[];
}

/** One request at the webhook receiver, in the order in which they came. */
export interface Arrival {
  readonly webhookId: string;
  readonly isSigned: boolean;
  readonly mailboxId: string | null;
  readonly sequence: number | null;
  readonly type: string;
  readonly messageId: string | null;
  readonly body: string;
}

/** What the API says about the mailbox when all is over. */
export interface Shown {
  readonly status: string;
  readonly flow: string;
  readonly problem: unknown;
  readonly messages: number;
  readonly unseen: number;
}

export interface MailboxEvidence {
  readonly mailboxId: string;
  readonly delivered: readonly Delivered[];
  readonly listed: readonly ListedFolder[];
  readonly stored: Stored;
  readonly shown: Shown;
  /** Arrivals of this mailbox's events. */
  readonly arrivals: readonly Arrival[];
  readonly keeping: Keeping;
  readonly kept: Kept;
}

/**
 * Everything that is wrong with a mailbox, in words; empty if nothing is. The measure is what was delivered and what IMAP lists, never what Everpost
 * believes: its tables are only ever on the side that is judged.
 */
export function findFaults(evidence: MailboxEvidence): readonly string[] {
  return [
    ...faultsOfListing(evidence),
    ...faultsOfMessages(evidence),
    ...faultsOfPlaces(evidence),
    ...faultsOfFolders(evidence),
    ...faultsOfEvents(evidence),
    ...faultsOfArrivals(evidence),
    ...faultsOfShown(evidence),
    ...faultsOfOrder(evidence),
    ...faultsOfContent(evidence),
    ...evidence.stored.stuck,
  ];
}

/** What the mail server accepted is there: otherwise the rest proves nothing. */
function faultsOfListing({ delivered, listed }: MailboxEvidence): readonly string[] {
  const there = new Set(listed.flatMap(({ messages }) => messages.map(({ messageId }) => messageId)));
  return delivered.filter(({ messageId }) => !there.has(messageId)).map(({ messageId }) => `${messageId} was accepted, but the mail server lost it`);
}

function faultsOfMessages({ delivered, listed, stored }: MailboxEvidence): readonly string[] {
  const expected = new Set(listed.flatMap(({ messages }) => messages.map(({ messageId }) => messageId)));
  const told = new Set(delivered.filter(({ isTold }) => isTold).map(({ messageId }) => messageId));
  const counts = countOf(stored.messages.map(({ messageId }) => messageId));
  return [
    ...[...expected].filter((id) => !counts.has(id)).map((id) => `${id} is not in the database`),
    ...[...counts].filter(([id]) => !expected.has(id)).map(([id]) => `${id} is in the database, but in no folder`),
    ...[...counts].filter(([, count]) => count > 1).map(([id, count]) => `${id} is in the database ${count} times`),
    ...stored.messages.filter(({ state }) => state !== "settled").map(({ messageId, state }) => `${messageId} was left ${state}`),
    ...stored.messages.filter(({ isDeleted }) => isDeleted).map(({ messageId }) => `${messageId} counts as deleted`),
    ...stored.messages
      .filter(({ messageId, isTold }) => isTold !== told.has(messageId))
      .map(({ messageId, isTold }) => `${messageId} is marked as ${isTold ? "told, but is history" : "history, but is to be told"}`),
  ];
}

function faultsOfPlaces({ listed, stored }: MailboxEvidence): readonly string[] {
  const expected = listed.flatMap(({ path, messages }) => messages.map(({ uid, messageId }) => `${messageId} at ${path}:${uid}`));
  const known = countOf(stored.locations.map(({ path, uid, messageId }) => `${messageId} at ${path}:${uid}`));
  const wanted = new Set(expected);
  return [
    ...expected.filter((place) => !known.has(place)).map((place) => `${place} is not known`),
    ...[...known].filter(([place]) => !wanted.has(place)).map(([place]) => `${place} is known, but nothing lies there`),
    ...[...known].filter(([, count]) => count > 1).map(([place, count]) => `${place} is known ${count} times`),
  ];
}

function faultsOfFolders({ listed, stored }: MailboxEvidence): readonly string[] {
  const byPath = new Map(stored.folders.map((folder) => [folder.path, folder]));
  return listed.flatMap((folder) => {
    const known = byPath.get(folder.path);
    if (known === undefined) return [`folder ${folder.path} is not known`];
    const differences: readonly (readonly [what: string, is: unknown, should: unknown])[] = [
      ["import state", known.importState, "complete"],
      ["history cursor", known.historyCursor, null],
      ["problem", known.problem, null],
      ["cursor's UIDVALIDITY", known.cursor?.uidValidity, folder.uidValidity],
      ["cursor's UIDNEXT", known.cursor?.uidNext, folder.uidNext],
      ["cursor's count", known.cursor?.exists, folder.messages.length],
      ["total", known.total, folder.messages.length],
      ["unseen", known.unseen, folder.unseen],
    ];
    return differences
      .filter(([, is, should]) => is !== should)
      .map(([what, is, should]) => `folder ${folder.path}: its ${what} is ${JSON.stringify(is)}, not ${JSON.stringify(should)}`);
  });
}

function faultsOfEvents({ delivered, stored }: MailboxEvidence): readonly string[] {
  const created = countOf(stored.events.flatMap(({ type, messageId }) => (type === "message.created" && messageId !== null ? [messageId] : [])));
  const sequences = stored.events.map(({ sequence }) => sequence).toSorted((a, b) => (a ?? 0) - (b ?? 0));
  const gap = sequences.findIndex((sequence, index) => sequence !== index + 1);
  return [
    ...faultsOfTelling("the outbox", delivered, created),
    ...stored.events
      .filter(({ type }) => type === "message.deleted" || type === "mailbox.sync_reset" || type === "mailbox.error")
      .map(({ type, sequence }) => `${type} was told (number ${sequence}), though nothing of the kind happened`),
    ...(gap >= 0 ? [`event number ${gap + 1} is missing or there twice: ${sequences[gap]} stands in its place`] : []),
    ...(stored.lastSequence === sequences.length ? [] : [`the mailbox counts ${stored.lastSequence} events, there are ${sequences.length}`]),
  ];
}

function faultsOfArrivals({ delivered, stored, arrivals }: MailboxEvidence): readonly string[] {
  const events = new Map(stored.events.map((event) => [event.id, event]));
  const firsts = [...Map.groupBy(arrivals, ({ webhookId }) => webhookId).values()].map((same) => same[0]).filter((first) => first !== undefined);
  const arrived = new Set(firsts.map(({ webhookId }) => webhookId));
  const created = countOf(firsts.flatMap(({ type, messageId }) => (type === "message.created" && messageId !== null ? [messageId] : [])));
  return [
    ...arrivals.filter(({ isSigned }) => !isSigned).map(({ webhookId }) => `${webhookId} arrived with a wrong signature`),
    ...[...arrived].filter((id) => !events.has(id)).map((id) => `${id} arrived, but no such event is on record`),
    ...stored.events.filter(({ id }) => !arrived.has(id)).map(({ id, type }) => `${id} (${type}) never arrived`),
    ...faultsOfTelling("the receiver", delivered, created),
    ...changedBodies(arrivals).map((id) => `${id} arrived with different bodies`),
    ...firsts
      .map(({ sequence }) => sequence ?? 0)
      .flatMap((sequence, index, all) =>
        index > 0 && sequence <= (all[index - 1] ?? 0) ? [`event ${sequence} arrived after ${all[index - 1]}`] : [],
      ),
  ];
}

/** Each message that is to be told once, the others never. */
function faultsOfTelling(where: string, delivered: readonly Delivered[], created: ReadonlyMap<string, number>): readonly string[] {
  const told = new Set(delivered.filter(({ isTold }) => isTold).map(({ messageId }) => messageId));
  return [
    ...[...told].filter((id) => !created.has(id)).map((id) => `${where}: ${id} was never told`),
    ...[...created].filter(([id]) => !told.has(id)).map(([id]) => `${where}: ${id} was told, though it is not to be`),
    ...[...created].filter(([, count]) => count > 1).map(([id, count]) => `${where}: ${id} was told as ${count} events`),
  ];
}

function changedBodies(arrivals: readonly Arrival[]): readonly string[] {
  const byId = Map.groupBy(arrivals, ({ webhookId }) => webhookId);
  return [...byId].filter(([, same]) => new Set(same.map(({ body }) => body)).size > 1).map(([id]) => id);
}

function faultsOfShown({ listed, shown }: MailboxEvidence): readonly string[] {
  const messages = listed.reduce((sum, folder) => sum + folder.messages.length, 0);
  const unseen = listed.reduce((sum, folder) => sum + folder.unseen, 0);
  return [
    ...(shown.status === "connected" && shown.flow === "live" ? [] : [`the API shows ${shown.status} and ${shown.flow}, not connected and live`]),
    ...(shown.problem === null ? [] : [`the API shows a problem: ${JSON.stringify(shown.problem)}`]),
    ...(shown.messages === messages ? [] : [`the API counts ${shown.messages} messages, IMAP ${messages}`]),
    ...(shown.unseen === unseen ? [] : [`the API counts ${shown.unseen} unseen messages, IMAP ${unseen}`]),
  ];
}

/** Of one folder, messages are told in the order in which they came there. */
function faultsOfOrder({ listed, stored }: MailboxEvidence): readonly string[] {
  const inbox = listed.find(({ path }) => path === "INBOX");
  const uids = new Map(inbox?.messages.map(({ uid, messageId }) => [messageId, uid]));
  const told = stored.events.filter(({ type, messageId }) => type === "message.created" && messageId !== null && uids.has(messageId));
  return told.flatMap(({ messageId }, index) => {
    const before = told[index - 1]?.messageId;
    return before != null && (uids.get(messageId ?? "") ?? 0) < (uids.get(before) ?? 0)
      ? [`${messageId} was told after ${before}, which came later`]
      : [];
  });
}

/** What is kept is what was delivered, byte by byte, once each; where nothing is to be kept, nothing is. */
function faultsOfContent({ delivered, listed, keeping, kept }: MailboxEvidence): readonly string[] {
  const sources = listed.flatMap(({ messages }) => messages.map(({ messageId, source }) => ({ messageId, digest: source ?? null })));
  const texts = delivered.map(({ messageId, text }) => ({ messageId, digest: text }));
  const attachments = delivered.flatMap(({ messageId, attachment }) => (attachment === null ? [] : [{ messageId, digest: attachment }]));
  const keptTexts = kept.texts.map(({ messageId, text }) => ({ messageId, digest: text.trim() }));
  return [
    ...differences("source", keeping.sources ? sources : [], kept.sources),
    ...differences("text", keeping.texts ? texts : [], keptTexts),
    ...differences("attachment", keeping.attachments ? attachments : [], kept.attachments),
  ];
}

interface Content {
  readonly messageId: string;
  readonly digest: string | null;
}

function differences(what: string, expected: readonly Content[], kept: readonly Content[]): readonly string[] {
  const known = Map.groupBy(kept, ({ messageId }) => messageId);
  const wanted = new Map(expected.map(({ messageId, digest }) => [messageId, digest]));
  return [
    ...[...wanted].filter(([id]) => !known.has(id)).map(([id]) => `the ${what} of ${id} was not kept`),
    ...[...known].filter(([id]) => !wanted.has(id)).map(([id]) => `a ${what} of ${id} is kept, though none is to be`),
    ...[...known].filter(([, all]) => all.length > 1).map(([id, all]) => `the ${what} of ${id} is kept ${all.length} times`),
    ...kept
      .filter(({ messageId, digest }) => wanted.has(messageId) && digest !== wanted.get(messageId))
      .map(({ messageId, digest }) => `the ${what} of ${messageId} ${digest === null ? "cannot be opened" : "is not what was delivered"}`),
  ];
}

function countOf(values: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
