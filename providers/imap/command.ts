import type { ImapFlow } from "imapflow";
import { parseCopyUid } from "imapflow/lib/commands/copyuid-parser.js";
import type { ImapFlowError } from "imapflow/lib/errors.js";
import { encodePath, enhanceCommandError } from "imapflow/lib/tools.js";
import { MailError } from "../../domain/errors.ts";
import { isRefusal, toMailError } from "./errors.ts";

type Response = Parameters<typeof parseCopyUid>[0];
type Attribute = { readonly type: "ATOM" | "SEQUENCE"; readonly value: string };

/** What ImapFlow's own commands are made with; its types leave it out. */
interface CommandRunner {
  exec(
    command: string,
    attributes: readonly (Attribute | readonly Attribute[])[],
    options?: { readonly untagged?: Readonly<Record<string, (untagged: Response) => Promise<void>>> },
  ): Promise<{ readonly response: Response; next(): void }>;
}

/**
 * Runs a command that changes something. ImapFlow's verbs answer a refusal with `false` and keep its reason to themselves; whoever asked for the change
 * has to be told. Returns the UIDs that COPYUID (RFC 4315) paired: in the tagged answer for COPY, in an untagged one before the expunges for MOVE.
 */
export async function runCommand(
  client: ImapFlow,
  command: string,
  attributes: readonly (Attribute | readonly Attribute[])[],
): Promise<ReadonlyMap<number, number>> {
  const pairs = new Map<number, number>();
  const note = (response: Response) => {
    const read: Parameters<typeof parseCopyUid>[1] = { path: "", destination: "" };
    parseCopyUid(response, read);
    for (const [from, to] of read.uidMap ?? []) pairs.set(from, to);
  };
  try {
    const answer = await (client as unknown as CommandRunner).exec(command, attributes, { untagged: { OK: async (untagged) => note(untagged) } });
    note(answer.response);
    answer.next();
    return pairs;
  } catch (error) {
    if (isRefusal(error)) await enhanceCommandError(error as ImapFlowError);
    throw error;
  }
}

export function sequence(set: string): Attribute {
  return { type: "SEQUENCE", value: set };
}

export function atoms(values: readonly string[]): readonly Attribute[] {
  return values.map((value) => ({ type: "ATOM", value }));
}

/** A folder's path as this session writes names (RFC 3501 §5.1.3, or UTF-8 where that was agreed on). */
export function pathOf(client: ImapFlow, path: string): Attribute {
  return { type: "ATOM", value: encodePath(client, path) };
}

/** The reason of a refusal; anything else that went wrong is thrown on, because nobody knows what the server did. */
export function refusalOf(error: unknown, doing: string): MailError {
  if (!isRefusal(error)) throw error;
  return asWrite(toMailError(error, { doing, protocol: "imap", preset: null }));
}

/** A refusal without a reason, in words that fit a change instead of a message that was sent. */
export function asWrite(error: MailError): MailError {
  if (error.code !== "rejected") return error;
  return new MailError("write_refused", { doing: error.message, serverSaid: error.serverSaid, cause: error });
}
