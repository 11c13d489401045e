import type { ActivityInterceptorsFactory } from "@temporalio/worker";

/** Counts the activities that are at work, by type: what a worker names that could not wait for them. */
export interface Tally {
  readonly interceptor: ActivityInterceptorsFactory;
  /** As `fetchChanges`, or `fetchChanges ×3`. */
  list(): readonly string[];
}

export function createTally(): Tally {
  const counts = new Map<string, number>();
  const add = (type: string, by: number) => counts.set(type, (counts.get(type) ?? 0) + by);
  return {
    interceptor: ({ info: { activityType } }) => ({
      inbound: {
        async execute(input, next) {
          add(activityType, 1);
          try {
            return await next(input);
          } finally {
            add(activityType, -1);
          }
        },
      },
    }),
    list: () => [...counts].filter(([, count]) => count > 0).map(([type, count]) => (count === 1 ? type : `${type} ×${count}`)),
  };
}
