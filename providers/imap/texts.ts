import type { ImapFlow } from "imapflow";
import type { RemoteMessage, TextPart } from "../../domain/message.ts";
import type { SyncScope } from "../../domain/sync.ts";
import { decodeText } from "../../mime/decode-text.ts";
import { htmlToText } from "../../mime/html-to-text.ts";
import { tidyText } from "../../mime/tidy-text.ts";
import { selectFolder } from "./folder.ts";
import { toRanges, toSequenceSet } from "./ranges.ts";

/** Messages in one FETCH: enough that round trips do not count, few enough that their texts fit in memory. */
const groupMax = 100;
/** Encoded bytes per byte of text: base64 takes four for three, quoted-printable up to three for one, HTML ten and more of mark-up. */
const encodedPerByte = { "text/plain": 3, "text/html": 12 } as const;
/** Newsletters begin with several kilobytes of style sheets. */
const htmlBytesMin = 48 * 1024;

/** The beginning of each message's readable part, as text, which may be empty. Messages without such a part, and those that are gone, are left out. */
export async function fetchTexts(
  client: ImapFlow,
  scope: SyncScope,
  messages: readonly Pick<RemoteMessage, "ref" | "textPart">[],
  bytesMax: number,
): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  const wanted = messages.flatMap(({ ref, textPart }) => (textPart === null ? [] : [{ ref, textPart }]));
  if (wanted.length === 0) return texts;
  await selectFolder(client, scope.path);
  for (const group of groupsByPart(wanted)) {
    const parts = new Map(group.map(({ ref, textPart }) => [Number(ref), textPart]));
    const { part, maxLength } = question(group, bytesMax);
    const rows = await client.fetchAll(
      toSequenceSet(toRanges([...parts.keys()].toSorted((a, b) => a - b))),
      { uid: true, bodyParts: [{ key: part, start: 0, maxLength }] },
      { uid: true },
    );
    for (const row of rows) {
      const textPart = parts.get(row.uid);
      if (textPart === undefined) continue;
      const bytes = row.bodyParts?.get(part.toLowerCase());
      texts.set(String(row.uid), bytes === undefined ? "" : readText(bytes, textPart, bytesMax));
    }
  }
  return texts;
}

interface Wanted {
  readonly ref: string;
  readonly textPart: TextPart;
}

/** A FETCH asks the same part of each of its messages, so they are grouped by part and kind. */
function groupsByPart(wanted: readonly Wanted[]): readonly (readonly Wanted[])[] {
  const groups = Map.groupBy(wanted, ({ textPart }) => `${textPart.part} ${textPart.contentType}`);
  return [...groups.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / groupMax) }, (_, index) => group.slice(index * groupMax, (index + 1) * groupMax)),
  );
}

function question(group: readonly Wanted[], bytesMax: number): { readonly part: string; readonly maxLength: number } {
  const { part, contentType } = (group[0] as Wanted).textPart;
  const maxLength = bytesMax * encodedPerByte[contentType];
  return { part, maxLength: contentType === "text/html" ? Math.max(maxLength, htmlBytesMin) : maxLength };
}

function readText(bytes: Buffer, textPart: TextPart, bytesMax: number): string {
  const decoded = decodeText(bytes, textPart);
  const text = tidyText(textPart.contentType === "text/html" ? htmlToText(decoded) : decoded);
  return cutBytes(text, bytesMax);
}

function cutBytes(text: string, bytesMax: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= bytesMax) return text;
  // A character that the cut halves is left out.
  return new TextDecoder().decode(bytes.subarray(0, bytesMax), { stream: true });
}
