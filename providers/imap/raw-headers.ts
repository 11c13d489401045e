import type { FetchMessageObject, ImapFlow, MessageAddressObject, MessageEnvelopeObject, MessageStructureObject } from "imapflow";
import parseAddresses from "nodemailer/lib/addressparser";
import type { Defect } from "../../domain/defects.ts";
import { recipientsMax } from "../../domain/message.ts";
import { decodeHeader } from "../../mime/decode-header.ts";
import { readHeaderFields } from "../../mime/header-fields.ts";
import { toRanges, toSequenceSet } from "./ranges.ts";

/** Rows whose envelope was read anew, with what was found wrong with them. */
export interface RepairedRow {
  readonly row: FetchMessageObject;
  readonly defects: readonly Defect[];
}

const fields = { subject: "Subject", from: "From", replyTo: "Reply-To", to: "To", cc: "Cc", bcc: "Bcc" } as const;
type Field = keyof typeof fields;

/** Of one field, in bytes: an address list of this length names more than are kept. */
const fieldLengthMax = 256 * 1024;

/**
 * Envelopes that show damage are read anew from their header fields: the library reads ENVELOPE as UTF-8, and mail with bytes beyond ASCII in its header
 * may be written in anything. One more FETCH for those messages of a page, and none for a page without any.
 */
export async function repairEnvelopes(client: ImapFlow, rows: ReadonlyMap<number, FetchMessageObject>): Promise<ReadonlyMap<number, RepairedRow>> {
  const damaged = [...rows.values()].filter((row) => damagedFields(row.envelope).length > 0);
  if (damaged.length === 0) return new Map();
  const wanted = [...new Set(damaged.flatMap((row) => damagedFields(row.envelope)))];
  const uids = damaged.map((row) => row.uid).sort((a, b) => a - b);
  const answers = await client.fetchAll(toSequenceSet(toRanges(uids)), { uid: true, headers: wanted.map((field) => fields[field]) }, { uid: true });
  const repaired = new Map<number, RepairedRow>();
  for (const { uid, headers } of answers) {
    const row = rows.get(uid);
    if (row !== undefined && headers !== undefined && damagedFields(row.envelope).length > 0)
      repaired.set(uid, repair(row, readHeaderFields(headers)));
  }
  return repaired;
}

/** What no sender writes: a replaced byte, or an escape of ISO-2022-JP. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
const damage = /[\ufffd\u001b]/;

function damagedFields(envelope: MessageEnvelopeObject | undefined): readonly Field[] {
  if (envelope === undefined) return [];
  const isDamaged = (list: readonly MessageAddressObject[] | undefined) =>
    list?.some(({ name, address }) => (name !== undefined && damage.test(name)) || (address !== undefined && damage.test(address))) ?? false;
  return (Object.keys(fields) as Field[]).filter((field) =>
    field === "subject" ? envelope.subject !== undefined && damage.test(envelope.subject) : isDamaged(envelope[field]),
  );
}

function repair(row: FetchMessageObject, headers: ReadonlyMap<string, readonly string[]>): RepairedRow {
  const charset = charsetOf(row.bodyStructure);
  const envelope: MessageEnvelopeObject = { ...row.envelope };
  let isRaw = false;
  const decode = (value: string) => {
    const decoded = decodeHeader(value, charset);
    isRaw ||= decoded.isRaw;
    return decoded.text;
  };
  for (const field of damagedFields(row.envelope)) {
    const value = headers.get(fields[field].toLowerCase())?.[0]?.slice(0, fieldLengthMax);
    if (value === undefined) {
      // ENVELOPE repeats From where there is no Reply-To (RFC 9051 §7.5.2).
      if (field === "replyTo") delete envelope.replyTo;
      continue;
    }
    if (field === "subject") envelope.subject = decode(value);
    else envelope[field] = readAddresses(value, row.envelope?.[field] ?? [], decode);
  }
  return { row: { ...row, envelope }, defects: isRaw ? ["raw_header_bytes"] : [] };
}

/** The addresses of a field; those beyond what is kept stay as the server gave them, so that they are counted. */
function readAddresses(value: string, known: readonly MessageAddressObject[], decode: (value: string) => string): MessageAddressObject[] {
  const parsed = parseAddresses(value, { flatten: true });
  const read = parsed.slice(0, recipientsMax).map(({ name, address }) => ({ name: decode(name), address: decode(address) }));
  return read.length < known.length ? [...read, ...known.slice(read.length)] : read;
}

/** What the message's text is written in, or its first part. */
function charsetOf(structure: MessageStructureObject | undefined): string {
  let node = structure;
  for (let depth = 0; node !== undefined && depth < 20; depth += 1) {
    const charset = node.parameters?.charset;
    if (charset !== undefined) return charset;
    node = node.childNodes?.[0];
  }
  return "";
}
