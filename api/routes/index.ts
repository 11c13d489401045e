import type { Route } from "../route.ts";
import { accessKeyRoutes } from "./access-keys.ts";
import { auditRoutes } from "./audit-log.ts";
import { connectionTestRoutes } from "./connection-tests.ts";
import { customerRoutes } from "./customers.ts";
import { folderRoutes } from "./folders.ts";
import { healthRoutes } from "./health.ts";
import { mailboxRoutes } from "./mailboxes.ts";
import { messageRoutes } from "./messages.ts";
import { presetRoutes } from "./presets.ts";

/** Every operation of the API, in the order in which the document shows them. */
export const routes: readonly Route[] = [
  ...mailboxRoutes,
  ...connectionTestRoutes,
  ...presetRoutes,
  ...folderRoutes,
  ...messageRoutes,
  ...customerRoutes,
  ...accessKeyRoutes,
  ...auditRoutes,
  ...healthRoutes,
];
