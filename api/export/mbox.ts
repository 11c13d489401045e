import type { MessageId } from "../../domain/ids.ts";

/**
 * One message of an mbox (RFC 4155), quoted as mboxrd: a line of the message that begins with any number of `>` and `From ` gets one more, so that
 * separators are unmistakable and taking one away gives the source back to the byte. The separator names the message, from which an export can be resumed.
 */
export async function* mboxEntry(
  message: { readonly id: MessageId; readonly receivedAt: Date },
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  yield Buffer.from(`From ${message.id}@everpost.invalid ${asctime(message.receivedAt)}\r\n`);
  let last = 0x0a;
  for await (const piece of quoteFromLines(source)) {
    last = piece.at(-1) ?? last;
    yield piece;
  }
  yield Buffer.from(last === lineFeed ? "\r\n" : "\r\n\r\n");
}

const lineFeed = 0x0a;
const mark = Buffer.from(">");
const from = "From ";

/** Looks at the beginning of each line, which may be cut anywhere between two pieces. */
async function* quoteFromLines(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  // What of the current line's beginning was not given out yet, as it may become one to be quoted.
  let head: Buffer = Buffer.alloc(0);
  let isAtLineStart = true;
  for await (const piece of source) {
    const bytes = head.length === 0 ? piece : Buffer.concat([head, piece]);
    const out: Buffer[] = [];
    let given = 0;
    let line = isAtLineStart ? 0 : nextLine(bytes, 0);
    let isCut = false;
    while (line < bytes.length) {
      const verdict = judge(bytes, line);
      if (verdict === "unsure") {
        isCut = true;
        break;
      }
      if (verdict === "quote") {
        out.push(bytes.subarray(given, line), mark);
        given = line;
      }
      line = nextLine(bytes, line);
    }
    const end = isCut ? line : bytes.length;
    out.push(bytes.subarray(given, end));
    head = bytes.subarray(end);
    isAtLineStart = isCut || (bytes.length > 0 ? bytes.at(-1) === lineFeed : isAtLineStart);
    yield Buffer.concat(out);
  }
  if (head.length > 0) yield head;
}

/** A row of marks that goes on for longer is no separator to anybody. */
const marksMax = 10_000;

function judge(bytes: Buffer, line: number): "quote" | "leave" | "unsure" {
  let at = line;
  while (bytes[at] === 0x3e && at - line < marksMax) at += 1;
  const found = bytes.subarray(at, at + from.length).toString("latin1");
  if (found === from) return "quote";
  return found.length < from.length && from.startsWith(found) ? "unsure" : "leave";
}

function nextLine(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(lineFeed, at);
  return end === -1 ? bytes.length : end + 1;
}

const days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] as const;

/** The form of C's asctime, in UTC, as every reader of mbox expects it. */
function asctime(instant: Date): string {
  const time = instant.toISOString().slice(11, 19);
  return `${days[instant.getUTCDay()]} ${months[instant.getUTCMonth()]} ${String(instant.getUTCDate()).padStart(2)} ${time} ${instant.getUTCFullYear()}`;
}
