import type { Reporter, TestCase, TestModule } from "vitest/node";
import { scale } from "./random.ts";

/** What was done to an installation, and what came of it. */
export interface ChaosReport {
  readonly name: string;
  readonly seed: number;
  /** Faults by kind. */
  readonly injected: Readonly<Record<string, number>>;
  readonly delivered: number;
  /** Requests at the webhook receiver, repetitions included. */
  readonly told: number;
  /** What is wrong afterwards, in words. */
  readonly faults: readonly string[];
  /** Messages that were told later than `boundMs` after their delivery or the last fault, which is what pauses and load explain. */
  readonly late: number;
  readonly boundMs: number;
  readonly slowestMs: number;
  /** How many times longer work took on this machine than it takes alone. */
  readonly stretch: number;
  /** What stands where it does not belong, in words. */
  readonly leaks: readonly string[];
  readonly tookMs: number;
}

declare module "vitest" {
  interface TaskMeta {
    /** Given to the summary at the end of the run. */
    chaos?: ChaosReport;
  }
}

export interface Totals {
  readonly chaos: "summary";
  /** CHAOS_SCALE: how large it was. */
  readonly scale: number;
  readonly storms: number;
  readonly failed: number;
  readonly seeds: readonly number[];
  readonly faults: number;
  readonly faultsByKind: Readonly<Record<string, number>>;
  readonly delivered: number;
  readonly told: number;
  readonly lost: number;
  readonly doubled: number;
  readonly otherwiseWrong: number;
  readonly late: number;
  readonly slowestSeconds: number;
  readonly leaks: number;
  readonly seconds: number;
  readonly pass: boolean;
}

/** The words in which the checker says that something is not there, or there too often. */
const lostWords = /is not in the database|is not known|was never told|never arrived|was not kept|is missing|cannot be opened|was left |does not tell/;
const doubledWords = / times$|was told as \d+ events|though it is not to be/;

/** `failed` counts tests that did not pass, whether they came to a report or not. */
export function totalsOf(reports: readonly ChaosReport[], failed: number, scale: number): Totals {
  const faults = reports.flatMap((report) => report.faults);
  const byKind: Record<string, number> = {};
  for (const { injected } of reports) for (const [kind, count] of Object.entries(injected)) byKind[kind] = (byKind[kind] ?? 0) + count;
  const sum = (figure: (report: ChaosReport) => number) => reports.reduce((total, report) => total + figure(report), 0);
  const lost = faults.filter((fault) => lostWords.test(fault)).length;
  const doubled = faults.filter((fault) => !lostWords.test(fault) && doubledWords.test(fault)).length;
  const [late, leaks] = [sum((report) => report.late), sum((report) => report.leaks.length)];
  return {
    chaos: "summary",
    scale,
    storms: reports.length,
    failed,
    seeds: reports.map(({ seed }) => seed),
    faults: Object.values(byKind).reduce((total, count) => total + count, 0),
    faultsByKind: byKind,
    delivered: sum((report) => report.delivered),
    told: sum((report) => report.told),
    lost,
    doubled,
    otherwiseWrong: faults.length - lost - doubled,
    late,
    slowestSeconds: Math.round(Math.max(0, ...reports.map(({ slowestMs }) => slowestMs)) / 1000),
    leaks,
    seconds: Math.round(sum((report) => report.tookMs) / 1000),
    pass: failed === 0 && faults.length === 0 && late === 0 && leaks === 0 && reports.length > 0,
  };
}

export function describeReport(report: ChaosReport): string {
  const { name, seed, injected, delivered, told, faults, late, boundMs, slowestMs, stretch, leaks, tookMs } = report;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(0)} s`;
  return [
    `${name} (seed ${seed}): ${seconds(tookMs)}, on a machine that took ${stretch.toFixed(1)} times as long as alone`,
    ...Object.entries(injected).map(([kind, count]) => `  ${String(count).padStart(4)} × ${kind}`),
    `  ${delivered} messages delivered, ${told} webhooks arrived`,
    `  lost, doubled, wrong: ${faults.length}; later than ${seconds(boundMs)}: ${late} (the last after ${seconds(slowestMs)}); leaks: ${leaks.length}`,
  ].join("\n");
}

/** Says at once what failed, and at the end of a run what was done and what was lost; the last line is JSON, for programs. */
export class ChaosSummary implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result();
    if (state === "failed") console.log([`failed: ${test.fullName}`, ...errors.map(({ message, stack }) => stack ?? message)].join("\n"));
    const { chaos } = test.meta();
    if (chaos !== undefined) console.log([describeReport(chaos), ...chaos.faults, ...chaos.leaks].join("\n"));
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]).filter((test) => test.result().state !== "skipped");
    const reports = tests.flatMap((test) => test.meta().chaos ?? []);
    const failed = tests.filter((test) => test.result().state === "failed").length + modules.filter((module) => module.errors().length > 0).length;
    for (const report of reports) console.log(describeReport(report));
    console.log(JSON.stringify(totalsOf(reports, failed, scale)));
  }
}
