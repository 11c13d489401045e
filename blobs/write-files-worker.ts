import { closeSync, fsync, mkdirSync, openSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface FileToWrite {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface WriteTask {
  readonly files: readonly FileToWrite[];
  /** Tells these files' unfinished names from everybody else's. */
  readonly suffix: string;
}

/**
 * Runs on a thread of blobs/folder.ts, and may wait for the disk: files that are there whole or not at all, and would survive a power cut when this resolves. Bytes
 * are synced before the names are given, names before this resolves; a directory that gets several names is synced once.
 */
export default async function writeFiles({ files, suffix }: WriteTask): Promise<void> {
  const unfinished: { readonly path: string; readonly name: string }[] = [];
  const open = new Set<number>();
  try {
    for (const { path, bytes } of files) {
      const name = `${path}.${suffix}.tmp`;
      const file = openNew(name);
      open.add(file);
      unfinished.push({ path, name });
      for (let at = 0; at < bytes.length; at += writeSync(file, bytes, at));
    }
    await all([...open].map(sync));
    while (unfinished.length > 0) {
      const { path, name } = unfinished.at(-1) as (typeof unfinished)[number];
      renameSync(name, path);
      unfinished.pop();
    }
  } finally {
    for (const file of open) closeSync(file);
    for (const { name } of unfinished) unlinkSync(name);
  }
  await all([...new Set(files.map(({ path }) => dirname(path)))].map(syncDirectory));
}

function openNew(name: string): number {
  try {
    return openSync(name, "wx", 0o600);
  } catch (error) {
    if (!isAbsent(error)) throw error;
    const folder = dirname(name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const parent = openSync(dirname(folder), "r");
    fsync(parent, () => closeSync(parent));
    return openSync(name, "wx", 0o600);
  }
}

/** A rename lives in its directory (POSIX leaves it to the caller to sync that one too). File systems that cannot do so are no worse than before. */
async function syncDirectory(path: string): Promise<void> {
  const directory = openSync(path, "r");
  await sync(directory).catch(() => {});
  closeSync(directory);
}

/** Side by side, for that is what a slow disk is good at. */
function sync(file: number): Promise<void> {
  return new Promise((resolve, reject) => fsync(file, (error) => (error === null ? resolve() : reject(error))));
}

/** Rejects when none is under way any more. */
async function all(syncs: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(syncs)).find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
