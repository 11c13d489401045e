import { appendFileSync, existsSync, readFileSync } from "node:fs";
import fs from "node:fs/promises";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";
import { ImapFlow } from "imapflow";
import pg from "pg";
import { Tinypool } from "tinypool";
import { Agent } from "undici";
import { placeAt } from "./effects.ts";
import { chanceFor } from "./random.ts";

/*
 * Loaded before a process's own code (`node --import`). The process dies by SIGKILL the moment an effect of its is done and it is about to learn so: a
 * commit, a lone write, a command at the mail server, a POST, a blob, a call to Temporal. Each place in the code from which one comes is a crash point
 * and dies once; what died so far stands in the log that all processes share. Nothing dies while the file CRASH_ARMED is not there. Of the points that
 * every mailbox comes by again and again, the seed has half die the second time only: another order, and other states.
 */
const log = process.env.CRASH_LOG;
const armed = process.env.CRASH_ARMED;
const seed = Number(process.env.CRASH_SEED ?? 0);
if (log !== undefined && armed !== undefined && isMainThread) watchEffects(log, armed);

function watchEffects(logFile: string, armedFile: string): void {
  let dead = diedAt(logFile);
  const reached = new Set<string>();
  const sparedFile = `${logFile}.spared`;
  Error.stackTraceLimit = 100;

  /** The place is found before the effect, on whose stack it is; it dies after. */
  const around = (kind: string) => {
    const frames = framesOf(new Error("where").stack ?? "");
    for (const { place } of frames) {
      if (!reached.has(place)) appendFileSync(`${logFile}.reached`, `${place}\n`);
      reached.add(place);
    }
    const point = pointOf(kind, frames);
    return () => {
      if (dead.has(point) || !existsSync(armedFile)) return;
      // Another process may have died of it since this one began.
      dead = diedAt(logFile);
      if (dead.has(point)) return;
      if (isSparedOnce(point) && !diedAt(sparedFile).has(point)) {
        appendFileSync(sparedFile, `${point}\n`);
        return;
      }
      appendFileSync(logFile, `${point}\n`);
      process.kill(process.pid, "SIGKILL");
    };
  };

  watchPostgres(around);
  watchImap(around);
  watchPosts(around);
  watchBlobs(around);
  watchTemporal(around);
}

/** What every mailbox comes by, again and again. */
const often = / < activities\/(mailboxes\.ts (openMailbox|fetchChanges)|idle-shard|keep-content)/;

function isSparedOnce(point: string): boolean {
  return often.test(point) && chanceFor(seed, point).next() < 0.5;
}

function diedAt(logFile: string): ReadonlySet<string> {
  return new Set(existsSync(logFile) ? readFileSync(logFile, "utf8").split("\n") : []);
}

type Around = (kind: string) => () => void;
type Method = (this: object, ...args: never[]) => unknown;

/** Replaces a method by one that may do something before, and after it has succeeded. */
function wrap(owner: object, name: string, before: (self: object, args: readonly unknown[]) => (() => void) | undefined): void {
  const members = owner as Record<string, Method>;
  const original = members[name];
  if (original === undefined) throw new Error(`there is no ${name} to watch`);
  members[name] = function (...args) {
    const after = before(this, args);
    const result = original.apply(this, args);
    if (after === undefined || !(result instanceof Promise)) return result;
    return result.then((value: unknown) => {
      after();
      return value;
    });
  };
}

const writes = /\b(insert into|update|delete from)\b/i;

function watchPostgres(around: Around): void {
  const open = new WeakMap<object, { hasWritten: boolean }>();
  wrap(pg.Client.prototype, "query", (client, [query]) => {
    const sql = typeof query === "string" ? query : "";
    const transaction = open.get(client);
    if (/^(begin|start transaction)/.test(sql)) open.set(client, { hasWritten: false });
    if (/^(commit|rollback)$/.test(sql)) open.delete(client);
    if (sql === "commit" && transaction?.hasWritten === true) return around("commit");
    // Reading for an update takes locks and changes nothing.
    const isWrite = writes.test(sql.replaceAll(/for (no key )?update/gi, ""));
    if (transaction !== undefined && isWrite) {
      transaction.hasWritten = true;
      around("within a transaction");
    }
    return transaction === undefined && isWrite ? around("write") : undefined;
  });
}

const imapWrites = /^(UID )?(MOVE|COPY|STORE|EXPUNGE|APPEND|CREATE|RENAME|DELETE|SUBSCRIBE|UNSUBSCRIBE)$/;

function watchImap(around: Around): void {
  wrap(ImapFlow.prototype, "exec", (_, [command]) => (imapWrites.test(String(command)) ? around(`IMAP ${command}`) : undefined));
}

function watchPosts(around: Around): void {
  wrap(Agent.prototype, "request", () => around("POST"));
}

function watchBlobs(around: Around): void {
  // Only the blob store renames and removes files while the process is at work.
  wrap(fs, "rename", () => around("blob put"));
  // Several at once are written on a thread, where nothing is watched: done when the thread says so.
  wrap(Tinypool.prototype, "run", (_pool, [task]) => (isWriteTask(task) ? around("blobs put") : undefined));
  wrap(fs, "unlink", () => around("blob removed"));
  syncBuiltinESMExports();
}

function isWriteTask(task: unknown): boolean {
  return typeof task === "object" && task !== null && "files" in task;
}

const temporalWrites = /(StartWorkflowExecution|SignalWithStartWorkflowExecution|SignalWorkflowExecution|ExecuteMultiOperation)$/;

/** gRPC's client takes a callback, as its last argument. */
function watchTemporal(around: Around): void {
  const { Client } = createRequire(createRequire(import.meta.url).resolve("@temporalio/client"))("@grpc/grpc-js") as {
    Client: { prototype: object };
  };
  const members = Client.prototype as Record<string, Method>;
  const original = members.makeUnaryRequest;
  if (original === undefined) throw new Error("gRPC has no makeUnaryRequest");
  members.makeUnaryRequest = function (...args) {
    const [path, callback] = [String(args[0]), args.at(-1) as unknown as (error: unknown, value: unknown) => void];
    if (!temporalWrites.test(path)) return original.apply(this, args);
    const after = around(`Temporal ${path.split("/").at(-1)}`);
    const answered = (error: unknown, value: unknown) => {
      if (error === null || error === undefined) after();
      callback(error, value);
    };
    return original.apply(this, [...args.slice(0, -1), answered] as never[]);
  };
}

const root = resolve(import.meta.dirname, "../..");

/** Our own code on the way to the effect, the innermost first. */
function framesOf(stack: string): readonly Frame[] {
  return [...stack.matchAll(/(file:\/\/[^)\s]+?):(\d+):\d+\)?$/gm)].flatMap(([, url = "", line]) => {
    const file = relative(root, fileURLToPath(url));
    return /^(\.\.|node_modules|test)\//.test(file) ? [] : [{ file, place: placeAt(file, Number(line)) }];
  });
}

interface Frame {
  readonly file: string;
  readonly place: string;
}

/** What asked for the effect, and the activity or route that it belongs to. */
function pointOf(kind: string, frames: readonly Frame[]): string {
  const own = frames.filter(({ file }) => !passages.test(file));
  const inner = own[0] ?? frames[0];
  const outer = own.findLast(({ file }) => /^(activities|api|workers)\//.test(file)) ?? inner;
  return [...new Set([kind, inner?.place ?? "nowhere", outer?.place ?? "nowhere"])].join(" < ");
}

/** Every call passes through these. */
const passages = /^(db\/transaction|sessions\/sessions|activities\/(index|heartbeat)|api\/(serve|app|route|server|idempotency))\.ts$/;
