import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createPrecedence } from "../../activities/precedence.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("who stands back", () => {
  it("goes at once where nothing goes first", async () => {
    await createPrecedence().standBack(60_000);
  });

  it("goes when the last of those that go first is done, also where one of them failed", async () => {
    const precedence = createPrecedence();
    const [one, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const first = [precedence.goFirst(() => one.promise), precedence.goFirst(() => other.promise).catch(() => {})];
    const went = isDone(precedence.standBack(60_000));
    one.resolve();
    await first[0];
    expect(await went()).toBe(false);
    other.reject(new Error("it failed"));
    await first[1];
    expect(await went()).toBe(true);
  });

  it("waits for no longer than it said", async () => {
    const precedence = createPrecedence();
    void precedence.goFirst(() => new Promise(() => {}));
    const went = isDone(precedence.standBack(2_000));
    await vi.advanceTimersByTimeAsync(1_999);
    expect(await went()).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(await went()).toBe(true);
  });

  it("waits for nobody who takes longer than moments", async () => {
    const precedence = createPrecedence();
    void precedence.goFirst(() => new Promise(() => {}));
    const went = isDone(precedence.standBack(60_000));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await went()).toBe(true);
  });

  it("does not keep a worker that drains", async () => {
    const precedence = createPrecedence();
    void precedence.goFirst(() => new Promise(() => {}));
    const draining = new AbortController();
    const went = isDone(precedence.standBack(60_000, draining.signal));
    expect(await went()).toBe(false);
    draining.abort();
    expect(await went()).toBe(true);
  });
});

/** Whether it is done by the time that everything which can go on by itself has gone on. */
function isDone(work: Promise<void>): () => Promise<boolean> {
  let done = false;
  void work.then(() => {
    done = true;
  });
  return async () => {
    await vi.advanceTimersByTimeAsync(0);
    return done;
  };
}
