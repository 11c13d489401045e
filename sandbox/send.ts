import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createTransport } from "nodemailer";

const usage = `Sends a mail to the sandbox: npm run sandbox:send -- --subject "Hello"
  --subject  what it is about           --text  what it says
  --from     who it is from             --to    which of the sandbox's accounts it is for`;

/** Finds the sandbox by SANDBOX_SMTP_PORT, or by the file that a running one keeps in its data directory. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      subject: { type: "string", default: "Hello from the sandbox" },
      text: { type: "string", default: "This mail was sent with `npm run sandbox:send`." },
      from: { type: "string", default: "Nora Whitcombe <nora.whitcombe@riverside-school.example>" },
      to: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return void process.stdout.write(`${usage}\n`);
  const kept = readPorts(process.env.SANDBOX_DATA_DIR || join(".everpost", "sandbox"));
  const port = Number(process.env.SANDBOX_SMTP_PORT || kept?.smtpPort);
  if (!(port > 0)) throw new Error("no sandbox found; start one with `npm start`, or set SANDBOX_SMTP_PORT");
  const to = values.to ?? kept?.email ?? "alex@sandbox.everpost.test";
  const transport = createTransport({ host: "127.0.0.1", port, secure: false, ignoreTLS: true });
  const { messageId } = await transport.sendMail({ from: values.from, to, subject: values.subject, text: values.text });
  process.stdout.write(`Sent to ${to} as ${messageId}\n`);
}

function readPorts(dataDir: string): { readonly smtpPort: number; readonly email: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(dataDir, "ports.json"), "utf8"));
  } catch {
    return undefined;
  }
}

main().catch((error: NodeJS.ErrnoException) => {
  const reason = error.code === "ECONNECTION" || error.code === "ESOCKET" ? "the sandbox does not answer; start it with `npm start`" : error.message;
  process.stderr.write(`${reason}\n`);
  process.exitCode = 1;
});
