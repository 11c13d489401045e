import { crc32, deflateSync } from "node:zlib";

export interface Attachment {
  readonly filename: string;
  readonly contentType: string;
  readonly content: Buffer;
  /** Set for a picture that the HTML shows. */
  readonly cid?: string;
}

/** A one-page PDF that opens: its lines in Helvetica. */
export function pdf(filename: string, lines: readonly string[]): Attachment {
  const text = lines.map((line, index) => `${index === 0 ? "" : "0 -18 Td "}(${line.replace(/[()\\]/g, "\\$&")}) Tj`).join(" ");
  const stream = `BT /F1 12 Tf 60 780 Td ${text} ET`;
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
    `<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
  ];
  let body = "%PDF-1.4\n";
  const offsets = objects.map((object, index) => {
    const offset = body.length;
    body += `${index + 1} 0 obj\n${object}\nendobj\n`;
    return offset;
  });
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  const trailer = `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${body.length}\n%%EOF\n`;
  return { filename, contentType: "application/pdf", content: Buffer.from(body + trailer, "latin1") };
}

/** A small picture: a soft gradient towards a colour. */
export function png(filename: string, [red, green, blue]: readonly [number, number, number], cid?: string): Attachment {
  const [width, height] = [96, 64];
  const rows = Array.from({ length: height }, (_, y) => {
    const row = Buffer.alloc(1 + width * 3);
    for (let x = 0; x < width; x++) {
      const shade = (x / width + y / height) / 2;
      row.set(
        [red, green, blue].map((value) => Math.round(255 - (255 - value) * shade)),
        1 + x * 3,
      );
    }
    return row;
  });
  const header = Buffer.from([0, 0, 0, width, 0, 0, 0, height, 8, 2, 0, 0, 0]);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const content = Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(Buffer.concat(rows))), chunk("IEND", Buffer.alloc(0))]);
  return { filename, contentType: "image/png", content, ...(cid === undefined ? {} : { cid }) };
}

export function csv(filename: string, rows: readonly (readonly (string | number)[])[]): Attachment {
  return { filename, contentType: "text/csv", content: Buffer.from(rows.map((row) => `${row.join(",")}\r\n`).join(""), "utf8") };
}

function chunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, check]);
}
