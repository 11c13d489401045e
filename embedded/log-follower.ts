import { closeSync, copyFileSync, existsSync, openSync, readSync, statSync, truncateSync } from "node:fs";

/** Beyond this a log becomes `.1`; what was `.1` is forgotten. */
const logBytesMax = 50_000_000;

/**
 * Shows the warnings and errors of a log file as it grows, one readable line each; the same words at most once in ten seconds. Following the
 * file rather than a pipe lets a part go on writing when whoever follows is gone.
 */
export function followLog(file: string, show: (line: string) => void): { lastWords(): string; stop(): void } {
  let offset = sizeOf(file);
  let rest = "";
  const shownAt = new Map<string, number>();
  const lastLines: string[] = [];

  const read = () => {
    const size = sizeOf(file);
    if (size < offset) offset = 0;
    const text = readFrom(file, offset, size);
    offset = size;
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.trim() === "") continue;
      lastLines.push(line);
      if (lastLines.length > 50) lastLines.shift();
      const warning = readableWarning(line);
      if (warning === undefined || performance.now() - (shownAt.get(warning) ?? -Infinity) < 10_000) continue;
      if (shownAt.size > 500) shownAt.clear();
      shownAt.set(warning, performance.now());
      show(warning);
    }
    if (size > logBytesMax) {
      // Writers append, so they go on at the new end of the emptied file.
      copyFileSync(file, `${file}.1`);
      truncateSync(file, 0);
      offset = 0;
    }
  };
  const timer = setInterval(read, 300);
  return {
    lastWords: () => {
      read();
      const plain = lastLines.filter((line) => !line.startsWith("{") && !/^\s+at |^Node\.js v|^\s*\^?\s*$/.test(line));
      const error = plain.findLast((line) => /error|fatal/i.test(line)) ?? plain.at(-1);
      return (error ?? readableWarning(lastLines.at(-1) ?? "") ?? "it said nothing").trim().slice(0, 300);
    },
    stop: () => {
      clearInterval(timer);
      read();
    },
  };
}

/** A line of structured log at level warn or above, in words. */
export function readableWarning(line: string): string | undefined {
  if (!line.startsWith("{")) return undefined;
  let entry: { level?: unknown; msg?: unknown; err?: { message?: unknown }; error?: unknown };
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined;
  }
  const isWarning =
    (typeof entry.level === "number" && entry.level >= 40) || (typeof entry.level === "string" && /^(warn|error|fatal)/i.test(entry.level));
  if (!isWarning) return undefined;
  const message = typeof entry.msg === "string" ? entry.msg : "";
  const cause = typeof entry.err?.message === "string" ? entry.err.message : typeof entry.error === "string" ? entry.error : "";
  const words = [message, message.includes(cause) ? "" : cause].filter((part) => part !== "").join(": ");
  return words === "" ? undefined : (words.split("\n")[0] as string).slice(0, 300);
}

function sizeOf(file: string): number {
  return existsSync(file) ? statSync(file).size : 0;
}

function readFrom(file: string, from: number, to: number): string {
  if (to <= from) return "";
  const descriptor = openSync(file, "r");
  try {
    const bytes = Buffer.alloc(to - from);
    return bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, from)).toString("utf8");
  } finally {
    closeSync(descriptor);
  }
}
