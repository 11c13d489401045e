import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { commandLine, endProcess, isAlive, type RunningPart } from "./processes.ts";

/** Ends the process that a killed parent left behind, if the file names one and its command line still shows `mark`. */
export async function endLeftover(file: string, mark: string, ask: NodeJS.Signals, patienceMs: number): Promise<void> {
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, "utf8"));
  if (Number.isInteger(pid) && pid > 1 && isAlive(pid) && commandLine(pid)?.includes(mark) === true) await endProcess(pid, ask, patienceMs);
  rmSync(file, { force: true });
}

/** Keeps the pid of a running part in a file until the part has ended. */
export function keepPid(file: string, part: RunningPart): void {
  writeFileSync(file, String(part.pid));
  void part.exited.then(() => {
    if (existsSync(file) && readFileSync(file, "utf8") === String(part.pid)) rmSync(file, { force: true });
  });
}
