import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A directory on a disk of its own that can be filled: a file system in memory, which only root may mount. Gone when the test is over. */
export function smallDisk(path: string, size: string): string {
  if (userInfo().uid !== 0) throw new Error("filling a disk needs root, because a small file system is mounted for it");
  mkdirSync(path, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=0777`, "tmpfs", path]);
  onTestFinished(() => void execFileSync("umount", ["--lazy", path]));
  return path;
}

/** Leaves no byte free in a directory's file system; returns what gives them back. */
export function fillDisk(path: string): () => void {
  const filler = join(path, "filler");
  const file = openSync(filler, "w");
  try {
    for (let size = 4 * 1024 * 1024; size >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(file);
  }
  return () => rmSync(filler);
}
