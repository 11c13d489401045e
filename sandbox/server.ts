import { randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import { startImapServer } from "./imap/server.ts";
import { type Account, closeAccount, createFolder, openAccount } from "./imap/store.ts";
import { makeSamples } from "./samples.ts";
import { startSmtpServer } from "./smtp.ts";

export interface SandboxAccount {
  readonly email: string;
  readonly password: string;
}

export interface SandboxOptions {
  /** Keeps the mail, the passwords and the ports; made if it is not there. */
  readonly dataDir: string;
  /** 0, as it is without one, takes a free port. */
  readonly imapPort?: number;
  readonly smtpPort?: number;
  /** Instead of alex@sandbox.everpost.test with a password of its own making. */
  readonly accounts?: readonly SandboxAccount[];
  /** Whether a new account begins with sample mail; without it, with empty folders. */
  readonly withSamples?: boolean;
}

export interface Sandbox {
  readonly imapPort: number;
  readonly smtpPort: number;
  readonly accounts: readonly SandboxAccount[];
  /** How many recipients elsewhere were written to through the sandbox; none of them got anything. */
  relayed(): number;
  stop(): Promise<void>;
}

export const defaultEmail = "alex@sandbox.everpost.test";

/** Starts the stand-in mail server: IMAP and SMTP on the loopback address, with its mail on disk. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  await refuseWhileAnotherRuns(options.dataDir);
  const accounts = options.accounts ?? [{ email: defaultEmail, password: keptPassword(options.dataDir) }];
  const opened = new Map(accounts.map(({ email, password }) => [email.toLowerCase(), { password, account: openMailbox(options, email) }]));

  const login = (user: string, password: string) => {
    const found = opened.get(user.toLowerCase());
    return found !== undefined && isSame(found.password, password) ? found.account : undefined;
  };
  const accountOf = (address: string) => opened.get(address.toLowerCase().replace(/\+[^@]*@/, "@"))?.account;
  const domains = new Set([...opened.keys()].map((email) => email.slice(email.lastIndexOf("@") + 1)));

  const instance = randomUUID();
  const imap = await startImapServer({ port: options.imapPort ?? 0, login, greeting: `Everpost sandbox ${instance}` });
  const smtp = await startSmtpServer({ port: options.smtpPort ?? 0, login, accountOf, isLocalDomain: (domain) => domains.has(domain) }).catch(
    async (error) => {
      await imap.stop();
      throw error;
    },
  );
  const ports: Ports = { instance, imapPort: imap.port, smtpPort: smtp.port, email: accounts[0]?.email };
  writeAtomically(join(options.dataDir, "ports.json"), JSON.stringify(ports));
  return {
    imapPort: imap.port,
    smtpPort: smtp.port,
    accounts,
    relayed: smtp.relayed,
    async stop() {
      await Promise.all([imap.stop(), smtp.stop()]);
      for (const { account } of opened.values()) closeAccount(account);
      rmSync(join(options.dataDir, "ports.json"), { force: true });
    },
  };
}

/** What a running sandbox leaves in its data directory, for `sandbox:send` and for a second copy of itself. */
interface Ports {
  readonly instance: string;
  readonly imapPort: number;
  readonly smtpPort: number;
  readonly email: string | undefined;
}

/** Two writers would ruin the journal. The one that runs proves it by its greeting, so a file left by a killed one locks nobody out. */
async function refuseWhileAnotherRuns(dataDir: string): Promise<void> {
  const path = join(dataDir, "ports.json");
  if (!existsSync(path)) return;
  const { instance, imapPort } = JSON.parse(readFileSync(path, "utf8")) as Ports;
  const socket = connect({ host: "127.0.0.1", port: imapPort, timeout: 1_000 });
  const greeting = await new Promise<string>((resolve) => {
    socket.on("data", (bytes) => resolve(bytes.toString("latin1")));
    socket.on("error", () => resolve(""));
    socket.on("timeout", () => resolve(""));
    socket.on("close", () => resolve(""));
  });
  socket.destroy();
  if (greeting.includes(instance)) throw new Error(`another sandbox serves ${dataDir} already, on port ${imapPort}; stop it or set SANDBOX_DATA_DIR`);
}

function openMailbox({ dataDir, withSamples = true }: SandboxOptions, email: string): Account {
  const account = openAccount(join(dataDir, "accounts", email.toLowerCase().replace(/[^a-z0-9@.+_-]/g, "_")), email);
  // INBOX comes last, so that a first start that was cut short is finished by the next.
  if (account.folders.has("INBOX")) return account;
  const samples = withSamples ? makeSamples({ now: new Date(), email }) : [];
  for (const [path, specialUse] of folders) {
    if (account.folders.has(path)) continue;
    createFolder(
      account,
      path,
      specialUse,
      samples.filter((sample) => sample.folder === path),
    );
  }
  return account;
}

const folders: readonly (readonly [path: string, specialUse?: string])[] = [
  ["Sent", "\\Sent"],
  ["Drafts", "\\Drafts"],
  ["Archive", "\\Archive"],
  ["Junk", "\\Junk"],
  ["Trash", "\\Trash"],
  ["Projects/Apollo"],
  ["Rechnungen & Büro"],
  ["INBOX"],
];

/** The default account's password: SANDBOX_PASSWORD, or one that is made once. */
function keptPassword(dataDir: string): string {
  if (process.env.SANDBOX_PASSWORD) return process.env.SANDBOX_PASSWORD;
  const path = join(dataDir, "password");
  if (!existsSync(path)) writeAtomically(path, `${randomBytes(12).toString("base64url")}\n`);
  return readFileSync(path, "utf8").trim();
}

function writeAtomically(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

async function main(): Promise<void> {
  const sandbox = await startSandbox({
    dataDir: resolve(process.env.SANDBOX_DATA_DIR || join(".everpost", "sandbox")),
    imapPort: portOf("SANDBOX_IMAP_PORT"),
    smtpPort: portOf("SANDBOX_SMTP_PORT"),
  });
  const { imapPort, smtpPort, accounts } = sandbox;
  if (process.send !== undefined) process.send({ type: "ready", imapPort, smtpPort, accounts });
  else
    process.stdout.write(
      `sandbox: IMAP on 127.0.0.1:${imapPort}, SMTP on 127.0.0.1:${smtpPort}, for ${accounts.map(({ email }) => email).join(", ")}\n`,
    );
  const stop = () => void sandbox.stop().then(() => process.exit(0));
  process.once("disconnect", stop);
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

function portOf(name: string): number {
  const port = Number(process.env[name] || 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`${name} is a port, or 0 for a free one; it is ${process.env[name]}`);
  return port;
}

if (import.meta.main) {
  main().catch((error: NodeJS.ErrnoException) => {
    const reason = error.code === "EADDRINUSE" ? "a port is taken: set SANDBOX_IMAP_PORT and SANDBOX_SMTP_PORT to others, or to 0" : error.message;
    process.stderr.write(`sandbox: ${reason}\n`);
    process.exit(1);
  });
}
