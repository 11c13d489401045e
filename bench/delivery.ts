import { once } from "node:events";
import { connect } from "node:net";

/** One LMTP connection (RFC 2033) that is kept: a message is delivered once its 250 is read. */
export interface MailDelivery {
  deliver(email: string, number: number): Promise<{ readonly acceptedAt: number }>;
  close(): void;
}

export async function openDelivery(port: number): Promise<MailDelivery> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true }).setEncoding("latin1");
  const lines: string[] = [];
  let failure: Error | undefined;
  let onLine = () => {};
  let rest = "";
  socket.on("data", (text: string) => {
    const parts = (rest + text).split("\r\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
    onLine();
  });
  socket.on("error", (error) => {
    failure = error;
    onLine();
  });
  socket.on("close", () => {
    failure ??= new Error("the mail server hung up");
    onLine();
  });
  async function expect(code: string): Promise<void> {
    for (;;) {
      const line = lines.shift();
      if (line?.startsWith(`${code} `)) return;
      if (line !== undefined && !line.startsWith(`${code}-`)) throw new Error(`the mail server said: ${line}`);
      if (line !== undefined) continue;
      if (failure !== undefined) throw failure;
      await new Promise<void>((resolve) => {
        onLine = resolve;
      });
    }
  }
  await once(socket, "connect");
  await expect("220");
  socket.write("LHLO bench\r\n");
  await expect("250");
  return {
    async deliver(email, number) {
      socket.write(`MAIL FROM:<ann@sender.example>\r\nRCPT TO:<${email}>\r\nDATA\r\n`);
      await expect("250");
      await expect("250");
      await expect("354");
      socket.write(`${message(email, number)}\r\n.\r\n`);
      await expect("250");
      return { acceptedAt: performance.now() };
    },
    close: () => socket.destroy(),
  };
}

/** The subject that a message is known by wherever it is heard of. */
export function subjectOf(number: number): string {
  return `Bench ${number}`;
}

export function numberOf(subject: string): number {
  return Number(subject.slice("Bench ".length));
}

function message(to: string, number: number): string {
  return [
    "From: Ann Example <ann@sender.example>",
    `To: <${to}>`,
    `Subject: ${subjectOf(number)}`,
    `Message-ID: <bench.${number}.${to}>`,
    `Date: ${new Date().toUTCString()}`,
    "MIME-Version: 1.0",
    "Content-Type: text/plain; charset=utf-8",
    "",
    "Good morning,",
    "",
    ...Array.from({ length: 20 }, (_, line) => `this is line ${line} of a message that is as long as most people write them.`),
    "",
    "Ann",
  ].join("\r\n");
}
