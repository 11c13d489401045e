import type { Route } from "../route.ts";
import { accessKeyRoutes } from "./access-keys.ts";
import { auditRoutes } from "./audit-log.ts";
import { customerRoutes } from "./customers.ts";

/** Every operation of the API, in the order in which the document shows them. */
export const routes: readonly Route[] = [...customerRoutes, ...accessKeyRoutes, ...auditRoutes];
