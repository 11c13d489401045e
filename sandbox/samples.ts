import type { NewMessage } from "./imap/store.ts";
import { alertDrafts, type Draft, invitationDrafts, junkDrafts, newsletterDrafts, receiptDrafts, trashDrafts } from "./samples/bulk.ts";
import { type Address, compose, dateField, source } from "./samples/compose.ts";
import { type Conversation, conversations, type Turn } from "./samples/conversations.ts";
import { type Person, people } from "./samples/people.ts";
import { createRandom, type Random } from "./samples/random.ts";
import { absenceHeaders, absences, bouncedText, bounceMails } from "./samples/reports.ts";

export interface Sample extends NewMessage {
  readonly folder: string;
}

interface Context {
  readonly random: Random;
  readonly owner: Person;
  readonly now: Date;
  /** The owner's first mail in each conversation, by its subject: what absences answer. */
  readonly begun: Map<string, { readonly messageId: string; readonly at: number }>;
}

/**
 * A working person's mailbox of the last year, up to yesterday: the same for the same day and address, oldest first within each folder. All
 * people, companies and texts are made up.
 */
export function makeSamples({ now, email }: { readonly now: Date; readonly email: string }): Sample[] {
  const owner: Person = { name: "Alex Lindqvist", email, language: "en", signature: "Alex" };
  const context: Context = { random: createRandom(20_408), owner, now, begun: new Map() };
  const { random } = context;
  const drafts = [
    ...newsletterDrafts(random),
    ...receiptDrafts(random),
    ...alertDrafts(random),
    ...invitationDrafts(random, now),
    ...junkDrafts(random),
    ...trashDrafts(random),
  ];
  const samples = [
    ...conversations.flatMap((conversation) => conversationSamples(context, conversation)),
    ...drafts.map((draft) => draftSample(context, draft)),
    ...bounceSamples(context),
    ...absenceSamples(context),
    ...unfinished.map((draft) => unfinishedSample(context, draft)),
  ];
  return samples.sort((a, b) => a.receivedAt - b.receivedAt);
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

function conversationSamples(context: Context, conversation: Conversation): Sample[] {
  const { random, owner } = context;
  const partner: Person = people[conversation.turns.find((turn) => turn.from !== "me")?.from as keyof typeof people];
  const others: readonly Person[] = (conversation.cc ?? []).map((key) => people[key]);
  const references: string[] = [];
  let at = workday(context.now, conversation.daysAgo) + (8 + random.below(90) / 60) * hourMs;
  let previous: { readonly person: Person; readonly text: string; readonly at: number } | undefined;
  return conversation.turns.map((turn, index) => {
    at = Math.min(at + turn.hours * hourMs + random.below(55) * 1_000, startOfDay(context.now) - 1_000 * (conversation.turns.length - index));
    const author: Person = turn.from === "me" ? owner : people[turn.from];
    const messageId = newMessageId(random, author.email);
    const recipients = turn.from === "me" ? [partner] : [owner];
    const copied = [...others, ...(turn.from === "me" || author === partner ? [] : [partner])].filter(
      (person) => person !== author && !recipients.includes(person),
    );
    const body = `${turn.text}\n\n${author.signature}\n`;
    const mail = compose({
      from: author,
      to: recipients,
      cc: copied,
      subject: index === 0 || /^re:/i.test(conversation.subject) ? conversation.subject : `Re: ${conversation.subject}`,
      at: new Date(at),
      messageId,
      inReplyTo: references.at(-1),
      references: [...references],
      headers: turn.from === "me" ? [] : [received(owner, author.email, at)],
      text: previous === undefined ? body : `${body}\n${quote(previous, author)}`,
      html: author.writesHtml ? htmlOf(body, previous, author) : undefined,
      attachments: turn.attachments ?? [],
    });
    references.push(messageId);
    if (turn.from === "me" && !context.begun.has(conversation.subject)) context.begun.set(conversation.subject, { messageId, at });
    previous = { person: author, text: turn.text, at };
    const isAnswered = conversation.turns[index + 1]?.from === "me" && turn.from !== "me";
    return {
      folder: turn.from === "me" ? "Sent" : conversation.folder,
      source: mail,
      receivedAt: seconds(at),
      flags: turnFlags(context, turn, at, isAnswered),
    };
  });
}

function turnFlags({ now }: Context, turn: Turn, at: number, isAnswered: boolean): string[] {
  const isSeen = turn.from === "me" || isAnswered || startOfDay(now) - at > 2 * dayMs;
  return [...(isAnswered ? ["\\Answered"] : []), ...(turn.isFlagged ? ["\\Flagged"] : []), ...(isSeen ? ["\\Seen"] : [])];
}

function draftSample({ random, owner, now }: Context, { folder, daysAgo, hour, isUnread, isFlagged, mail }: Draft): Sample {
  const at = startOfDay(now) - daysAgo * dayMs + hour * hourMs + random.below(3_600) * 1_000;
  const messageId = newMessageId(random, mail.from.email);
  const headers = [received(owner, mail.from.email, at), ...(mail.headers ?? [])];
  const content = compose({ to: [owner], ...mail, headers, at: new Date(at), messageId });
  return { folder, source: content, receivedAt: seconds(at), flags: [...(isFlagged ? ["\\Flagged"] : []), ...(isUnread ? [] : ["\\Seen"])] };
}

/** Each bounce with the mail that came back. */
function bounceSamples({ random, owner, now }: Context): Sample[] {
  return bounceMails.flatMap(({ folder, daysAgo, hour, subject, original, content }): Sample[] => {
    const sentAt = startOfDay(now) - daysAgo * dayMs + hour * hourMs;
    const at = sentAt + 60_000;
    const originalId = newMessageId(random, owner.email);
    const sent = compose({
      from: owner,
      to: [{ name: "", email: original.recipient }],
      subject: original.subject,
      at: new Date(sentAt),
      messageId: originalId,
      text: bouncedText,
    });
    const sender = { name: "Mail Delivery System", email: "mailer-daemon@mx.sandbox.everpost.test" };
    const returned = {
      from: sender,
      to: [owner],
      subject,
      at: new Date(at),
      messageId: newMessageId(random, sender.email),
      headers: [["Return-Path", "<>"] as const, ["Auto-Submitted", "auto-replied"] as const],
    };
    const report = content({ random, owner: owner.email, at: new Date(at), originalId });
    return [
      { folder: "Sent", source: sent, receivedAt: seconds(sentAt), flags: ["\\Seen"] },
      { folder, source: source(returned, report), receivedAt: seconds(at), flags: ["\\Seen"] },
    ];
  });
}

function absenceSamples({ random, owner, begun }: Context): Sample[] {
  return absences.map(({ from, subject, text, answers }) => {
    const answered = begun.get(answers);
    if (answered === undefined) throw new Error(`there is no conversation "${answers}" to be absent from`);
    const at = answered.at + 60_000;
    const mail = compose({
      from,
      to: [owner],
      subject,
      at: new Date(at),
      messageId: newMessageId(random, from.email),
      inReplyTo: answered.messageId,
      references: [answered.messageId],
      headers: [["Return-Path", "<>"], received(owner, from.email, at), ...absenceHeaders],
      text: `${text}\n\n${from.name}\n`,
    });
    return { folder: "INBOX", source: mail, receivedAt: seconds(at), flags: ["\\Seen"] };
  });
}

const unfinished: readonly { readonly to: readonly Address[]; readonly subject: string; readonly text: string; readonly daysAgo: number }[] = [
  {
    to: [people.mina],
    subject: "Re: Roadmap draft for the spring release",
    text: "Hi Mina,\n\nthe three schools are told. One thought about the",
    daysAgo: 1,
  },
  {
    to: [people.tomas],
    subject: "Prices for 2.8 stations",
    text: "Hi Tomás,\n\ncould we round the marine kit to\n\n- ask Ingrid first!",
    daysAgo: 6,
  },
  {
    to: [],
    subject: "Talk at the meetup: what gusts taught us",
    text: "1. the day the cranes stopped\n2. counting in hardware\n3. ?\n",
    daysAgo: 23,
  },
  { to: [people.amelie], subject: "Photos de la jetée", text: "Bonjour Amélie,\n\nserait-il possible d'utiliser", daysAgo: 12 },
];

function unfinishedSample({ random, owner, now }: Context, { to, subject, text, daysAgo }: (typeof unfinished)[number]): Sample {
  const at = startOfDay(now) - daysAgo * dayMs + 16 * hourMs;
  const mail = compose({ from: owner, to, subject, text, at: new Date(at), messageId: newMessageId(random, owner.email) });
  return { folder: "Drafts", source: mail, receivedAt: seconds(at), flags: ["\\Draft", "\\Seen"] };
}

/** How each language's mail programs introduce what they quote. */
function quote(previous: { readonly person: Person; readonly text: string; readonly at: number }, author: Person): string {
  const quoted = previous.text.split("\n").map((line) => (line === "" ? ">" : `> ${line}`));
  return `${attribution(previous, author)}\n${quoted.join("\n")}\n`;
}

function attribution({ person, at }: { readonly person: Person; readonly at: number }, author: Person): string {
  const [day, time] = [new Date(at).toISOString().slice(0, 10), new Date(at).toISOString().slice(11, 16)];
  switch (author.language) {
    case "de":
      return `Am ${day.split("-").reverse().join(".")} um ${time} schrieb ${person.name}:`;
    case "fr":
      return `Le ${day.split("-").reverse().join("/")} à ${time}, ${person.name} a écrit :`;
    case "ja":
      return `${day.replaceAll("-", "/")} ${time} ${person.name}:`;
    case "ru":
      return `${day.split("-").reverse().join(".")}, ${time}, ${person.name} пишет:`;
    case "en":
      return `On ${dateField(new Date(at)).slice(0, 16)} at ${time}, ${person.name} wrote:`;
  }
}

function htmlOf(body: string, previous: Parameters<typeof quote>[0] | undefined, author: Person): string {
  const escapeHtml = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  const paragraphs = (text: string) =>
    text
      .trim()
      .split("\n\n")
      .map((paragraph) => `<p>${escapeHtml(paragraph).replaceAll("\n", "<br>\n")}</p>`)
      .join("\n");
  const quoted =
    previous === undefined
      ? ""
      : `\n<div>${escapeHtml(attribution(previous, author))}</div>\n<blockquote>\n${paragraphs(previous.text)}\n</blockquote>`;
  return `<!doctype html>\n<html><body>\n${paragraphs(body)}${quoted}\n</body></html>\n`;
}

function received(owner: Person, from: string, at: number): readonly [string, string] {
  const host = `mx.${from.slice(from.indexOf("@") + 1)}`;
  return ["Received", `from ${host} by sandbox.everpost.test with ESMTPS\r\n\tfor <${owner.email}>; ${dateField(new Date(at))}`];
}

function newMessageId(random: Random, email: string): string {
  return `<${random.hex(20)}@${email.slice(email.indexOf("@") + 1)}>`;
}

function startOfDay(now: Date): number {
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate());
}

/** That many days before today; a day of a weekend becomes the Friday before. */
function workday(now: Date, daysAgo: number): number {
  const at = startOfDay(now) - daysAgo * dayMs;
  const weekday = new Date(at).getUTCDay();
  return at - (weekday === 6 ? dayMs : weekday === 0 ? 2 * dayMs : 0);
}

/** INTERNALDATE has no milliseconds. */
function seconds(at: number): number {
  return Math.floor(at / 1_000) * 1_000;
}
