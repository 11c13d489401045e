import { randomBytes } from "node:crypto";
import type { WorkflowHandleWithStartDetails } from "@temporalio/client";
import { type Client, WithStartWorkflowOperation } from "@temporalio/client";
import { ApplicationFailure, type UpdateDefinition } from "@temporalio/common";
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import type { Activities } from "../../activities/index.ts";
import { newId } from "../../db/ids.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { buildBundle } from "../../workers/bundle.ts";
import { type MailboxInput, type MailboxState, mailbox as mailboxWorkflow, stateQuery, wakeSignal } from "../../workflows/mailbox.ts";
import { taskQueueName, workflowIds } from "../../workflows/names.ts";
import { connectTemporal, temporalAddress, temporalNamespace } from "../helpers/temporal.ts";
import { until } from "../helpers/wait.ts";

type MailboxActivities = Pick<
  Activities,
  | "describeMailbox"
  | "openMailbox"
  | "refreshToken"
  | "fetchChanges"
  | "importHistory"
  | "classifyMessages"
  | "actOnMessages"
  | "watchMailbox"
  | "unwatchMailbox"
  | "settleSettings"
  | "recordProblem"
  | "setPaused"
  | "forgetCursors"
  | "forgetMailbox"
>;
export type ActivityName = keyof MailboxActivities;
/** What a test lets activities do; the others succeed and find nothing new. */
export type Script = Partial<MailboxActivities>;

export interface Call<Name extends ActivityName = ActivityName> {
  readonly name: Name;
  readonly input: Parameters<MailboxActivities[Name]>[0];
}

/** One mailbox's workflow, with a script for its activities and a list of what was called. */
export interface TestedMailbox {
  readonly id: MailboxId;
  readonly handle: WorkflowHandleWithStartDetails;
  /** Changed at any time; the next call takes the script as it stands. */
  readonly script: Script;
  readonly calls: Call[];
  callsOf<Name extends ActivityName>(name: Name): readonly Call<Name>["input"][];
  /** What was called, in order. Where no workflow is cached, local activities once each: a task that is repeated calls them again, and that happens there now and then. */
  names(): readonly ActivityName[];
  wake(...paths: string[]): Promise<void>;
  state(): Promise<MailboxState>;
  /** Waits until it has looked and waits for what comes next. */
  live(): Promise<void>;
  update<Args extends unknown[]>(definition: UpdateDefinition<void, Args>, ...args: Args): Promise<void>;
  /** Resolves when the workflow has ended by itself; rejects when it failed. */
  ended(): Promise<void>;
  /** The run's whole history, payloads in clear. */
  historyText(): Promise<string>;
  /** What the Temporal UI shows as current details. */
  details(): Promise<string>;
}

export interface MailboxBench extends AsyncDisposable {
  readonly client: Client;
  readonly taskQueue: string;
  start(script?: Script, input?: Pick<MailboxInput, "pace">): Promise<TestedMailbox>;
  /** A mailbox whose workflow nobody has started. */
  lost(script?: Script): TestedMailbox;
}

/** Workers of a test file's own on the shared Temporal server; activities are plain functions. */
export async function startMailboxBench(options: { readonly maxCachedWorkflows?: number } = {}): Promise<MailboxBench> {
  quietRuntime();
  const prefix = `mailbox-${randomBytes(4).toString("hex")}`;
  const { client, close } = await connectTemporal();
  const connection = await NativeConnection.connect({ address: temporalAddress() });
  const mailboxes = new Map<MailboxId, TestedMailbox>();
  const activities = fakes(mailboxes);
  const code = await buildBundle();
  const workers = await Promise.all(
    (["mail", "providers", "bulk"] as const).map((queue) =>
      Worker.create({
        connection,
        namespace: temporalNamespace(),
        taskQueue: taskQueueName(prefix, queue),
        activities,
        ...(queue === "mail" ? { workflowBundle: { code }, ...options } : {}),
        shutdownForceTime: "1 second",
        maxHeartbeatThrottleInterval: "200 milliseconds",
      }),
    ),
  );
  const running = Promise.all(workers.map((worker) => worker.run()));
  running.catch(() => {});
  const taskQueue = taskQueueName(prefix, "mail");
  const add = (script: Script) => {
    const tested = testedMailbox(client, taskQueue, newId("mailbox"), script, options.maxCachedWorkflows !== 0);
    mailboxes.set(tested.id, tested);
    return tested;
  };
  return {
    client,
    taskQueue,
    async start(script = {}, input = {}) {
      const tested = add(script);
      await client.workflow.signalWithStart(mailboxWorkflow, {
        workflowId: workflowIds.mailbox(tested.id),
        taskQueue,
        args: [{ mailboxId: tested.id, ...input }],
        signal: wakeSignal,
        signalArgs: [{ paths: [] }],
      });
      return tested;
    },
    lost: (script = {}) => add(script),
    async [Symbol.asyncDispose]() {
      for (const { handle } of mailboxes.values()) await handle.terminate("the tests are over").catch(() => {});
      for (const worker of workers) if (worker.getState() === "RUNNING") worker.shutdown();
      await running.catch(() => {});
      await connection.close();
      await close();
    },
  };
}

const localOnes: readonly ActivityName[] = ["classifyMessages", "actOnMessages"];

function testedMailbox(client: Client, taskQueue: string, id: MailboxId, script: Script, isCached: boolean): TestedMailbox {
  const calls: Call[] = [];
  const handle = client.workflow.getHandle(workflowIds.mailbox(id)) as unknown as WorkflowHandleWithStartDetails;
  const tested: TestedMailbox = {
    id,
    handle,
    script,
    calls,
    callsOf: (name) => calls.filter((call) => call.name === name).map((call) => call.input as never),
    names: () => {
      const names = calls.map(({ name }) => name);
      return isCached ? names : names.filter((name, at) => !localOnes.includes(name) || names.indexOf(name) === at);
    },
    wake: (...paths) => handle.signal(wakeSignal, { paths }),
    state: () => handle.query(stateQuery),
    live: async () => {
      await until(async () => {
        const { isOpen, isWatched, needsImport, failing, wakes, lastSuccessAt } = await tested.state();
        if (!isOpen || !isWatched || needsImport || failing !== null || wakes.all || wakes.paths.length > 0 || lastSuccessAt === null) return false;
        const { raw } = await handle.describe();
        return (raw.pendingActivities ?? []).length === 0 && raw.pendingWorkflowTask == null;
      }, "the mailbox to be live");
    },
    update: async (definition, ...args) => {
      await client.workflow.executeUpdateWithStart(definition, {
        args,
        startWorkflowOperation: new WithStartWorkflowOperation(mailboxWorkflow, {
          workflowId: workflowIds.mailbox(id),
          taskQueue,
          args: [{ mailboxId: id }],
          workflowIdConflictPolicy: "USE_EXISTING",
          workflowIdReusePolicy: "ALLOW_DUPLICATE",
        }),
      });
    },
    ended: async () => void (await handle.result()),
    historyText: async () =>
      JSON.stringify(await handle.fetchHistory(), (_key, value) => (value?.type === "Buffer" ? Buffer.from(value.data).toString() : value)),
    details: async () => {
      const { currentDetails } = await handle.query<{ readonly currentDetails: string }>("__temporal_workflow_metadata");
      return currentDetails;
    },
  };
  return tested;
}

function fakes(mailboxes: ReadonlyMap<MailboxId, TestedMailbox>): MailboxActivities {
  const perform = <Name extends ActivityName>(name: Name): MailboxActivities[Name] => {
    const activity = async (input: Call["input"]) => {
      const tested = mailboxes.get(input.mailboxId);
      if (tested === undefined) throw new Error("an unknown mailbox");
      tested.calls.push({ name, input } as Call);
      return ((tested.script[name] ?? quiet[name]) as (input: Call["input"]) => Promise<unknown>)(input);
    };
    return activity as unknown as MailboxActivities[Name];
  };
  return Object.fromEntries(Object.keys(quiet).map((name) => [name, perform(name as ActivityName)])) as unknown as MailboxActivities;
}

export const facts = {
  isGone: false,
  customerId: "cus_test",
  provider: "imap",
  isPaused: false,
  pollEveryMs: 3_600_000,
  tokenExpiresAt: null,
} as const;
export const nothingNew = { isGone: false, unsettled: 0, missing: 0, needsImport: false, more: false, mustTell: false } as const;
export const listed = { imported: 0, unsettled: 0, missing: 0, mustTell: false, isComplete: true } as const;

const quiet: MailboxActivities = {
  describeMailbox: async () => facts,
  openMailbox: async () => facts,
  refreshToken: async () => ({ tokenExpiresAt: null }),
  fetchChanges: async () => nothingNew,
  importHistory: async () => listed,
  classifyMessages: async () => ({ told: 0, more: false }),
  actOnMessages: async () => ({ woken: 0 }),
  watchMailbox: async () => ({ shard: 0 }),
  unwatchMailbox: async () => undefined,
  settleSettings: async () => ({ isStale: false, more: false, unsettled: 0 }),
  recordProblem: async () => {},
  setPaused: async () => {},
  forgetCursors: async () => {},
  forgetMailbox: async () => {},
};

/** What activities/failures.ts makes of a MailError. Never retried by Temporal, so that tests see each attempt of the workflow's. */
export function mailFailure(code: MailErrorCode, retryAfterMs: number | null = null): ApplicationFailure {
  return ApplicationFailure.create({
    type: code,
    message: `testing: ${catalogue[code].title}`,
    nonRetryable: true,
    details: [{ serverSaid: "NO no", fix: catalogue[code].fix, retryAfterMs }],
  });
}

/** Promises that a test resolves when it likes. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

let isQuiet = false;

function quietRuntime(): void {
  if (isQuiet) return;
  isQuiet = true;
  Runtime.install({ logger: new DefaultLogger("ERROR"), telemetryOptions: { logging: { filter: "OFF" } }, shutdownSignals: [] });
}
