import { parentPort, workerData } from "node:worker_threads";
import { imap } from "../../../providers/imap/index.ts";

/** Runs in a thread whose heap is bounded: lists the inbox of the server at `port` and says what it found. A listing that needs more ends the thread. */
const { port } = workerData as { readonly port: number };
const inbox = { path: "INBOX" };
const { settings, credentials } = imap.split(
  { password: "secret", imap: { host: "127.0.0.1", port, security: "none", allowInsecure: true } },
  "ann@example.test",
);
const provider = imap.open(settings, credentials, { resolveHost: async (host) => ({ address: host, family: 4 }), roleOverrides: {} });
const first = await provider.pullChanges(inbox, undefined, { limit: 500 });
let historyCursor = first.historyCursor ?? {};
const refs: string[] = [];
for (let page = 0; page < 3; page += 1) {
  const { messages, cursor } = await provider.pullHistory(inbox, historyCursor, { limit: 500 });
  refs.push(...messages.map(({ ref }) => ref));
  historyCursor = cursor;
}
const thorough = await provider.pullChanges(inbox, first.cursor, { limit: 500, isThorough: true });
await provider.close();
parentPort?.postMessage({
  total: first.total,
  refs,
  present: thorough.present?.reduce((sum, [from, to]) => sum + to - from + 1, 0),
});
