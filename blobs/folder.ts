import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { Tinypool } from "tinypool";
import type { BlobKey } from "../domain/ids.ts";
import { BlobMissing, type BlobStore } from "./store.ts";
import type { WriteTask } from "./write-files-worker.ts";

/**
 * Small blobs are written many at a time on threads of their own, which may wait for a disk: asking for each step of each file from the thread that does
 * everything else cost more than the steps. Threads start with the first blobs and end when none came for a minute.
 */
const writers = new Tinypool({
  filename: new URL("./write-files-worker.ts", import.meta.url).href,
  runtime: "worker_threads",
  minThreads: 0,
  maxThreads: 2,
  idleTimeout: 60_000,
});

/**
 * Blobs as files below a directory, which may be a network file system that all processes share. A file is written under another name, synced and
 * renamed: whoever finds a name finds all of its bytes.
 */
export function folderBlobStore(dir: string): BlobStore {
  const fileOf = (key: BlobKey) => {
    const shard = createHash("sha256").update(key).digest("hex");
    // 256 directories: with ten million blobs some 40,000 files in each, and few enough that a first sync soon has made them all.
    return join(dir, shard.slice(0, 2), key);
  };
  const made = new Set<string>();
  const makeDirectory = async (folder: string) => {
    if (made.has(folder)) return;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await syncDirectory(dir);
    made.add(folder);
  };
  return {
    async put(key, bytes, { signal } = {}) {
      const file = fileOf(key);
      const folder = dirname(file);
      await makeDirectory(folder);
      const unfinished = `${file}.${unfinishedSuffix()}.tmp`;
      const handle = await open(unfinished, "wx", 0o600).catch((error: unknown) => {
        // Somebody cleaned up behind us: the next attempt makes it anew.
        if (isAbsent(error)) made.delete(folder);
        throw error;
      });
      try {
        for await (const piece of bytes) {
          signal?.throwIfAborted();
          await handle.writeFile(piece);
        }
        await handle.sync();
        await handle.close();
        await rename(unfinished, file);
      } catch (error) {
        await handle.close().catch(() => {});
        await unlink(unfinished).catch(() => {});
        throw error;
      }
      await syncDirectory(folder);
    },
    async putAll(blobs, { signal } = {}) {
      if (blobs.length === 0) return;
      // Begun, it is not broken off: a thread that is stopped would leave unfinished files.
      signal?.throwIfAborted();
      const task: WriteTask = { files: blobs.map(({ key, bytes }) => ({ path: fileOf(key), bytes })), suffix: unfinishedSuffix() };
      await writers.run(task);
    },
    async open(key, range) {
      const stream = createReadStream(fileOf(key), range === undefined ? {} : { start: range.first, end: range.last });
      return opened(stream, key);
    },
    async head(key) {
      const found = await stat(fileOf(key)).catch(undefinedIfAbsent);
      return found === undefined ? undefined : { sizeBytes: found.size };
    },
    async remove(key) {
      await unlink(fileOf(key)).catch(undefinedIfAbsent);
    },
  };
}

function unfinishedSuffix(): string {
  return randomBytes(6).toString("hex");
}

/** A rename lives in its directory (POSIX leaves it to the caller to sync that one too). File systems that cannot do so are no worse than before. */
async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r").catch(() => undefined);
  try {
    await handle?.sync().catch(() => {});
  } finally {
    await handle?.close();
  }
}

function opened(stream: Readable, key: BlobKey): Promise<Readable> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(isAbsent(error) ? new BlobMissing(key) : error);
    stream.once("error", onError);
    stream.once("open", () => {
      stream.off("error", onError);
      resolve(stream);
    });
  });
}

function undefinedIfAbsent(error: unknown): undefined {
  if (isAbsent(error)) return undefined;
  throw error;
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
