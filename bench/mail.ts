import { newId } from "../db/ids.ts";
import type { PageOwner } from "../db/store-page.ts";
import type { Address } from "../domain/address.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { RemoteMessage } from "../domain/message.ts";

/**
 * Mail for benchmarks: words and people that occur as unevenly as in life (Zipf), threads that share a subject, mailboxes that write and read.
 * The same seed gives the same mail.
 */
export interface Correspondence {
  /** From the commonest to the rarest. */
  readonly words: readonly string[];
  readonly people: readonly Address[];
}

export interface SyntheticMailbox {
  readonly id: MailboxId;
  readonly owner: PageOwner;
  readonly email: string;
  readonly folders: readonly { readonly path: string; readonly role: FolderRole; readonly count: number }[];
}

/** Numbers in [0, 1) that only depend on the seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const onsets = ["b", "br", "c", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v", "w"];
const vowels = ["a", "e", "i", "o", "u", "ai", "ea", "ou"];
const codas = ["", "", "n", "r", "s", "t", "l", "nd"];

export function correspondence(seed: number, sizes: { readonly words: number; readonly people: number }): Correspondence {
  const random = seeded(seed);
  const pick = (list: readonly string[]) => list[Math.floor(random() * list.length)] ?? "";
  const syllable = () => pick(onsets) + pick(vowels) + pick(codas);
  const words = new Set<string>();
  while (words.size < sizes.words) words.add(Array.from({ length: 1 + Math.floor(random() * 3) }, syllable).join(""));
  const names = new Map<string, Address>();
  while (names.size < sizes.people) {
    const [first, last, company] = [syllable() + syllable(), syllable() + syllable(), syllable() + syllable()];
    const domain = random() < 0.3 ? `${pick(["mail", "post", "home"])}.example` : `${company}.example`;
    const address = `${first}.${last}@${domain}`;
    names.set(address, { name: `${capital(first)} ${capital(last)}`, address });
  }
  return { words: [...words], people: [...names.values()] };
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

/** An index below `count`; the first ones come up most (Zipf with exponent 1, by its inverse distribution). */
function zipf(random: () => number, count: number): number {
  return Math.min(count - 1, Math.floor(count ** random() - 1 + random()));
}

export function syntheticMailbox(customerId: CustomerId, name: string, count: number): SyntheticMailbox {
  const id = newId("mailbox");
  const email = `${name}@customer.example`;
  const part = (share: number) => Math.round(count * share);
  const folders = [
    { path: "INBOX", role: "inbox", count: part(0.45) },
    { path: "Sent", role: "sent", count: part(0.2) },
    { path: "Archive", role: "archive", count: part(0.25) },
    { path: "Projects", role: "none", count: part(0.05) },
    { path: "Junk", role: "junk", count: part(0.03) },
    { path: "Trash", role: "trash", count: part(0.02) },
  ] as const;
  return { id, email, folders, owner: { mailboxId: id, customerId, self: { email, aliases: [], ownDomains: [] }, tellListedFrom: undefined } };
}

/** Ten years of a folder, newest first as a first sync reads it, in pages. */
export function* folderPages(
  mail: Correspondence,
  { email, folders }: SyntheticMailbox,
  folder: SyntheticMailbox["folders"][number],
  options: { readonly seed: number; readonly pageSize: number },
): Generator<readonly RemoteMessage[]> {
  const random = seeded(options.seed + folders.indexOf(folder) * 7919);
  const me: Address = { name: capital(email.split("@")[0] ?? ""), address: email };
  const text = (words: number) => Array.from({ length: words }, () => mail.words[zipf(random, mail.words.length)]).join(" ");
  const person = (): Address => mail.people[zipf(random, mail.people.length)] ?? me;
  const newest = Date.parse("2026-11-01T00:00:00Z");
  const stepMs = (10 * 365 * 86_400_000) / Math.max(1, folder.count);
  let thread = { subject: "", root: "", other: me, left: 0 };
  for (let made = 0; made < folder.count; made += options.pageSize) {
    const page: RemoteMessage[] = [];
    for (let i = made; i < Math.min(folder.count, made + options.pageSize); i++) {
      if (thread.left === 0) {
        const subject = capital(text(3 + Math.floor(random() * 6)));
        thread = { subject, root: `<${email}.${folder.path}.${i}@example>`, other: person(), left: 1 + zipf(random, 12) };
      }
      thread.left--;
      const isOwn = folder.role === "sent" || (folder.role === "archive" && random() < 0.3);
      const cc = random() < 0.2 ? [person(), person()] : [];
      const hasFile = random() < 0.15;
      const receivedAt = new Date(newest - i * stepMs - random() * stepMs).toISOString();
      page.push({
        ref: String(folder.count - i),
        stableId: null,
        providerThreadId: null,
        envelope: {
          messageId: `<${email}.${folder.path}.${i}.id@example>`,
          inReplyTo: thread.root,
          references: [thread.root],
          subject: thread.left > 0 ? `Re: ${thread.subject}` : thread.subject,
          from: [isOwn ? me : thread.other],
          replyTo: [],
          to: [isOwn ? thread.other : me],
          cc,
          bcc: [],
          sentAt: receivedAt,
        },
        flags: i < folder.count * 0.01 ? (random() < 0.7 ? [] : ["seen"]) : random() < 0.01 ? ["flagged", "seen"] : ["seen"],
        sizeBytes: 2_000 + Math.floor(random() * 60_000),
        receivedAt,
        attachments: hasFile
          ? [{ part: "2", fileName: `${text(2)}.pdf`, contentType: "application/pdf", encodedSizeBytes: 90_000, contentId: null, isInline: false }]
          : [],
        traits: [],
        defects: [],
        recipientsTotal: 1 + cc.length,
        textPart: { part: "1", contentType: "text/plain", charset: "utf-8", transferEncoding: "7bit", encodedSizeBytes: 1_500 },
      });
    }
    yield page;
  }
}
