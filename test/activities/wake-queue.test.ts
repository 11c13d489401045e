import { pino } from "pino";
import { expect, it } from "vitest";
import { createWakeQueue } from "../../activities/wake-queue.ts";
import type { MailboxId } from "../../domain/ids.ts";
import { until } from "../helpers/wait.ts";

const log = pino({ level: "silent" });
const id: MailboxId = "mbx_1";

it("sends what comes while a wake is under way as one wake with every folder", async () => {
  const sent: (readonly string[])[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const queue = createWakeQueue(async (_id, paths) => {
    sent.push(paths);
    if (sent.length === 1) await promise;
  }, log);
  queue.push(id, ["INBOX"]);
  for (let n = 0; n < 500; n += 1) queue.push(id, [n % 2 === 0 ? "Sent" : "INBOX"]);
  resolve();
  await until(() => sent.length === 2, "the second wake");
  await queue.close();
  expect(sent.map((paths) => paths.toSorted())).toEqual([["INBOX"], ["INBOX", "Sent"]]);
});

it("wakes a mailbox again the later the longer signals take, with all that was heard meanwhile", async () => {
  const sent: { readonly paths: readonly string[]; readonly at: number; answeredAt: number }[] = [];
  const queue = createWakeQueue(async (_id, paths) => {
    const wake = { paths, at: performance.now(), answeredAt: Number.NaN };
    sent.push(wake);
    await until(() => performance.now() - wake.at > 20, "a slow answer");
    wake.answeredAt = performance.now();
  }, log);
  queue.push(id, ["INBOX"]);
  await until(() => sent[0]?.answeredAt, "the first answer");
  queue.push(id, ["INBOX"]);
  queue.push(id, ["Sent"]);
  await until(() => sent.length === 2, "the second wake");
  const [first, second] = sent;
  expect(second?.paths.toSorted()).toEqual(["INBOX", "Sent"]);
  expect((second?.at ?? 0) - (first?.answeredAt ?? 0)).toBeGreaterThan(190);
  await queue.close();
});

it("does not let one mailbox wait for another", async () => {
  const sent: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const queue = createWakeQueue(async (mailboxId) => {
    if (mailboxId === id) await promise;
    sent.push(mailboxId);
  }, log);
  queue.push(id, ["INBOX"]);
  queue.push("mbx_2", ["INBOX"]);
  await until(() => sent.includes("mbx_2"), "the other mailbox's wake");
  expect(sent).toEqual(["mbx_2"]);
  resolve();
  await queue.close();
});

it("keeps a wake that is refused, with what comes meanwhile", async () => {
  const sent: (readonly string[])[] = [];
  let refusals = 1;
  const queue = createWakeQueue(async (_id, paths) => {
    if (refusals-- > 0) throw new Error("away");
    sent.push(paths);
  }, log);
  queue.push(id, ["INBOX"]);
  await until(() => refusals === 0, "the refusal");
  queue.push(id, ["Sent"]);
  await until(() => sent.length > 0, "the wake");
  await queue.close();
  expect(sent.flat().toSorted()).toEqual(["INBOX", "Sent"]);
});

it("wakes for all folders when one of the reasons names none", async () => {
  const sent: (readonly string[])[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const queue = createWakeQueue(async (_id, paths) => {
    sent.push(paths);
    if (sent.length === 1) await promise;
  }, log);
  queue.push(id, ["INBOX"]);
  queue.push(id, []);
  queue.push(id, ["Sent"]);
  resolve();
  await until(() => sent.length === 2, "the second wake");
  await queue.close();
  expect(sent[1]).toEqual([]);
});

it("is closed at once while Temporal is away", async () => {
  const queue = createWakeQueue(() => Promise.reject(new Error("away")), log);
  queue.push(id, ["INBOX"]);
  await queue.close();
});
