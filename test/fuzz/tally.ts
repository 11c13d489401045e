import { problemTypes } from "../../api/errors.ts";
import type { Operation } from "./operations.ts";
import type { RawAnswer } from "./wire.ts";

/** What was answered, by operation. */
export interface Tallies {
  /** Notes an answer; undefined for one to a request of no operation. */
  note(operation: Operation | undefined, answer: RawAnswer): void;
  /** Operations that were never carried out: their positive half was not tested. */
  neverDone(): readonly string[];
  /** How many requests were put off with 503, and the operations that did so too often to be called well. */
  putOff(): { readonly times: number; readonly tooOften: readonly string[] };
  /** For each operation how many requests it got and with which answers they ended. */
  rows(): Readonly<Record<string, Readonly<Record<string, number | string>>>>;
  /** Documented answers that nothing was answered with: those that no operation gave, and by operation those that another one gave. */
  neverMet(): { readonly anywhere: readonly string[]; readonly byOperation: Readonly<Record<string, readonly string[]>> };
}

/** A problem, or the report of /readyz. */
const isPutOff = (kind: string) => kind === "503 service_unavailable" || kind === "503";
/** Of an operation's requests, and how many may be put off whatever their share: of few requests, one is many. */
const putOffShareMax = 0.1;
const putOffAlwaysMax = 3;

/** How many answers there were of each class: `200`, `404 not_found`, `409 mail/authentication_failed`. */
interface Tally {
  readonly operation: Operation;
  readonly classes: Map<string, number>;
  requests: number;
  slowestMs: number;
}

export function createTallies(operations: readonly Operation[]): Tallies {
  const tallies = new Map(operations.map((operation) => [operation.id, newTally(operation)]));
  let ofNone = 0;
  let timesPutOff = 0;
  return {
    note(operation, answer) {
      const kind = classOf(answer);
      if (isPutOff(kind)) timesPutOff += 1;
      const tally = operation === undefined ? undefined : tallies.get(operation.id);
      if (tally === undefined) {
        ofNone += 1;
        return;
      }
      tally.requests += 1;
      tally.classes.set(kind, (tally.classes.get(kind) ?? 0) + 1);
      tally.slowestMs = Math.max(tally.slowestMs, answer.ms);
    },
    neverDone: () =>
      [...tallies.values()].filter(({ classes }) => !classes.keys().some((kind) => kind.startsWith("2"))).map(({ operation }) => operation.id),
    putOff() {
      const tooOften = [...tallies.values()].flatMap(({ operation, classes, requests }) => {
        const times = [...classes].reduce((sum, [kind, count]) => (isPutOff(kind) ? sum + count : sum), 0);
        return times > Math.max(putOffAlwaysMax, requests * putOffShareMax) ? [`${operation.id}: ${times} of ${requests}`] : [];
      });
      return { times: timesPutOff, tooOften };
    },
    rows() {
      const rows = [...tallies.values()].map(({ operation, classes, requests, slowestMs }) => {
        const answers = [...classes].toSorted(([a], [b]) => a.localeCompare(b)).map(([kind, times]) => `${kind} ×${times}`);
        return [operation.id, { requests, slowestMs: Math.round(slowestMs), answers: answers.join(", ") }] as const;
      });
      return { ...Object.fromEntries(rows), "(no operation)": { requests: ofNone } };
    },
    neverMet() {
      const met = new Set([...tallies.values()].flatMap(({ classes }) => [...classes.keys()]));
      const missing = [...tallies.values()].map(
        ({ operation, classes }) => [operation.id, documentedClasses(operation).filter((kind) => !classes.has(kind))] as const,
      );
      return {
        anywhere: [...new Set(missing.flatMap(([, kinds]) => kinds))].filter((kind) => !met.has(kind)).toSorted(),
        byOperation: Object.fromEntries(
          missing.map(([id, kinds]) => [id, kinds.filter((kind) => met.has(kind))] as const).filter(([, kinds]) => kinds.length > 0),
        ),
      };
    },
  };
}

function newTally(operation: Operation): Tally {
  return { operation, classes: new Map(), requests: 0, slowestMs: 0 };
}

function classOf({ status, text }: RawAnswer): string {
  const [, named] = status < 400 ? [] : text.split(`"type":"${problemTypes}`);
  return named === undefined ? String(status) : `${status} ${named.slice(0, named.indexOf('"'))}`;
}

/** The document names the codes of a status in the words of its description. */
export function documentedClasses({ responses }: Operation): readonly string[] {
  return Object.entries(responses).flatMap(([status, { description }]) => {
    const codes = Number(status) < 400 ? [] : [...description.matchAll(/`([\w/]+)`:/g)].map(([, code]) => code);
    return codes.length === 0 ? [status] : codes.map((code) => `${status} ${code}`);
  });
}
