import type { TextPart } from "../domain/message.ts";
import { decodeCharset } from "./charset.ts";
import { storable } from "./sanitise.ts";
import { decodeTransfer } from "./transfer-encoding.ts";

/** The bytes of a text part as text. They may be cut anywhere: half a character at the end is left out. */
export function decodeText(bytes: Buffer, part: Pick<TextPart, "charset" | "transferEncoding">): string {
  return storable(decodeCharset(decodeTransfer(bytes, part.transferEncoding.trim().toLowerCase()), part.charset).replace(/\uFFFD+$/, ""));
}
