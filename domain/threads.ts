import { withoutSubaddress } from "./address.ts";
import { isSelf, type Self } from "./direction.ts";
import { identityOf } from "./identity.ts";
import type { MessageId, ThreadId } from "./ids.ts";
import type { Envelope, RemoteMessage } from "./message.ts";
import { plainSubject } from "./subject.ts";

/** What ties a message to others: all that threading looks at, and nothing that depends on when or in which order it is looked at. */
export interface ThreadLinks {
  readonly id: MessageId;
  /** Names a thread of this message and no other: for one that nothing ties. */
  readonly alone: string;
  /**
   * Messages that have a key in common are one thread: `message-id …` for what it answers, oldest first, and for itself; or `provider …` and nothing else
   * where the provider says it.
   */
  readonly keys: readonly string[];
  /** The subject without prefixes; what a key gathers is counted by it. */
  readonly subject: string;
  readonly receivedAt: number;
  /** The message may be found by its subject: it has one, and is no mail of a list, a machine or to many. */
  readonly isFoundBySubject: boolean;
  /** It says that it is an answer and names nothing that it answers: only then are others looked for by the subject. */
  readonly isBareReply: boolean;
}

/** A message where only its subject may tie it. */
export interface SubjectLink {
  readonly subject: string;
  readonly isBareReply: boolean;
  /** Who takes part besides the mailbox's owner. */
  readonly participants: readonly string[];
  readonly receivedAt: number;
}

/** Of a long References header, the root and the newest tie; those between are tied by the messages between. */
const keysMax = 8;
/** Beyond this many recipients it is a circular, which no subject ties. */
const recipientsMax = 30;

/** An answer without references is looked for this long after what it answers. */
const answerWindowMs = 30 * 86_400_000;
/** Servers' clocks, and a copy in the sent folder that was stored late. */
const clockSkewMs = 86_400_000;
/** How far around a message others are looked for by subject. */
export const subjectWindowMs = answerWindowMs + clockSkewMs;

/**
 * A key that gathered more different subjects than this ties no further ones: some programs put one constant In-Reply-To, References or Message-ID on
 * everything, and would glue a mailbox together. A conversation changes its subject a few times in its life.
 */
export const subjectsOfKeyMax = 20;

/** What ties this message. */
export function linksOf(message: RemoteMessage, id: MessageId): ThreadLinks {
  const { envelope, providerThreadId } = message;
  const basis = { id, alone: `alone ${identityOf(message)}`, receivedAt: Date.parse(message.receivedAt) };
  if (providerThreadId !== null) {
    return { ...basis, keys: [`provider ${providerThreadId}`], subject: "", isFoundBySubject: false, isBareReply: false };
  }
  const { references, inReplyTo, messageId } = envelope;
  const ids = [references[0], ...references.slice(1).slice(3 - keysMax), inReplyTo, messageId].filter((one) => one !== undefined && one !== null);
  const { text, isReply, hasTag } = plainSubject(envelope.subject);
  const isToMany = hasTag || message.traits.some(({ kind }) => kind !== "auto_reply") || envelope.to.length + envelope.cc.length > recipientsMax;
  const isFoundBySubject = text !== "" && !isToMany;
  const isBareReply = isFoundBySubject && isReply && references.length === 0 && inReplyTo === null;
  return { ...basis, keys: [...new Set(ids)].map((one) => `message-id ${one}`), subject: text, isFoundBySubject, isBareReply };
}

/** The message as one that may be tied by subject, read only where there is an answer to tie. */
export function subjectLinkOf({ subject, isBareReply, receivedAt }: ThreadLinks, envelope: Envelope, self: Self): SubjectLink {
  const everybody = [...envelope.from, ...envelope.to, ...envelope.cc].map(({ address }) => withoutSubaddress(address));
  const participants = [...new Set(everybody)].filter((address) => address !== "" && !isSelf(self, address));
  return { subject, isBareReply, participants, receivedAt };
}

/**
 * Whether subject and participants alone make two messages one conversation: an answer that names nothing, what it may answer, not too long before,
 * and somebody who took part in both. Two messages that are no answers are never one by their subject: an invoice comes each month.
 */
export function isTiedBySubject(a: SubjectLink, b: SubjectLink): boolean {
  return a.subject === b.subject && (answers(a, b) || answers(b, a)) && a.participants.some((address) => b.participants.includes(address));
}

function answers(reply: SubjectLink, original: SubjectLink): boolean {
  const ageMs = reply.receivedAt - original.receivedAt;
  return reply.isBareReply && ageMs <= answerWindowMs && ageMs >= -clockSkewMs;
}

/** What is on record about a key. */
export interface KnownKey {
  readonly threadId: ThreadId;
  /** Hashes of the subjects that it gathered. */
  readonly subjects: readonly number[];
}

/** Messages, keys and threads that prove to be one thread. */
export interface ThreadGroup {
  readonly messages: readonly ThreadLinks[];
  /** Keys of these messages, with all the subjects that each has gathered now. */
  readonly keys: ReadonlyMap<string, readonly number[]>;
  /** Threads on record that the group touches: none for a new one, several where they prove to be one. */
  readonly threads: readonly ThreadId[];
}

/** Two things that are one by subject: messages of the page, or a message of the page and a thread on record. */
export type SubjectTie = readonly [MessageId, MessageId | ThreadId];

/**
 * Which messages are one thread, given what is on record about their keys: the connected parts of the graph in which messages, keys and threads are
 * the nodes. Connectedness does not depend on the order in which ties become known, so neither do the threads.
 */
export function groupByThread(
  messages: readonly ThreadLinks[],
  known: ReadonlyMap<string, KnownKey>,
  ties: readonly SubjectTie[] = [],
): readonly ThreadGroup[] {
  const sets = disjointSets();
  const gathered = new Map<string, Set<number>>();
  // In the order of ids: which subjects a key takes before it is full must not depend on how a page happens to be sorted.
  const sorted = messages.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const message of sorted) {
    sets.add(message.id);
    const subject = subjectHash(message.subject);
    for (const key of message.keys) {
      const record = known.get(key);
      const subjects = gathered.get(key) ?? new Set(record?.subjects);
      if (!subjects.has(subject) && subjects.size >= subjectsOfKeyMax) continue;
      gathered.set(key, subjects.add(subject));
      sets.unite(message.id, key);
      if (record !== undefined) sets.unite(key, record.threadId);
    }
  }
  for (const [one, other] of ties) sets.unite(one, other);
  return toGroups(sets, sorted, gathered);
}

interface Growing {
  readonly messages: ThreadLinks[];
  readonly keys: Map<string, readonly number[]>;
  readonly threads: ThreadId[];
}

function toGroups(sets: DisjointSets, messages: readonly ThreadLinks[], gathered: ReadonlyMap<string, ReadonlySet<number>>): readonly ThreadGroup[] {
  const groups = new Map<string, Growing>();
  const groupOf = (node: string): Growing => {
    const root = sets.find(node);
    const group = groups.get(root) ?? { messages: [], keys: new Map(), threads: [] };
    groups.set(root, group);
    return group;
  };
  for (const message of messages) groupOf(message.id).messages.push(message);
  for (const [key, subjects] of gathered) groupOf(key).keys.set(key, [...subjects]);
  for (const node of sets.nodes()) if (isThread(node)) groupOf(node).threads.push(node);
  return [...groups.values()];
}

/** Nodes are message ids, thread ids and keys; a key has a space behind its first word, an id has none. */
function isThread(node: string): node is ThreadId {
  return node.startsWith("thr_");
}

/**
 * What a new thread's id is made of, so that a page that is stored again makes the same one: the first key of its oldest message that ties (the root of
 * its References), which no other thread has, or that message itself.
 */
export function foundingOf({ messages, keys }: ThreadGroup): string {
  const [oldest] = messages.toSorted((a, b) => a.receivedAt - b.receivedAt || (a.id < b.id ? -1 : 1));
  if (oldest === undefined) throw new Error("a thread begins with a message");
  return oldest.keys.find((key) => keys.has(key)) ?? oldest.alone;
}

/** 32 bits of a subject (FNV-1a): two that collide count as one, which only makes a key look less busy than it is. */
export function subjectHash(subject: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < subject.length; at += 1) hash = Math.imul(hash ^ subject.charCodeAt(at), 0x01000193);
  return hash | 0;
}

interface DisjointSets {
  add(node: string): void;
  unite(a: string, b: string): void;
  find(node: string): string;
  nodes(): Iterable<string>;
}

/** Union by size with path halving: as good as linear. */
function disjointSets(): DisjointSets {
  const parents = new Map<string, string>();
  const sizes = new Map<string, number>();
  const add = (node: string): void => {
    if (!parents.has(node)) parents.set(node, node);
  };
  const find = (node: string): string => {
    let at = node;
    for (;;) {
      const parent = parents.get(at) ?? at;
      if (parent === at) return at;
      const grandparent = parents.get(parent) ?? parent;
      parents.set(at, grandparent);
      at = grandparent;
    }
  };
  return {
    add,
    find,
    nodes: () => parents.keys(),
    unite(a, b) {
      add(a);
      add(b);
      const [one, other] = [find(a), find(b)];
      if (one === other) return;
      const [oneSize, otherSize] = [sizes.get(one) ?? 1, sizes.get(other) ?? 1];
      const [root, leaf] = oneSize >= otherSize ? [one, other] : [other, one];
      parents.set(leaf, root);
      sizes.set(root, oneSize + otherSize);
    },
  };
}
