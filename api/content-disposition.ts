/**
 * A Content-Disposition that makes browsers save and never show (RFC 6266). The name is somebody else's: what paths, headers and shells take for their own is
 * replaced, the whole of it travels percent-encoded (RFC 8187), and those that only know the old form get its ASCII.
 */
export function attachmentDisposition(fileName: string): string {
  const name = safeName(fileName);
  const plain = name.replaceAll(/[^\x20-\x7e]/g, "_").replaceAll(/["\\%]/g, "_");
  return `attachment; filename="${plain}"; filename*=UTF-8''${encodeExtended(name)}`;
}

/** File systems end at 255 bytes. */
const nameBytesMax = 200;

function safeName(fileName: string): string {
  const clean = fileName
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "")
    .replaceAll(/[/\\:*?"<>|]/g, "_")
    .replace(/^[.\s]+/, "")
    .replace(/[.\s]+$/, "");
  return clean === "" ? "attachment" : cutName(clean);
}

/** Cut in front of its extension, at a whole character. */
function cutName(name: string): string {
  if (Buffer.byteLength(name) <= nameBytesMax) return name;
  const extension = /\.\w{1,10}$/.exec(name)?.[0] ?? "";
  let stem = "";
  for (const character of name.slice(0, name.length - extension.length)) {
    if (Buffer.byteLength(stem + character) > nameBytesMax - extension.length) break;
    stem += character;
  }
  return stem + extension;
}

/** RFC 8187 §3.2.1: everything but attr-char is escaped; encodeURIComponent leaves a few more than that alone. */
function encodeExtended(text: string): string {
  return encodeURIComponent(text).replaceAll(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
