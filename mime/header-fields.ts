/** A field's value may be of any length; beyond this, nothing is read from it. */
const valueLengthMax = 1024 * 1024;
/** A header of more fields than this is an attack or a loop. */
const fieldsMax = 2_000;

/** Header fields by lower-case name, unfolded (RFC 5322 §2.2.3), each field's values in order. Bytes stay apart: one character each (latin1). */
export function readHeaderFields(header: Buffer): ReadonlyMap<string, readonly string[]> {
  const fields = new Map<string, string[]>();
  let count = 0;
  for (const line of header.toString("latin1").split(/\r?\n(?![ \t])/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    count += 1;
    if (count > fieldsMax) break;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line
      .slice(colon + 1, colon + 1 + valueLengthMax)
      .replace(/\r?\n(?=[ \t])/g, "")
      .trim();
    const known = fields.get(name);
    if (known === undefined) fields.set(name, [value]);
    else known.push(value);
  }
  return fields;
}

/** A value's bytes as UTF-8, which is what RFC 6532 makes of them. */
export function utf8Of(value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything beyond ASCII
  return /^[\u0000-\u007f]*$/.test(value) ? value : Buffer.from(value, "latin1").toString("utf8");
}
