import { type Client, ScheduleAlreadyRunning, type ScheduleOptions, ScheduleOverlapPolicy } from "@temporalio/client";
import { housekeeping } from "../workflows/housekeeping.ts";
import { taskQueueName } from "../workflows/names.ts";

/** Every schedule, made or brought up to date at each start: what runs is what the code says. */
export async function ensureSchedules(client: Client, taskQueuePrefix: string): Promise<void> {
  for (const schedule of schedules(taskQueuePrefix)) {
    try {
      await client.schedule.create(schedule);
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      const { scheduleId, ...rest } = schedule;
      await client.schedule.getHandle(scheduleId).update((current) => ({ ...current, ...rest, state: { ...current.state, ...rest.state } }) as never);
    }
  }
}

function schedules(prefix: string): readonly ScheduleOptions[] {
  const taskQueue = taskQueueName(prefix, "mail");
  return [
    {
      scheduleId: prefix === "" ? "housekeeping" : `${prefix}-housekeeping`,
      spec: { intervals: [{ every: "5 minutes" }], jitter: "30 seconds" },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: "10 minutes" },
      action: {
        type: "startWorkflow",
        workflowType: housekeeping,
        workflowId: prefix === "" ? "housekeeping" : `${prefix}-housekeeping`,
        taskQueue,
        args: [],
        workflowRunTimeout: "15 minutes",
      },
    },
  ];
}
