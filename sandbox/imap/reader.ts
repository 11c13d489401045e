import type { Socket } from "node:net";

/** One command as it came: its lines joined, each `{n}` CRLF standing where a literal's bytes were taken out. */
export type RawCommand =
  | { readonly kind: "command"; readonly text: string; readonly literals: readonly Buffer[] }
  | { readonly kind: "refused"; readonly text: string; readonly reason: "line too long" | "literal too large" };

export interface Reader {
  /** The next command, or undefined once the client is gone. `literalBytesMax` bounds all its literals together. */
  command(literalBytesMax: number): Promise<RawCommand | undefined>;
  /** One bare line, as in IDLE or AUTHENTICATE. Undefined once the client is gone; a line that is too long comes back cut. */
  line(): Promise<string | undefined>;
}

/** RFC 7162 §4 asks for 8,192 bytes; clients that name hundreds of UIDs one by one need more. */
const lineBytesMax = 65_536;

/** Reads commands from a socket, one at a time and no further ahead than asked, so that a client that floods waits in its own TCP window. */
export function createReader(socket: Socket): Reader {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let buffered: Buffer = Buffer.alloc(0);

  async function fill(): Promise<boolean> {
    try {
      const next = await chunks.next();
      if (next.done) return false;
      buffered = buffered.length === 0 ? next.value : Buffer.concat([buffered, next.value]);
      return true;
    } catch {
      return false; // a reset connection is an ended one
    }
  }

  async function readLine(): Promise<{ text: string; isCut: boolean } | undefined> {
    let searched = 0;
    let cut: string | undefined;
    for (;;) {
      const end = buffered.indexOf(10, searched);
      if (end !== -1) {
        const text = buffered.toString("latin1", 0, end > 0 && buffered[end - 1] === 13 ? end - 1 : end);
        buffered = buffered.subarray(end + 1);
        return { text: cut ?? text, isCut: cut !== undefined || text.length > lineBytesMax };
      }
      if (buffered.length > lineBytesMax) {
        cut ??= buffered.toString("latin1", 0, 256);
        buffered = Buffer.alloc(0);
      }
      searched = buffered.length;
      if (!(await fill())) return undefined;
    }
  }

  /** Takes `size` bytes; with `keep` false they are dropped as they come. */
  async function readBytes(size: number, keep: boolean): Promise<Buffer | undefined> {
    const taken: Buffer[] = [];
    let missing = size;
    for (;;) {
      const piece = buffered.subarray(0, missing);
      buffered = buffered.subarray(piece.length);
      missing -= piece.length;
      if (keep && piece.length > 0) taken.push(piece);
      if (missing === 0) return Buffer.concat(taken);
      if (!(await fill())) return undefined;
    }
  }

  return {
    async line() {
      return (await readLine())?.text;
    },
    async command(literalBytesMax) {
      let text = "";
      let room = literalBytesMax;
      let refused: "line too long" | "literal too large" | undefined;
      const literals: Buffer[] = [];
      for (;;) {
        const line = await readLine();
        if (line === undefined) return undefined;
        if (line.isCut || text.length + line.text.length > lineBytesMax) return { kind: "refused", text: text + line.text, reason: "line too long" };
        text += line.text;
        const literal = /\{(\d{1,10})(\+?)\}$/.exec(line.text);
        if (literal === null) return refused === undefined ? { kind: "command", text, literals } : { kind: "refused", text, reason: refused };
        const size = Number(literal[1]);
        const isSynchronising = literal[2] === "";
        if (size > room) {
          refused = "literal too large";
          // The client of a synchronising literal waits for our leave and takes the NO instead; the other has sent it already (RFC 7888 §4).
          if (isSynchronising) return { kind: "refused", text, reason: refused };
        } else {
          room -= size;
        }
        if (isSynchronising && refused === undefined) socket.write("+ go ahead\r\n");
        const bytes = await readBytes(size, refused === undefined);
        if (bytes === undefined) return undefined;
        literals.push(bytes);
        text += "\r\n";
      }
    },
  };
}
