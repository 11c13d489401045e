import type { Route } from "../route.ts";
import { accessKeyRoutes } from "./access-keys.ts";
import { auditRoutes } from "./audit-log.ts";
import { autodetectRoutes } from "./autodetect.ts";
import { changeRoutes } from "./changes.ts";
import { connectionTestRoutes } from "./connection-tests.ts";
import { contactRoutes } from "./contacts.ts";
import { customerRoutes } from "./customers.ts";
import { eventRoutes } from "./events.ts";
import { exportRoutes } from "./export.ts";
import { folderRoutes } from "./folders.ts";
import { healthRoutes } from "./health.ts";
import { mailboxRoutes } from "./mailboxes.ts";
import { messageActionRoutes } from "./message-actions.ts";
import { messageContentRoutes } from "./message-content.ts";
import { messageRoutes } from "./messages.ts";
import { presetRoutes } from "./presets.ts";
import { skippedRoutes } from "./skipped.ts";
import { threadRoutes } from "./threads.ts";
import { webhookRoutes } from "./webhooks.ts";

/** Every operation of the API, in the order in which the document shows them. */
export const routes: readonly Route[] = [
  ...mailboxRoutes,
  ...connectionTestRoutes,
  ...presetRoutes,
  ...autodetectRoutes,
  ...folderRoutes,
  ...skippedRoutes,
  ...messageRoutes,
  ...messageActionRoutes,
  ...changeRoutes,
  ...contactRoutes,
  ...messageContentRoutes,
  ...exportRoutes,
  ...threadRoutes,
  ...eventRoutes,
  ...webhookRoutes,
  ...customerRoutes,
  ...accessKeyRoutes,
  ...auditRoutes,
  ...healthRoutes,
];
