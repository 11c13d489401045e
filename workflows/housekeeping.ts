import { databaseActivities } from "./proxies.ts";

/** Every five minutes: starts what should run and does not, and sweeps out what has had its time. */
export async function housekeeping(): Promise<void> {
  const activities = databaseActivities({ startToCloseTimeout: "2 minutes", scheduleToCloseTimeout: "10 minutes" });
  await activities.startLostWorkflows();
  // What cannot be swept now can be in five minutes; until then it must not keep the next run from starting what was lost.
  await databaseActivities({ startToCloseTimeout: "2 minutes", retry: { maximumAttempts: 1 } }).sweep();
}
