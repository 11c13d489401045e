import { getEventListeners } from "node:events";
import { expect, it } from "vitest";
import { createGate } from "../../activities/gate.ts";

const { signal } = new AbortController();

it("gives a place that is free again to who waits longest, not to who asks in that moment", async () => {
  const gate = createGate(1);
  const order: string[] = [];
  const leave = await gate.enter(signal);
  const waiting = gate.enter(signal).then((free) => {
    order.push("first");
    free();
  });
  leave();
  await gate.enter(signal).then((free) => {
    order.push("second");
    free();
  });
  await waiting;
  expect(order).toEqual(["first", "second"]);
});

it("lets nobody wait whose signal aborted, and counts the place that they took", async () => {
  const gate = createGate(1);
  const leave = await gate.enter(signal);
  const aborting = new AbortController();
  const impatient = gate.enter(aborting.signal);
  aborting.abort();
  const leaveToo = await impatient;
  const patient = gate.enter(signal);
  let isInside = false;
  void patient.then(() => {
    isInside = true;
  });
  leave();
  leave();
  await new Promise((resolve) => setImmediate(resolve));
  expect(isInside).toBe(false);
  leaveToo();
  await patient;
});

it("leaves nothing on a signal that outlives the wait", async () => {
  const gate = createGate(1);
  const leave = await gate.enter(signal);
  const waiting = gate.enter(signal);
  leave();
  (await waiting)();
  expect(getEventListeners(signal, "abort")).toEqual([]);
});
