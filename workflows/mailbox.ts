import { defineSignal, defineUpdate } from "@temporalio/workflow";
import type { MailboxId } from "../domain/ids.ts";

export interface MailboxInput {
  readonly mailboxId: MailboxId;
}

/** Something may have changed, in these folders or anywhere if none is named. A signal: whoever says so (IDLE, a hook, a timer) waits for nothing. */
export const wakeSignal = defineSignal<[{ readonly paths: readonly string[] }]>("wake");
/** The row's settings, aliases or credentials changed; they are read anew before the next step. */
export const settingsChangedSignal = defineSignal("settingsChanged");

/** Updates, because their caller wants to know that it was done: each returns when the mailbox's row says so. */
export const syncUpdate = defineUpdate<void>("sync");
export const pauseUpdate = defineUpdate<void>("pause");
export const resumeUpdate = defineUpdate<void>("resume");
/** Lists every folder from the start; tells nothing twice. */
export const resyncUpdate = defineUpdate<void>("resync");
/** Tries again now, with the credentials as they are stored. */
export const reconnectUpdate = defineUpdate<void>("reconnect");
/** Ends the workflow: watching stops, credentials are forgotten, and with `purge` the messages as well. */
export const disconnectUpdate = defineUpdate<void, [{ readonly purge: boolean }]>("disconnect");

export async function mailbox(_input: MailboxInput): Promise<void> {}
