import type { MailboxId } from "../domain/ids.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { folderChangeActivities } from "./change-folder.ts";
import { connectionTestActivities } from "./connection-tests.ts";
import { countFoldersActivities } from "./count-folders.ts";
import type { ActivityDependencies } from "./dependencies.ts";
import { toFailure } from "./failures.ts";
import { withHeartbeat } from "./heartbeat.ts";
import { housekeepingActivities } from "./housekeeping.ts";
import { idleShard } from "./idle-shard.ts";
import { type KeepContentResult, keepContent } from "./keep-content.ts";
import { mailboxActivities } from "./mailboxes.ts";
import { messageActionActivities } from "./message-actions.ts";
import { messageTextActivities } from "./message-texts.ts";
import { createPrecedence } from "./precedence.ts";
import { webhookActivities } from "./webhooks.ts";

export type Activities = ReturnType<typeof allActivities>;

/** All activities, each heard of while it works, and translating what it throws in one place. */
export function createActivities(deps: ActivityDependencies, sessions: Sessions): Activities {
  const activities = allActivities(deps, sessions);
  return Object.fromEntries(
    Object.entries(activities).map(([name, activity]) => [name, translated(name, activity as Activity)]),
  ) as unknown as Activities;
}

function allActivities(deps: ActivityDependencies, sessions: Sessions) {
  const precedence = createPrecedence();
  return {
    ...mailboxActivities(deps, sessions, precedence),
    ...connectionTestActivities(deps),
    ...messageTextActivities(deps, sessions),
    ...messageActionActivities(deps, sessions),
    ...folderChangeActivities(deps, sessions),
    ...countFoldersActivities(deps, sessions),
    ...housekeepingActivities(deps),
    keepContent: (input: { readonly mailboxId: MailboxId }): Promise<KeepContentResult> => keepContent({ ...deps, sessions, precedence }, input),
    ...webhookActivities(deps),
    idleShard: (input: { readonly shard: number }) => idleShard(deps, sessions, input),
  };
}

type Activity = (...args: readonly unknown[]) => Promise<unknown>;

/** These say themselves that they are at work, and how far they are. */
const selfBeating: ReadonlySet<string> = new Set(["drainEndpoint", "idleShard", "importHistory"] satisfies (keyof Activities)[]);

function translated(name: string, activity: Activity): Activity {
  return async (...args) => {
    try {
      return await (selfBeating.has(name) ? activity(...args) : withHeartbeat(() => activity(...args)));
    } catch (error) {
      throw toFailure(error);
    }
  };
}
