import { readdirSync, readFileSync } from "node:fs";

/** What processes cost, as Linux tells it in /proc (proc(5)). Other systems tell less, so benchmarks that need this run on Linux. */

/** Milliseconds that a process, those below it, and those that ended below it have computed; to a hundredth of a second. */
export function cpuMs(root: number): number {
  return [root, ...descendants(root)].reduce((sum, pid) => sum + ticksOf(pid), 0) * 10;
}

/** What a process has computed by itself: a benchmark that started everything it measures counts none of that as its own. */
export function ownCpuMs(pid: number): number {
  return ticksOf(pid, 2) * 10;
}

/** `cpuMs` of several, by name. */
export function cpuOf(pids: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuMs(pid)]));
}

/** The most memory that a process has held so far, in MB. */
export function peakMb(pid: number): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Math.round(Number(kilobytes) / 1_024);
}

/** utime and stime; then cutime and cstime, of children that ended. */
function ticksOf(pid: number, count = 4): number {
  const fields = statOf(pid)?.slice(11, 11 + count) ?? [];
  return fields.reduce((sum, field) => sum + Number(field), 0);
}

function descendants(root: number): readonly number[] {
  const parents = readdirSync("/proc").flatMap((name) =>
    /^\d+$/.test(name) ? [{ pid: Number(name), parent: Number(statOf(Number(name))?.[1]) }] : [],
  );
  const found = [root];
  for (const pid of found) found.push(...parents.filter(({ parent }) => parent === pid).map((child) => child.pid));
  return found.slice(1);
}

/** The fields from the third one on: what stands before it may hold spaces. Undefined for a process that ended meanwhile. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ");
  } catch {
    return undefined;
  }
}
