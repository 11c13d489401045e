/** Every workflow, by the name under which it is started: the bundle's only entry. */
export { autodetect } from "./autodetect.ts";
export { connectionTest } from "./connection-test.ts";
export { folderChange } from "./folder-change.ts";
export { folderCounts } from "./folder-counts.ts";
export { housekeeping } from "./housekeeping.ts";
export { idleShard } from "./idle-shard.ts";
export { keepContent } from "./keep-content.ts";
export { mailbox } from "./mailbox.ts";
export { messageActions } from "./message-actions.ts";
export { messageText } from "./message-text.ts";
export { webhookRelay } from "./webhook-relay.ts";
