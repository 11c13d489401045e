import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";

export interface EntryPointOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A file descriptor that takes stdout and stderr, or "pipe" to read them from the child. */
  readonly output: number | "pipe";
}

/**
 * What can only be set from outside; the Dockerfile does the same. Names are looked up in Node's pool of four threads, where four names of a customer's whose
 * servers are silent would hold up all others. glibc gives threads that allocate at once up to eight arenas a core, and little comes back of what each of
 * them once held ([0044](../docs/adr/0044-a-worker-at-rest.md)).
 */
export const surroundings = { UV_THREADPOOL_SIZE: "64", MALLOC_ARENA_MAX: "2" } as const;

/**
 * What V8 may leave lying about. Left alone it lets a first sync's garbage pile up to 130 MB of young objects and several times the live heap of old ones,
 * because the machine has memory to spare: the heap follows what lives, and costs a few percent more collecting. Young objects are collected by one thread:
 * helpers would wait for each other, and for cores at which PostgreSQL is at work. The Dockerfile's commands have the same.
 */
export const heapFlags = ["--max-semi-space-size=16", "--heap-growing-percent=35", "--no-parallel-scavenge"] as const;

/** Where Node keeps what it made of our sources, for the next start: a process that finds it never loads what strips types. */
const compileCache = "build/compile-cache";

/** Starts one of our programs (`workers/worker.ts`, `api/server.ts`, ...) as a child that says when it is ready and ends when its parent does. */
export function spawnEntryPoint(file: string, options: EntryPointOptions): ChildProcess {
  const root = resolve(import.meta.dirname, "..");
  return spawn(process.execPath, [...heapFlags, "--import", resolve(import.meta.dirname, "follow-parent.ts"), resolve(root, file)], {
    cwd: root,
    env: { ...surroundings, NODE_COMPILE_CACHE: resolve(root, compileCache), ...options.env },
    stdio: ["ignore", options.output, options.output, "ipc"],
    detached: true,
  });
}

/** What an entry point sends once it is up, with what others must know of it, such as its port. */
export function readyMessage(message: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof message !== "object" || message === null || !("type" in message) || message.type !== "ready") return undefined;
  return message as Readonly<Record<string, unknown>>;
}
