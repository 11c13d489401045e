import { MailError } from "../../domain/errors.ts";
import { imap } from "../../providers/imap/index.ts";
import type { MailProvider } from "../../providers/provider.ts";

/** Reads from the IMAP server at a port as a worker would, in a process of its own, so that what it costs can be told from what the server costs. */
export interface Attempted {
  /** The code of the failure, or "done" with what was found. */
  readonly outcome: string;
  readonly found: number;
  readonly seconds: number;
  /** How much more memory than before, at its highest. */
  readonly grownMb: number;
  /** The most CPU that was computed without giving others a turn. */
  readonly longestTurnMs: number;
  readonly changesHeard: number;
}

const patience = { connectMs: 5_000, signInMs: 10_000, silenceMs: 5_000, callMs: 15_000, aliveEveryMs: 2_000, answerMs: 5_000 };
const inbox = { path: "INBOX" };
let changesHeard = 0;

export const calls = {
  "listing folders": async (provider: MailProvider) => (await provider.listFolders()).length,
  "reading a page": async (provider: MailProvider) => {
    const first = await provider.pullChanges(inbox, undefined, { limit: 500 });
    const { messages, skipped } = await provider.pullHistory(inbox, first.historyCursor ?? {}, { limit: 500 });
    if (!JSON.stringify(messages).isWellFormed()) throw new Error("what was read cannot be stored");
    return messages.length + skipped.length;
  },
  "asking about folders": async (provider: MailProvider) => {
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 500 });
    return (await provider.checkScopes(new Map(["INBOX", "a", "b", "c"].map((path) => [path, cursor])))).length;
  },
  "comparing a folder": async (provider: MailProvider) => {
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 500 });
    return (await provider.pullChanges(inbox, cursor, { limit: 500, isThorough: true })).present?.length ?? 0;
  },
  watching: async (provider: MailProvider) => {
    const { cursor } = await provider.pullChanges(inbox, undefined, { limit: 500 });
    await provider.watch({
      scope: inbox,
      knownCursors: async () => new Map([["INBOX", cursor]]),
      checkEveryMs: 2_000,
      onChange: () => {
        changesHeard += 1;
      },
      onAlive: () => {},
      signal: AbortSignal.timeout(20_000),
    });
    return changesHeard;
  },
} as const;

export type CallName = keyof typeof calls;

async function attempt(port: number, call: CallName): Promise<Attempted> {
  const { settings, credentials } = imap.split(
    { password: "secret", imap: { host: "127.0.0.1", port, security: "none", allowInsecure: true } },
    "ann@example.test",
  );
  const provider = imap.open(settings, credentials, { resolveHost: async (host) => ({ address: host, family: 4 }), roleOverrides: {}, patience });
  const before = process.resourceUsage().maxRSS;
  const startedAt = performance.now();
  const turns = measureTurns();
  let found = 0;
  let outcome = "done";
  try {
    found = await calls[call](provider);
  } catch (error) {
    outcome = error instanceof MailError ? error.code : String(error);
  }
  const seconds = (performance.now() - startedAt) / 1_000;
  const longestTurnMs = turns.end();
  const grownMb = (process.resourceUsage().maxRSS - before) / 1_024;
  await provider.close().catch(() => {});
  return { outcome, found, seconds, grownMb, longestTurnMs, changesHeard };
}

/** In CPU, which other load on the machine does not stretch. */
function measureTurns(): { end(): number } {
  let longest = 0;
  let before = process.threadCpuUsage();
  const timer = setInterval(() => {
    const { user, system } = process.threadCpuUsage(before);
    longest = Math.max(longest, (user + system) / 1_000);
    before = process.threadCpuUsage();
  }, 1);
  return {
    end() {
      clearInterval(timer);
      return Math.round(longest);
    },
  };
}

if (process.send !== undefined) {
  const [port, call] = process.argv.slice(2);
  process.send(await attempt(Number(port), call as CallName), () => process.exit());
}
