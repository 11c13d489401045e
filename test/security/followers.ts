import { connect, type Socket } from "node:net";

/** A client of the event stream on a bare socket: cheap enough to have ten thousand of. */
export interface Follower {
  readonly socket: Socket;
  /** The `sequence` of each event that came, in the order of coming. */
  readonly sequences: number[];
  /** The status line's number; undefined until it is there. */
  status(): number | undefined;
  isOpen(): boolean;
}

export function follow(url: string, key: string, lastEventId?: string): Follower {
  const socket = connect(Number(new URL(url).port), "127.0.0.1").setEncoding("utf8");
  const sequences: number[] = [];
  let status: number | undefined;
  let rest = "";
  socket.on("error", () => {});
  socket.on("data", (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (status === undefined) status = Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1]);
      const sequence = line.startsWith("data: ") ? /"sequence":(\d+)/.exec(line)?.[1] : undefined;
      if (sequence !== undefined) sequences.push(Number(sequence));
    }
  });
  const more = lastEventId === undefined ? "" : `Last-Event-ID: ${lastEventId}\r\n`;
  socket.write(`GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${key}\r\n${more}\r\n`);
  return { socket, sequences, status: () => status, isOpen: () => status === 200 && !socket.destroyed && !socket.readableEnded };
}

/** Opens the followers in groups of `atOnce`; resolves when each of them was answered. */
export async function followAll(
  makers: readonly (() => Follower)[],
  { atOnce, answered }: { readonly atOnce: number; answered(condition: () => boolean): Promise<unknown> },
): Promise<readonly Follower[]> {
  const followers: Follower[] = [];
  for (let from = 0; from < makers.length; from += atOnce) {
    const group = makers.slice(from, from + atOnce).map((make) => make());
    followers.push(...group);
    await answered(() => group.every((follower) => follower.status() !== undefined));
  }
  return followers;
}
