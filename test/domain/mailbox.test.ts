import { describe, expect, it } from "vitest";
import { describeMailbox, type MailboxFacts } from "../../domain/mailbox.ts";

const now = Date.parse("2026-05-01T12:00:00Z");
const ago = (seconds: number) => new Date(now - seconds * 1000).toISOString();

const well: MailboxFacts = {
  status: "connected",
  isPaused: false,
  problem: null,
  createdAt: ago(86_400),
  lastSuccessAt: ago(5),
  watchAliveAt: ago(5),
  pollFloorMs: 3_600_000,
  importTotal: 10,
  importDone: 10,
  importStartedAt: ago(86_000),
  isImporting: false,
};

describe("what a mailbox is said to do", () => {
  it.each([
    ["is live while its watch was heard of", {}, "connected", "live"],
    ["is delayed a minute after its watch fell silent", { lastSuccessAt: ago(500), watchAliveAt: ago(70) }, "connected", "delayed"],
    ["is delayed a minute after a worker died that had just read it", { lastSuccessAt: ago(70), watchAliveAt: ago(75) }, "connected", "delayed"],
    ["is in error ten minutes later, whatever its row says", { lastSuccessAt: ago(700), watchAliveAt: ago(705) }, "error", "stalled"],
    ["is live without a watch for as long as the poll floor", { lastSuccessAt: ago(3_000), watchAliveAt: null }, "connected", "live"],
    ["is delayed when a look is overdue", { lastSuccessAt: ago(3_700), watchAliveAt: null }, "connected", "delayed"],
  ] as const)("%s", (_, facts, status, flow) => {
    expect(describeMailbox({ ...well, ...facts }, now)).toMatchObject({ status, flow: { state: flow } });
  });
});
