import { databaseActivities } from "./proxies.ts";

/** Every few minutes: starts what should run and does not, and sweeps out what has had its time. */
export async function housekeeping(): Promise<void> {
  const activities = databaseActivities({ startToCloseTimeout: "2 minutes", scheduleToCloseTimeout: "10 minutes" });
  await activities.startLostWorkflows();
  await activities.sweep();
}
