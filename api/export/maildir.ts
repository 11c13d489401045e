import type { MessageId } from "../../domain/ids.ts";
import type { Flags } from "../../domain/message.ts";

/**
 * One message of a Maildir++ as a tar entry (POSIX.1-2017 pax): `.Folder.Sub/cur/<time>.<message id>.everpost:2,<flags>`. An interrupted export is resumed
 * from the id in the name of the last file; unpacking the second archive over the first completes the tree.
 */
export async function* maildirEntry(
  message: { readonly id: MessageId; readonly receivedAt: Date; readonly flags: Flags; readonly path: string; readonly delimiter: string },
  source: { readonly sizeBytes: number; readonly stream: AsyncIterable<Buffer> },
): AsyncGenerator<Buffer> {
  const seconds = Math.max(0, Math.floor(message.receivedAt.getTime() / 1000));
  const name = `${folderName(message.path, message.delimiter)}cur/${seconds}.${message.id}.everpost:2,${flagLetters(message.flags)}`;
  yield tarHeader(name, source.sizeBytes, seconds);
  let read = 0;
  for await (const piece of source.stream) {
    read += piece.length;
    yield piece;
  }
  if (read !== source.sizeBytes) throw new Error("a source has another length than was said of it");
  yield padding(read);
}

/** Two empty blocks end an archive. */
export const endOfArchive = Buffer.alloc(1024);

/** The inbox is the root; other folders lie beside each other, levels divided by dots, dots and slashes in names replaced. */
function folderName(path: string, delimiter: string): string {
  if (path.toUpperCase() === "INBOX") return "";
  const levels = delimiter === "" ? [path] : path.split(delimiter);
  const name = levels.map((level) => level.replaceAll(/[./\p{Cc}]/gu, "_")).join(".");
  return `.${name}/`;
}

const letters: Readonly<Record<string, string>> = { draft: "D", flagged: "F", answered: "R", seen: "S", deleted: "T" };

/** In alphabetical order, as the format wants. */
function flagLetters(flags: Flags): string {
  return flags
    .flatMap((flag) => letters[flag] ?? [])
    .sort()
    .join("");
}

/** A ustar header, with a pax record in front where the name is longer than 100 bytes or no ASCII, or the size has no room. */
function tarHeader(name: string, sizeBytes: number, seconds: number): Buffer {
  const isPlain = name.length <= 100 && /^[\x20-\x7e]*$/.test(name) && sizeBytes < 8 ** 11;
  if (isPlain) return ustar(name, sizeBytes, seconds, "0");
  const records = Buffer.concat([paxRecord("path", name), ...(sizeBytes < 8 ** 11 ? [] : [paxRecord("size", String(sizeBytes))])]);
  const short = name.slice(-60).replaceAll(/[^\x20-\x7e]/g, "_");
  return Buffer.concat([
    ustar(`pax/${short}`, records.length, seconds, "x"),
    records,
    padding(records.length),
    ustar(short, sizeBytes % 8 ** 11, seconds, "0"),
  ]);
}

/** `<length> <key>=<value>\n`, the length counting itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length += 1;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function ustar(name: string, sizeBytes: number, seconds: number, type: "0" | "x"): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`;
  header.write(name, 0, 100, "latin1");
  header.write(octal(0o600, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(sizeBytes, 12), 124);
  header.write(octal(seconds, 12), 136);
  header.write("        ", 148);
  header.write(type, 156);
  header.write("ustar\0", 257);
  header.write("00", 263);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return header;
}

function padding(length: number): Buffer {
  return Buffer.alloc((512 - (length % 512)) % 512);
}
