import { MailError, type Problem, toProblem } from "./errors.ts";
import type { RemoteFolder } from "./folder.ts";

/** What a test of the receiving side found. */
export interface ReceivingFacts {
  /** The address as the server confirms it, or as configured where the server does not say. */
  readonly address: string;
  readonly inbox: { readonly total: number; readonly unseen: number };
  readonly folders: readonly RemoteFolder[];
  /** Named as the server names them (`IDLE`, `CONDSTORE`). */
  readonly serverCapabilities: readonly string[];
  /** How the server introduces itself (RFC 2971), if it does. */
  readonly serverName: string | null;
}

/** What a test of the sending side found. */
export interface SendingFacts {
  readonly sizeLimitBytes: number | null;
  readonly extensions: readonly string[];
}

/** One side of a test, as it is stored and shown: what was found, or the failure with cause and fix. */
export type TestedSide<Facts> = ({ readonly ok: true } & Facts) | { readonly ok: false; readonly problem: Problem };

/** A finished connection test. `sending` is null where nothing is configured to send. */
export interface TestReport {
  readonly receiving: TestedSide<ReceivingFacts>;
  readonly sending: TestedSide<SendingFacts> | null;
}

/** A provider's report as it is stored. */
export function toTestReport(
  report: { readonly receiving: ReceivingFacts | MailError; readonly sending: SendingFacts | MailError | undefined },
  at: string,
): TestReport {
  return {
    receiving: toSide(report.receiving, at),
    sending: report.sending === undefined ? null : toSide(report.sending, at),
  };
}

function toSide<Facts extends object>(found: Facts | MailError, at: string): TestedSide<Facts> {
  return found instanceof MailError ? { ok: false, problem: toProblem(found, at) } : { ok: true, ...found };
}
