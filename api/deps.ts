import type { BlobStore } from "../blobs/store.ts";
import type { Config } from "../config.ts";
import type { Database } from "../db/database.ts";
import type { Logger } from "../logging.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { Commands } from "./commands.ts";
import type { StreamGate } from "./stream-gate.ts";

/** What the API is made of: real parts in the server, the same or failing ones in tests. */
export interface ApiDeps {
  readonly config: Config;
  readonly db: Database;
  readonly commands: Commands;
  /** Mailboxes that the API opens itself, for what is streamed and nothing else: docs/adr/0025. */
  readonly sessions: Sessions;
  readonly streams: StreamGate;
  /** Where kept content lies. */
  readonly blobs: BlobStore;
  readonly log: Logger;
  /** Aborts when the server drains: streams that would last for ever end here. */
  readonly closing: AbortSignal;
  /** Tests only: parses each response by its schema and wants an audit entry for each change; a mismatch is a 500 that says so. */
  readonly isStrict?: boolean;
}
