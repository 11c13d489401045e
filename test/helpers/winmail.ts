export const int = (value: number, bytes: 2 | 4) => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntLE(value, 0, bytes);
  return buffer;
};
export const attribute = (id: number, data: Buffer) =>
  Buffer.concat([Buffer.from([id === 0x00069003 || id === 0x00069007 ? 1 : 2]), int(id, 4), int(data.length, 4), data, int(0, 2)]);
const pad = (data: Buffer) => Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
const variable = (type: number, tag: number, data: Buffer) => Buffer.concat([int(type, 2), int(tag, 2), int(1, 4), int(data.length, 4), pad(data)]);
const properties = (...list: readonly Buffer[]) => Buffer.concat([int(list.length, 4), ...list]);
const named = Buffer.concat([int(3, 2), int(0x8001, 2), Buffer.alloc(16), int(1, 4), int(6, 4), pad(Buffer.from("a\0b\0\0\0")), int(7, 4)]);

/** What Outlook wraps up: HTML, a PDF under its long name, and a picture that the HTML shows. */
export const winmail = Buffer.concat([
  int(0x223e9f78, 4),
  int(1, 2),
  attribute(0x00069007, Buffer.concat([int(1252, 4), int(0, 4)])),
  attribute(0x00069003, properties(named, variable(0x102, 0x1013, Buffer.from("<p>Gr\u00fc\u00dfe</p>", "latin1")))),
  attribute(0x00069002, Buffer.alloc(14)),
  attribute(0x00018010, Buffer.from("PLAN~1.PDF\0")),
  attribute(0x0006800f, Buffer.from("%PDF")),
  attribute(
    0x00069005,
    properties(variable(0x1f, 0x3707, Buffer.from("Pläne für März.pdf\0", "utf16le")), variable(0x1e, 0x370e, Buffer.from("application/pdf\0"))),
  ),
  attribute(0x00069002, Buffer.alloc(14)),
  attribute(0x00018010, Buffer.from("logo.png\0")),
  attribute(0x0006800f, Buffer.from([1, 2, 3])),
  attribute(0x00069005, properties(variable(0x1e, 0x3712, Buffer.from("logo@x\0")))),
]);
