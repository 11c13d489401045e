/** Ends a `switch` over a union, so that a new member fails the type check in every place that must know it. */
export function assertNever(value: never): never {
  throw new Error(`unexpected value ${JSON.stringify(value)}`);
}
