/** A folder's name from the wire: modified UTF-7 (RFC 3501 §5.1.3), which a session that enabled UTF8=ACCEPT does without. */
export function decodeName(raw: string, usesUtf8: boolean): string {
  if (usesUtf8 || !raw.includes("&")) return raw;
  const name = raw.replace(/&([^-]*)-/g, (_, base64: string) =>
    base64 === "" ? "&" : new TextDecoder("utf-16be").decode(Buffer.from(base64.replaceAll(",", "/"), "base64")),
  );
  // What does not come back as it was is no modified UTF-7: servers hand out names that other programs made wrongly. Such a name stays as it is.
  return encodeName(name, false) === raw ? name : raw;
}

/** The name as it goes to the server. */
export function encodeName(name: string, usesUtf8: boolean): string {
  if (usesUtf8) return name;
  return name.replace(/&|[^\x20-\x7e]+/g, (run) => (run === "&" ? "&-" : `&${toBase64(run)}-`));
}

function toBase64(text: string): string {
  return Buffer.from(text, "utf16le").swap16().toString("base64").replace(/=+$/, "").replaceAll("/", ",");
}
