import { readdirSync, readFileSync } from "node:fs";

/** What processes cost, as Linux tells it in /proc (proc(5)). Other systems tell less, so benchmarks that need this run on Linux. */

/** Milliseconds that a process, those below it, and those that ended below it have computed; to a hundredth of a second. */
export function cpuMs(root: number): number {
  return cpuMsAmong(readProcesses(), root);
}

/** What a process has computed by itself: a benchmark that started everything it measures counts none of that as its own. */
export function ownCpuMs(pid: number): number {
  const fields = statOf(pid)?.slice(11, 13) ?? [];
  return fields.reduce((sum, field) => sum + Number(field), 0) * 10;
}

/** `cpuMs` of several, by name. */
export function cpuOf(pids: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  const processes = readProcesses();
  return Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuMsAmong(processes, pid)]));
}

/**
 * What the machine's cores, together, did for none of a benchmark's processes: nothing, nothing because a disk was slow, other work under `nice`, and
 * what the host gave to other machines.
 */
export function machineMs(): Readonly<Record<"nobody" | "disk" | "niced" | "stolen", number>> {
  const fields = readFileSync("/proc/stat", "utf8").split("\n", 1)[0]?.split(/\s+/).slice(1) ?? [];
  const [, nice = 0, , idle = 0, disk = 0, , , stolen = 0] = fields.map((ticks) => Number(ticks) * 10);
  return { nobody: idle, disk, niced: nice, stolen };
}

/** The most memory that a process has held so far, in MB. */
export function peakMb(pid: number): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Math.round(Number(kilobytes) / 1_024);
}

interface ProcessCost {
  readonly pid: number;
  readonly parent: number;
  /** utime, stime, cutime and cstime. */
  readonly ticks: number;
}

function readProcesses(): readonly ProcessCost[] {
  return readdirSync("/proc").flatMap((name) => {
    const fields = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    if (fields === undefined) return [];
    return [{ pid: Number(name), parent: Number(fields[1]), ticks: fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) }];
  });
}

function cpuMsAmong(processes: readonly ProcessCost[], root: number): number {
  const found = processes.filter(({ pid }) => pid === root);
  for (const { pid } of found) found.push(...processes.filter(({ parent }) => parent === pid));
  return found.reduce((sum, { ticks }) => sum + ticks, 0) * 10;
}

/** The fields from the third one on: what stands before it may hold spaces. Undefined for a process that ended meanwhile. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ");
  } catch {
    return undefined;
  }
}
