import {
  type Client,
  isGrpcServiceError,
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowFailedError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from "@temporalio/client";
import {
  ApplicationFailure,
  TimeoutFailure,
  TypedSearchAttributes,
  type UpdateDefinition,
  WorkflowIdConflictPolicy,
  WorkflowIdReusePolicy,
} from "@temporalio/common";
import { isMailErrorCode, MailError } from "../domain/errors.ts";
import type { FolderCounts } from "../workflows/folder-counts.ts";
import {
  disconnectUpdate,
  mailbox as mailboxWorkflow,
  pauseUpdate,
  reconnectUpdate,
  resumeUpdate,
  resyncUpdate,
  settingsChangedSignal,
  syncUpdate,
  wakeSignal,
} from "../workflows/mailbox.ts";
import { carryOutUpdate, messageActions } from "../workflows/message-actions.ts";
import { searchAttributes, type TaskQueue, taskQueueName, workflowIds } from "../workflows/names.ts";
import { wakeSignal as wakeRelaySignal, webhookRelay } from "../workflows/webhook-relay.ts";
import type { Commands, MailboxCommand, MailboxTarget } from "./commands.ts";
import { ApiError } from "./errors.ts";

export interface TemporalOptions {
  readonly client: Client;
  readonly taskQueuePrefix: string;
  /** How long a worker has for a command before the caller is told that there is none; shorter in tests. */
  readonly commandTimeoutMs?: number;
  /** How long changes of messages are waited for: a thousand of them, on a server that thinks about each command. */
  readonly actionsTimeoutMs?: number;
  /** The same for starts and signals, which need the server alone. */
  readonly serverTimeoutMs?: number;
}

/** Plenty for a worker that is there: a command is a row and a flag. */
const commandTimeoutMsDefault = 10_000;
const folderTimeoutMs = 30_000;
/** Beyond what counting may take, and within what a client waits. */
const countTimeoutMs = 25_000;
const actionsTimeoutMsDefault = 25_000;
/** Both sides of a test may use up their own timeouts. Less than what an Idempotency-Key waits before it counts as abandoned. */
const testTimeoutMs = 50_000;
const autodetectTimeoutMs = 25_000;
/** A large message over a slow line; whoever waits for a page has gone by then. */
const textTimeoutMs = 40_000;
/** Long enough for a server that is being replaced by the next. */
const serverTimeoutMsDefault = 10_000;
/** Readiness is asked for every few seconds, by something with a timeout of its own. */
const checkTimeoutMs = 2_500;
/** Pollers ask again every minute at the latest; the server lists them for five. */
const pollerAliveMs = 75_000;

/** The API's commands on a Temporal client. The client may be lazy: a server that is away is `service_unavailable`, call by call. */
export function createCommands({
  client,
  taskQueuePrefix,
  commandTimeoutMs = commandTimeoutMsDefault,
  actionsTimeoutMs = actionsTimeoutMsDefault,
  serverTimeoutMs = serverTimeoutMsDefault,
}: TemporalOptions): Commands {
  const mailQueue = taskQueueName(taskQueuePrefix, "mail");

  /** How a mailbox's workflow is started, whoever does it. Fairness by customer: one with many mailboxes does not hold up the others. */
  const mailboxStart = (target: MailboxTarget) => ({
    workflowId: workflowIds.mailbox(target.id),
    taskQueue: mailQueue,
    args: [{ mailboxId: target.id }] as [{ mailboxId: typeof target.id }],
    workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
    typedSearchAttributes: new TypedSearchAttributes([
      { key: searchAttributes.mailboxId, value: target.id },
      { key: searchAttributes.customerId, value: target.customerId },
      { key: searchAttributes.provider, value: target.provider },
    ]),
    staticSummary: `${target.provider} · ${target.customerId}`,
    priority: { fairnessKey: target.customerId },
  });

  const update = <Args extends unknown[]>(target: MailboxTarget, definition: UpdateDefinition<void, Args>, args: Args) =>
    withDeadline(client, commandTimeoutMs, () =>
      client.workflow.executeUpdateWithStart(definition, {
        args,
        startWorkflowOperation: new WithStartWorkflowOperation(mailboxWorkflow, {
          ...mailboxStart(target),
          workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
        }),
      }),
    );

  const execute = (timeoutMs: number, type: string, workflowId: string, input: unknown): Promise<unknown> =>
    withDeadline(client, timeoutMs, () =>
      client.workflow.execute(type, {
        workflowId,
        taskQueue: mailQueue,
        args: [input],
        workflowExecutionTimeout: timeoutMs,
        workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
      }),
    );

  return {
    async connect(target) {
      await withDeadline(client, serverTimeoutMs, () =>
        client.workflow.signalWithStart(mailboxWorkflow, { ...mailboxStart(target), signal: wakeSignal, signalArgs: [{ paths: [] }] }),
      );
    },
    command: (target, command) => update(target, updates[command], []),
    disconnect: (target, options) => update(target, disconnectUpdate, [options]),
    async settingsChanged(target) {
      await withDeadline(client, serverTimeoutMs, () =>
        client.workflow.signalWithStart(mailboxWorkflow, { ...mailboxStart(target), signal: settingsChangedSignal, signalArgs: [] }),
      );
    },
    async carryOutActions(mailboxes) {
      await Promise.all(
        mailboxes.map((target) =>
          withDeadline(client, actionsTimeoutMs, () =>
            client.workflow.executeUpdateWithStart(carryOutUpdate, {
              args: [],
              startWorkflowOperation: new WithStartWorkflowOperation(messageActions, {
                ...mailboxStart(target),
                workflowId: workflowIds.messageActions(target.id),
                workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
              }),
            }),
          ),
        ),
      );
    },
    async changeFolder(mailboxId, change, requestId) {
      await execute(folderTimeoutMs, "folderChange", `folder-change/${requestId}`, { mailboxId, change });
    },
    countFolders: (input, requestId) => execute(countTimeoutMs, "folderCounts", `folder-counts/${requestId}`, input) as Promise<FolderCounts>,
    async wakeRelay(endpointId) {
      await withDeadline(client, serverTimeoutMs, () =>
        client.workflow.signalWithStart(webhookRelay, {
          workflowId: workflowIds.webhookRelay(endpointId),
          taskQueue: mailQueue,
          args: [{ endpointId }],
          signal: wakeRelaySignal,
        }),
      );
    },
    async testConnection(testId) {
      await execute(testTimeoutMs, "connectionTest", workflowIds.connectionTest(testId), { testId });
    },
    async fetchText(messageId) {
      await execute(textTimeoutMs, "messageText", workflowIds.messageText(messageId), { messageId });
    },
    autodetect: (domain, requestId) => execute(autodetectTimeoutMs, "autodetect", `autodetect/${requestId}`, { domain }),
    async ping() {
      await client.withDeadline(Date.now() + checkTimeoutMs, () => client.workflowService.describeNamespace({ namespace: client.options.namespace }));
    },
    async hasPoller(queue: TaskQueue) {
      const answer = await client.withDeadline(Date.now() + checkTimeoutMs, () =>
        client.workflowService.describeTaskQueue({
          namespace: client.options.namespace,
          taskQueue: { name: taskQueueName(taskQueuePrefix, queue) },
          taskQueueType: queue === "mail" ? workflowTasks : activityTasks,
        }),
      );
      return (answer.pollers ?? []).some(({ lastAccessTime }) => Date.now() - Number(lastAccessTime?.seconds ?? 0) * 1000 < pollerAliveMs);
    },
  };
}

/** temporal.api.enums.v1.TaskQueueType */
const workflowTasks = 1;
const activityTasks = 2;

const updates = {
  sync: syncUpdate,
  pause: pauseUpdate,
  resume: resumeUpdate,
  resync: resyncUpdate,
  reconnect: reconnectUpdate,
} as const satisfies Record<MailboxCommand, unknown>;

/** Runs a call to Temporal for so long at most, and says what failed in the API's words. */
async function withDeadline<T>(client: Client, timeoutMs: number, call: () => Promise<T>): Promise<T> {
  try {
    return await client.withDeadline(Date.now() + timeoutMs, call);
  } catch (error) {
    throw await toRequestError(client, error);
  }
}

async function toRequestError(client: Client, error: unknown): Promise<unknown> {
  const refusal = refusalOf(error);
  if (refusal !== undefined) return refusal;
  if (!isTimeout(error) && !isServiceError(error)) return error;
  if (await answers(client)) {
    return new ApiError("service_unavailable", {
      detail: "No worker has answered in time. What was asked may still be carried out when one does.",
      headers: { "Retry-After": "10" },
      cause: error,
    });
  }
  return new ApiError("service_unavailable", { detail: "Temporal does not answer.", headers: { "Retry-After": "5" }, cause: error });
}

/** What a workflow threw for its caller to read: a mail problem, or a refusal in its own words. A failure of any other type is a fault of ours. */
function refusalOf(error: unknown): Error | undefined {
  if (!(error instanceof WorkflowUpdateFailedError || error instanceof WorkflowFailedError)) return undefined;
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    if (!(cause instanceof ApplicationFailure)) continue;
    const { type } = cause;
    if (typeof type === "string" && isMailErrorCode(type)) return new MailError(type, { doing: cause.message, cause: error });
    return error instanceof WorkflowUpdateFailedError && error.cause === cause
      ? new ApiError("conflict", { detail: cause.message, cause: error })
      : undefined;
  }
  return undefined;
}

/** A deadline looks the same whether no worker took the task or no server took the call; one short question tells. */
async function answers(client: Client): Promise<boolean> {
  try {
    await client.withDeadline(Date.now() + 1_000, () => client.workflowService.getSystemInfo({}));
    return true;
  } catch {
    return false;
  }
}

function isTimeout(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  return error instanceof WorkflowFailedError && error.cause instanceof TimeoutFailure;
}

function isServiceError(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (isGrpcServiceError(cause) || cause instanceof ServiceError) return true;
  }
  return false;
}
