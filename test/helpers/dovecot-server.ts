import { spawn, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort, isPortFree } from "../../embedded/ports.ts";
import { type RunningPart, runningPart, StartError } from "../../embedded/processes.ts";
import { tail } from "./test-run.ts";

export interface DovecotPorts {
  readonly imap: number;
  readonly imaps: number;
  readonly lmtp: number;
}

export interface RunningDovecot extends RunningPart {
  readonly dir: string;
  readonly ports: DovecotPorts;
  /** The self-signed certificate of `localhost` and 127.0.0.1. */
  readonly caFile: string;
}

export interface DovecotOptions {
  /** Sessions that idle longer than this are put to sleep, as large installations have it; never, where it is 0. */
  readonly hibernateSeconds?: number;
}

/**
 * Starts a Dovecot of its own in a directory, as root or as a plain user. Mail and users stay in the directory: start again with the same
 * one and the same ports after a kill, and clients find their mailboxes.
 */
export async function startDovecot(dir: string, wanted?: DovecotPorts, { hibernateSeconds = 0 }: DovecotOptions = {}): Promise<RunningDovecot> {
  const binary = findDovecot();
  const ports = wanted ?? { imap: await freePort(), imaps: await freePort(), lmtp: await freePort() };
  const who = owners();
  mkdirSync(join(dir, "home"), { recursive: true });
  chmodSync(dir, 0o711);
  if (who.mailIds !== undefined) chownSync(join(dir, "home"), ...who.mailIds);
  makeCertificate(dir);
  makeUsers(dir);
  // Sockets that a killed server left behind make the first login of the next one take seconds.
  rmSync(join(dir, "run"), { recursive: true, force: true });
  writeFileSync(join(dir, "dovecot.conf"), configuration(dir, ports, who, hibernateSeconds));
  raiseInotifyLimit();
  await untilFree(Object.values(ports));

  const log = openSync(join(dir, "dovecot.log"), "a");
  const child = spawn(binary, ["-F", "-c", join(dir, "dovecot.conf")], { stdio: ["ignore", log, log] });
  closeSync(log);
  const part = runningPart(child, "SIGTERM", 10_000);
  let ended = false;
  void part.exited.then(() => {
    ended = true;
  });
  const deadline = performance.now() + 90_000;
  while (!(await greets(ports.imap))) {
    if (ended || performance.now() > deadline) {
      await part.stop();
      throw new StartError(`Dovecot did not start:\n${tail(join(dir, "dovecot.log"))}`);
    }
    await delay(20);
  }
  return { ...part, dir, ports, caFile: join(dir, "tls.crt") };
}

/**
 * Users are made before the server starts: it looks at a changed users file once a second only, and a user that is not known yet is refused. More than
 * any run needs.
 */
const usersMax = 3_000;

function makeUsers(dir: string): void {
  if (existsSync(join(dir, "users"))) return;
  const lines = Array.from({ length: usersMax }, (_, number) => `${userEmail(number)}:{PLAIN}${randomBytes(9).toString("hex")}::::::\n`);
  writeFileSync(join(dir, "users"), lines.join(""));
  mkdirSync(join(dir, "claimed"), { recursive: true });
}

/** A user that nobody else got: making a folder is atomic, so test processes can do it side by side. */
export function claimUser(dir: string): { readonly email: string; readonly password: string } {
  for (;;) {
    const number = randomInt(usersMax);
    try {
      mkdirSync(join(dir, "claimed", String(number)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") continue;
      throw error;
    }
    const line = readFileSync(join(dir, "users"), "utf8").split("\n")[number] ?? "";
    return { email: userEmail(number), password: line.split(":")[1]?.replace("{PLAIN}", "") ?? "" };
  }
}

function userEmail(number: number): string {
  return `u${number}@example.test`;
}

interface Owners {
  readonly mail: string;
  readonly mailGroup: string;
  readonly internal: string;
  readonly internalGroup: string;
  readonly login: string;
  readonly lmtp: string;
  readonly mailIds: [number, number] | undefined;
}

function owners(): Owners {
  if (process.getuid?.() === 0) {
    const mailIds: [number, number] = [idOf("-u", "nobody"), idOf("-g", "nobody")];
    return { mail: "nobody", mailGroup: "nogroup", internal: "dovecot", internalGroup: "dovecot", login: "dovenull", lmtp: "root", mailIds };
  }
  const user = userInfo().username;
  const group = spawnSync("id", ["-gn"], { encoding: "utf8" }).stdout.trim();
  return { mail: user, mailGroup: group, internal: user, internalGroup: group, login: user, lmtp: user, mailIds: undefined };
}

function idOf(flag: "-u" | "-g", user: string): number {
  return Number(spawnSync("id", [flag, user], { encoding: "utf8" }).stdout.trim());
}

function findDovecot(): string {
  const find = () => {
    const path = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"]
      .filter((dir) => dir !== "")
      .map((dir) => join(dir, "dovecot"))
      .find((file) => existsSync(file));
    return path === undefined || !hasLmtp() ? undefined : path;
  };
  const found = find();
  if (found !== undefined) return found;
  const install = `apt-get install -y --no-install-recommends ${packages.join(" ")}`;
  if (process.getuid?.() === 0 && existsSync("/usr/bin/apt-get")) {
    console.log(`Dovecot is not installed; running: ${install}`);
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    for (const args of [["update", "-q"], install.split(" ").slice(1)])
      spawnSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"], timeout: 300_000 });
    const installed = find();
    if (installed !== undefined) return installed;
  }
  throw new StartError(`The tests need Dovecot 2.3, a real IMAP server (IMAP and LMTP). Install it with: sudo ${install}`);
}

const packages = ["dovecot-core", "dovecot-imapd", "dovecot-lmtpd"];

/** Debian ships LMTP and IMAP apart from the core. */
function hasLmtp(): boolean {
  return ["/usr/lib/dovecot", "/usr/libexec/dovecot", "/usr/local/libexec/dovecot", "/opt/homebrew/libexec/dovecot"].some(
    (dir) => existsSync(join(dir, "lmtp")) && existsSync(join(dir, "imap")),
  );
}

function makeCertificate(dir: string): void {
  if (existsSync(join(dir, "tls.crt"))) return;
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const files = ["-keyout", join(dir, "tls.key"), "-out", join(dir, "tls.crt")];
  const { status, stderr } = spawnSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", ...files, ...names], {
    encoding: "utf8",
  });
  if (status !== 0)
    throw new StartError(`openssl could not make a certificate for Dovecot: ${stderr?.trim().split("\n").at(-1) ?? "is it installed?"}`);
}

/** Beyond this limit Dovecot polls silently instead of telling IDLE clients at once. Where it may not be raised, the polls are 2 s apart. */
function raiseInotifyLimit(): void {
  const file = "/proc/sys/fs/inotify/max_user_instances";
  try {
    if (Number(readFileSync(file, "utf8")) < 4_096) writeFileSync(file, "4096");
  } catch {
    return;
  }
}

/** A server that was killed holds its ports until its children have noticed. */
async function untilFree(ports: readonly number[]): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (const port of ports) {
    while (!(await isPortFree(port))) {
      if (performance.now() > deadline) throw new StartError(`port ${port}, which Dovecot is to use, stays busy`);
      await delay(50);
    }
  }
}

function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    const finish = (isUp: boolean) => {
      socket.destroy();
      resolve(isUp);
    };
    socket.once("data", (data) => finish(data.toString().startsWith("* OK")));
    socket.once("error", () => finish(false));
    socket.setTimeout(2_000, () => finish(false));
  });
}

function configuration(dir: string, ports: DovecotPorts, who: Owners, hibernateSeconds: number): string {
  const roles = ["Drafts", "Sent", "Trash", "Junk", "Archive"];
  return `base_dir = ${dir}/run
state_dir = ${dir}/state
log_path = ${dir}/dovecot.log
instance_name = t${ports.imap}
protocols = imap lmtp
listen = 127.0.0.1
default_internal_user = ${who.internal}
default_internal_group = ${who.internalGroup}
default_login_user = ${who.login}
ssl = yes
ssl_cert = <${dir}/tls.crt
ssl_key = <${dir}/tls.key
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 1
mail_location = sdbox:~/mail
mail_max_userip_connections = 5000
mailbox_idle_check_interval = 2 s
recipient_delimiter = +
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u ${dir}/users
}
userdb {
  driver = passwd-file
  args = username_format=%u ${dir}/users
  default_fields = uid=${who.mail} gid=${who.mailGroup} home=${dir}/home/%u
}
namespace inbox {
  inbox = yes
  separator = /
${roles.map((role) => `  mailbox ${role} {\n    special_use = \\${role}\n    auto = subscribe\n  }`).join("\n")}
}
protocol imap {
  # Off for tests: hibernated sessions are told sooner, but Dovecot 2.3 now and then forgets to tell one at all (47 of 320 arrivals with a timeout of 1 s).
  imap_hibernate_timeout = ${hibernateSeconds} s
}
service imap-login {
  chroot =
  client_limit = 4000
  service_count = 0
  inet_listener imap {
    port = ${ports.imap}
  }
  inet_listener imaps {
    port = ${ports.imaps}
    ssl = yes
  }
}
service imap {
  process_limit = 4000
  unix_listener imap-master {
    user = ${who.internal}
    mode = 0660
  }
}
service imap-hibernate {
  client_limit = 5000
  unix_listener imap-hibernate {
    mode = 0666
  }
}
service lmtp {
  user = ${who.lmtp}
  inet_listener lmtp {
    port = ${ports.lmtp}
  }
}
service auth {
  client_limit = 9000
  user = ${who.internal}
  extra_groups =
}
service anvil {
  chroot =
  client_limit = 9000
  # With the penalty on, one refused login delays the next good one by seconds.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
  client_limit = 9000
}
`;
}
