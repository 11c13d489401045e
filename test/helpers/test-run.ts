import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { commandLine, isAlive, signal } from "../../embedded/processes.ts";

/**
 * A directory for everything that one test process makes. Those of processes that were killed before they could tidy up are removed, and
 * servers that still run in them are ended.
 */
export function testDirectory(kind: string): string {
  const all = join(tmpdir(), `everpost-test-${userInfo().uid}`);
  // Servers that run as another user than root must be able to pass through.
  mkdirSync(all, { recursive: true, mode: 0o711 });
  for (const name of readdirSync(all)) {
    const owner = Number(name.split("-")[0]);
    if (!isAlive(owner)) sweep(join(all, name));
  }
  const dir = join(all, `${process.pid}-${kind}-${Math.random().toString(36).slice(2, 8)}`);
  mkdirSync(dir, { mode: 0o711 });
  return dir;
}

/** Notes a process that must not outlive the test process, however that ends. */
export function endWithTests(dir: string, pid: number, ask: NodeJS.Signals): void {
  writeFileSync(join(dir, `${pid}.${ask}.pid`), "");
}

/** Ends what still runs in a test directory; only processes whose command line names the directory are touched, since pids are reused. */
export function sweep(dir: string): void {
  let isQuiet = true;
  for (const name of listFiles(dir)) {
    const [, pid, ask] = /^(\d+)\.(SIG[A-Z]+)\.pid$/.exec(name) ?? [];
    if (pid === undefined || ask === undefined || commandLine(Number(pid))?.includes(dir) !== true) continue;
    isQuiet = false;
    signal(Number(pid), ask as NodeJS.Signals);
  }
  // Files of a server that is still ending go with the next sweep.
  if (!isQuiet) return;
  for (const disk of mountsWithin(dir)) unmount(disk);
  rmSync(dir, { recursive: true, force: true });
}

/** Small disks of a process that was killed before it could give them back: nothing that is mounted can be removed. */
function mountsWithin(dir: string): readonly string[] {
  return tail("/proc/self/mounts", Number.POSITIVE_INFINITY)
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "")
    .filter((path) => path.startsWith(`${dir}/`));
}

function unmount(path: string): void {
  try {
    execFileSync("umount", ["--lazy", path], { stdio: "ignore" });
  } catch {
    // Another test process swept it a moment ago.
  }
}

export function tail(file: string, lines = 30): string {
  try {
    return readFileSync(file, "utf8").trim().split("\n").slice(-lines).join("\n");
  } catch {
    return "";
  }
}

function listFiles(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
