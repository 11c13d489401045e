import type { Flags, RemoteMessage } from "../../domain/message.ts";
import type { SyncCursor, SyncScope } from "../../domain/sync.ts";
import type { MailProvider } from "../../providers/provider.ts";

/**
 * A folder as one learns it through a provider, page by page, the way the sync engine does: what the pages say is all it knows. `listed` keeps every ref in the order
 * in which it was listed, so that a test sees what was listed twice.
 */
export interface Mirror {
  readonly messages: Map<string, RemoteMessage & { flags: Flags }>;
  readonly listed: string[];
  cursor: SyncCursor | undefined;
  historyCursor: SyncCursor | undefined;
  resets: number;
  /** Reads one page of changes; true when another is ready. */
  pullChanges(limit?: number, isThorough?: boolean): Promise<boolean>;
  /** Reads one page of history; true when another is ready. */
  pullHistory(limit?: number): Promise<boolean>;
  /** Reads until nothing is left. */
  settle(limit?: number): Promise<void>;
}

const roundsMax = 10_000;

export function createMirror(provider: MailProvider, scope: SyncScope): Mirror {
  const add = (message: RemoteMessage) => {
    mirror.messages.set(message.ref, { ...message });
    mirror.listed.push(message.ref);
  };
  const mirror: Mirror = {
    messages: new Map(),
    listed: [],
    cursor: undefined,
    historyCursor: undefined,
    resets: 0,
    async pullChanges(limit = 100, isThorough = false) {
      const page = await provider.pullChanges(scope, stored(mirror.cursor), { limit, isThorough });
      if (page.reset) {
        mirror.resets += 1;
        mirror.messages.clear();
        mirror.listed.length = 0;
        mirror.historyCursor = page.historyCursor;
      }
      if (page.added.length > limit) throw new Error(`a page of ${page.added.length} messages where ${limit} were asked for`);
      page.added.forEach(add);
      for (const { ref, flags } of page.flagChanges) {
        const known = mirror.messages.get(ref);
        if (known !== undefined) known.flags = flags;
      }
      for (const ref of page.removed) mirror.messages.delete(ref);
      const { present } = page;
      if (present !== undefined) {
        for (const ref of mirror.messages.keys()) {
          if (!present.some(([first, last]) => Number(ref) >= first && Number(ref) <= last)) mirror.messages.delete(ref);
        }
      }
      mirror.cursor = page.cursor;
      return page.more;
    },
    async pullHistory(limit = 100) {
      if (mirror.historyCursor === undefined) return false;
      const page = await provider.pullHistory(scope, stored(mirror.historyCursor) ?? {}, { limit });
      if (page.messages.length > limit) throw new Error(`a page of ${page.messages.length} messages where ${limit} were asked for`);
      page.messages.forEach(add);
      mirror.historyCursor = page.more ? page.cursor : undefined;
      return page.more;
    },
    async settle(limit = 100) {
      for (let round = 0; round < roundsMax; round += 1) {
        const hasMoreChanges = await mirror.pullChanges(limit);
        const hasMoreHistory = await mirror.pullHistory(limit);
        if (!hasMoreChanges && !hasMoreHistory) return;
      }
      throw new Error(`the pages did not end after ${roundsMax} rounds`);
    },
  };
  return mirror;
}

/** A cursor as it comes back from the database. */
function stored(cursor: SyncCursor | undefined): SyncCursor | undefined {
  return cursor === undefined ? undefined : JSON.parse(JSON.stringify(cursor));
}
