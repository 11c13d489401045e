import { Client } from "pg";

/** A connection that hears one channel's notifications. */
export interface Listener {
  close(): Promise<void>;
}

/** The pause before a lost connection is opened anew. */
const reopenMs = 1_000;

/**
 * Calls `onNotification` for each notification on the channel. A connection that breaks is opened anew; what was said meanwhile is lost, so a
 * notification is only ever a reason to look earlier than one would have.
 */
export async function openListener(url: string, channel: string, onNotification: (payload: string) => void): Promise<Listener> {
  let isClosed = false;
  let reopening: NodeJS.Timeout | undefined;
  let client: Client | undefined;

  async function open(): Promise<void> {
    const fresh = new Client({ connectionString: url, application_name: "everpost listener", keepAlive: true });
    // Before connect: an error that nobody listens to ends the process.
    fresh.on("error", () => {});
    fresh.on("end", reopenLater);
    fresh.on("notification", ({ payload }) => onNotification(payload ?? ""));
    await fresh.connect();
    if (isClosed) return fresh.end();
    client = fresh;
    await fresh.query(`listen ${fresh.escapeIdentifier(channel)}`);
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

  await open();
  return {
    async close() {
      isClosed = true;
      clearTimeout(reopening);
      await client?.end().catch(() => {});
    },
  };
}
