import { ApplicationFailure, ApplicationFailureCategory, CancelledFailure } from "@temporalio/common";
import { catalogue, isMailErrorCode, MailError, type MailErrorCode } from "../domain/errors.ts";

/** What a workflow learns of a MailError besides its type. */
export interface FailureDetails {
  readonly serverSaid: string | null;
  readonly fix: string;
  readonly retryAfterMs: number | null;
}

/**
 * The one translation from what went wrong to what Temporal records. A MailError becomes a failure whose type is its code; anything else is a bug or
 * an outage of our own parts, is retried, and leaves its text behind where that text may quote what it choked on: histories carry no content.
 */
export function toFailure(error: unknown): unknown {
  if (error instanceof ApplicationFailure || error instanceof CancelledFailure) return error;
  if (error instanceof MailError) return fromMailError(error);
  return ApplicationFailure.create({ type: "internal", message: describe(error), nonRetryable: false });
}

function fromMailError(error: MailError): ApplicationFailure {
  const { retry } = catalogue[error.code];
  const details: FailureDetails = { serverSaid: error.serverSaid ?? null, fix: error.fix, retryAfterMs: error.retryAfterMs ?? null };
  return ApplicationFailure.create({
    type: error.code,
    message: error.message,
    nonRetryable: retry === "never",
    details: [details],
    ...(error.retryAfterMs === undefined ? {} : { nextRetryDelay: error.retryAfterMs }),
    // Servers that are away and passwords that changed are daily bread, no alarm of ours; an answer we cannot read may be our fault.
    ...(retry === "few" ? {} : { category: ApplicationFailureCategory.BENIGN }),
  });
}

export function isMailFailure(failure: unknown): failure is ApplicationFailure & { readonly type: MailErrorCode } {
  return failure instanceof ApplicationFailure && typeof failure.type === "string" && isMailErrorCode(failure.type);
}

/** What may be logged of an error whose text we do not know: it may quote what it choked on. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : "unknown";
}

/** SQLSTATE classes whose texts name conditions and never values: connection, rollback, resources, locks, operator, system. */
const speakingClasses = new Set(["08", "40", "53", "55", "57", "58"]);

function describe(error: unknown): string {
  if (!(error instanceof Error)) return "something that is not an error was thrown";
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  const isSpeaking = "syscall" in error || (code !== undefined && code.length === 5 && speakingClasses.has(code.slice(0, 2)));
  const frame = error.stack
    ?.split("\n")
    .find((line) => line.trimStart().startsWith("at "))
    ?.trim();
  return [error.name, code, isSpeaking ? error.message : undefined, frame]
    .filter((part) => part !== undefined)
    .join(" · ")
    .slice(0, 500);
}
