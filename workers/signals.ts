import type { Client } from "@temporalio/client";
import type { Signals } from "../activities/dependencies.ts";
import { assignSignal, idleShard } from "../workflows/idle-shard.ts";
import { keepContent, keepSignal } from "../workflows/keep-content.ts";
import { mailbox, wakeSignal } from "../workflows/mailbox.ts";
import { messageActions, wakeSignal as wakeActionsSignal } from "../workflows/message-actions.ts";
import { taskQueueName, workflowIds } from "../workflows/names.ts";
import { wakeSignal as wakeRelaySignal, webhookRelay } from "../workflows/webhook-relay.ts";

/** How activities reach workflows: each call starts the workflow if it is not there, so that nothing can be woken in vain. */
export function createSignals(client: Client, taskQueuePrefix: string): Signals {
  const taskQueue = taskQueueName(taskQueuePrefix, "mail");
  return {
    async wakeMailbox(mailboxId, paths) {
      await client.workflow.signalWithStart(mailbox, {
        workflowId: workflowIds.mailbox(mailboxId),
        taskQueue,
        args: [{ mailboxId }],
        signal: wakeSignal,
        signalArgs: [{ paths }],
      });
    },
    async wakeActions(mailboxId) {
      await client.workflow.signalWithStart(messageActions, {
        workflowId: workflowIds.messageActions(mailboxId),
        taskQueue,
        args: [{ mailboxId }],
        signal: wakeActionsSignal,
      });
    },
    async wakeRelay(endpointId) {
      await client.workflow.signalWithStart(webhookRelay, {
        workflowId: workflowIds.webhookRelay(endpointId),
        taskQueue,
        args: [{ endpointId }],
        signal: wakeRelaySignal,
      });
    },
    async keepContent(mailboxId) {
      await client.workflow.signalWithStart(keepContent, {
        workflowId: workflowIds.keepContent(mailboxId),
        taskQueue,
        args: [{ mailboxId }],
        signal: keepSignal,
      });
    },
    async startShard(shard) {
      await client.workflow.signalWithStart(idleShard, {
        workflowId: workflowIds.idleShard(taskQueuePrefix, shard),
        taskQueue,
        args: [{ shard }],
        signal: assignSignal,
        staticSummary: `IDLE connections, shard ${shard}`,
      });
    },
  };
}
