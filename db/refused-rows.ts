import type { RemoteMessage } from "../domain/message.ts";
import type { Database } from "./database.ts";
import type { Skipped } from "./skipped.ts";

/** SQLSTATE of the database when it takes what we send for data, and cannot keep it: data exceptions, violated checks, and rows beyond its limits. */
export function isRefusedRow(error: unknown): error is Error & { readonly code: string } {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" && (/^(22|54)...$/.test(code) || code === "23514");
}

class Undone extends Error {
  override readonly name = "Undone";
}

/**
 * Finds the messages that the database refuses, by trying halves and undoing what was tried: a page costs more only if one of its messages is bad.
 * `tryStore` stores in the transaction that it is given.
 */
export async function siftMessages<Message extends Pick<RemoteMessage, "ref">>(
  db: Database,
  messages: readonly Message[],
  tryStore: (trx: Database, messages: readonly Message[]) => Promise<unknown>,
): Promise<{ readonly kept: readonly Message[]; readonly refused: readonly Skipped[] }> {
  if (messages.length === 0) return { kept: [], refused: [] };
  const error = await failureOf(db, (trx) => tryStore(trx, messages));
  if (error === undefined) return { kept: messages, refused: [] };
  const [only] = messages;
  // The text of such an error may quote the message; its code does not.
  if (messages.length === 1 && only !== undefined) {
    return { kept: [], refused: [{ ref: only.ref, code: "message_not_stored", reason: `SQLSTATE ${error.code}` }] };
  }
  const middle = Math.ceil(messages.length / 2);
  const first = await siftMessages(db, messages.slice(0, middle), tryStore);
  const second = await siftMessages(db, messages.slice(middle), tryStore);
  return { kept: [...first.kept, ...second.kept], refused: [...first.refused, ...second.refused] };
}

async function failureOf(db: Database, attempt: (trx: Database) => Promise<unknown>): Promise<(Error & { readonly code: string }) | undefined> {
  try {
    await db.transaction().execute(async (trx) => {
      await attempt(trx);
      throw new Undone();
    });
  } catch (error) {
    if (error instanceof Undone) return undefined;
    if (isRefusedRow(error)) return error;
    throw error;
  }
  return undefined;
}
