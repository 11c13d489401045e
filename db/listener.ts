import { Client } from "pg";
import { askWithin, breakWhenSilent, steadyLine } from "./silence.ts";

/** A connection that hears one channel's notifications. */
export interface Listener {
  close(): Promise<void>;
}

/** The pause before a lost connection is opened anew. */
const reopenMs = 1_000;
/** A connection that only listens looks the same alive and dead: it is asked this often, and has so long to answer. */
const askEveryMs = 30_000;
const answerMs = 10_000;

/**
 * Calls `onNotification` for each notification on the channel. A connection that breaks is opened anew; what was said meanwhile is lost, so a
 * notification is only ever a reason to look earlier than one would have. One that hangs is found out and broken.
 */
export async function openListener(
  url: string,
  channel: string,
  onNotification: (payload: string) => void,
  patience = { askEveryMs, answerMs },
): Promise<Listener> {
  let isClosed = false;
  let reopening: NodeJS.Timeout | undefined;
  let client: Client | undefined;

  async function open(): Promise<void> {
    const fresh = new Client({ connectionString: url, application_name: "everpost listener", ...steadyLine });
    // Before connect: an error that nobody listens to ends the process.
    fresh.on("error", () => {});
    fresh.on("end", reopenLater);
    fresh.on("notification", ({ payload }) => onNotification(payload ?? ""));
    await fresh.connect();
    if (isClosed) return fresh.end();
    client = fresh;
    breakWhenSilent(fresh);
    await askWithin(fresh, patience.answerMs, `listen ${fresh.escapeIdentifier(channel)}`);
    const asking = setInterval(() => void askWithin(fresh, patience.answerMs, "select").catch(() => {}), patience.askEveryMs).unref();
    fresh.on("end", () => clearInterval(asking));
    onNotification("");
  }

  function reopenLater(): void {
    client = undefined;
    if (isClosed || reopening !== undefined) return;
    reopening = setTimeout(() => {
      reopening = undefined;
      open().catch(reopenLater);
    }, reopenMs);
  }

  await open().catch((error: unknown) => {
    // The caller's failure: nothing may come up later that nobody closes.
    isClosed = true;
    clearTimeout(reopening);
    throw error;
  });
  return {
    async close() {
      isClosed = true;
      clearTimeout(reopening);
      await client?.end().catch(() => {});
    },
  };
}
