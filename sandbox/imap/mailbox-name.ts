import { string } from "./encode.ts";
import { no } from "./failure.ts";

export const delimiter = "/";

/** A mailbox name from the wire (modified UTF-7, RFC 3501 §5.1.3) as unicode. INBOX is INBOX however it is spelled. */
export function fromWire(wire: string): string {
  const name = wire.replace(/&([A-Za-z0-9+,]*)-/g, (_, encoded: string) => (encoded === "" ? "&" : decodeBase64Run(encoded)));
  return name.replace(/^inbox(?=\/|$)/i, "INBOX");
}

export function toWire(name: string): string {
  return string(encodeModifiedUtf7(name));
}

/** A name that a new folder may have; throws NO with the reason otherwise. */
export function checkNewName(name: string): string {
  const trimmed = name.endsWith(delimiter) ? name.slice(0, -1) : name;
  const parts = trimmed.split(delimiter);
  if (trimmed.length > 200 || parts.length > 20) throw no("a folder name has at most 200 characters and 20 levels", "CANNOT");
  if (parts.some((part) => part.trim() === "")) throw no("a folder name has no empty part", "CANNOT");
  if (/[\p{Cc}*%]/u.test(trimmed) || !trimmed.isWellFormed()) throw no("a folder name has no control characters and no * or %", "CANNOT");
  return trimmed;
}

/** LIST's wildcards: `*` is anything, `%` anything within one level. Walks all prefixes at once, so that no pattern is slow. */
export function matchesPattern(name: string, pattern: string): boolean {
  let reached = new Set([0]);
  for (const character of pattern) {
    const next = new Set<number>();
    for (const at of reached) {
      if (character === "*" || character === "%") {
        for (let to = at; to <= name.length; to++) {
          next.add(to);
          if (character === "%" && name[to] === delimiter) break;
        }
      } else if (name.startsWith(character, at)) next.add(at + character.length);
    }
    reached = next;
  }
  return reached.has(name.length);
}

function decodeBase64Run(encoded: string): string {
  const bytes = Buffer.from(encoded.replaceAll(",", "/"), "base64");
  return bytes
    .subarray(0, bytes.length & ~1)
    .swap16()
    .toString("utf16le");
}

function encodeModifiedUtf7(name: string): string {
  return name.replaceAll("&", "&-").replace(/[^\x20-\x7e]+/g, (run) => {
    const bytes = Buffer.from(run, "utf16le").swap16();
    return `&${bytes.toString("base64").replace(/=+$/, "").replaceAll("/", ",")}-`;
  });
}
