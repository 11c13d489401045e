import type { z } from "zod";
import { invalid, type RequestFault } from "./errors.ts";

/** What `schema` makes of a part of the request; throws `validation_failed` with every fault, none of which repeats the value. */
export function validate(schema: z.ZodType, part: RequestFault["in"], value: unknown): unknown {
  const unfit = findUnfit(value, "#", 0);
  if (unfit !== undefined) throw invalid({ in: part, ...unfit });
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw invalid(...toFaults(part, parsed.error));
}

/** A body of a megabyte can have a hundred thousand faults; who corrects this many sees the next ones. */
const faultsMax = 20;

/** A zod error as faults of the request. */
export function toFaults(part: RequestFault["in"], error: z.core.$ZodError): readonly RequestFault[] {
  return error.issues
    .slice(0, faultsMax)
    .flatMap((issue) => issueFaults(part, issue))
    .slice(0, faultsMax);
}

function issueFaults(part: RequestFault["in"], issue: z.core.$ZodIssue): readonly RequestFault[] {
  if (issue.code === "unrecognized_keys") {
    return issue.keys.slice(0, faultsMax).map((key) => ({ in: part, pointer: pointer([...issue.path, key]), detail: "is not known here" }));
  }
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    // The branch with the fewest faults is the one that was most likely meant.
    const [closest = []] = issue.errors.toSorted((a, b) => a.length - b.length);
    return closest.flatMap((inner) => issueFaults(part, { ...inner, path: [...issue.path, ...inner.path] }));
  }
  return [{ in: part, pointer: pointer(issue.path), detail: issue.message }];
}

/** Names are the caller's own and may be of any length; no member of ours is as long. */
const stepLengthMax = 100;

/** RFC 6901 as a URI fragment. */
function pointer(path: readonly PropertyKey[]): string {
  return ["#", ...path.map(pointerStep)].join("/");
}

function pointerStep(step: PropertyKey): string {
  return String(step).slice(0, stepLengthMax).toWellFormed().replaceAll("~", "~0").replaceAll("/", "~1");
}

/** Nothing that we take is a quarter as deep. JSON.parse takes any depth, but whatever walks the value after it would run out of stack. */
const depthMax = 32;

/** PostgreSQL stores neither U+0000 (SQLSTATE 22021) nor lone surrogates in jsonb (22P02); no member of ours needs them. */
function findUnfit(value: unknown, at: string, depth: number): { readonly pointer: string; readonly detail: string } | undefined {
  if (typeof value === "string") {
    const isFit = !value.includes("\0") && value.isWellFormed();
    return isFit ? undefined : { pointer: at, detail: "holds a NUL character or half a surrogate pair" };
  }
  if (typeof value !== "object" || value === null) return undefined;
  if (depth === depthMax) return { pointer: "#", detail: `is nested more than ${depthMax} levels deep` };
  for (const [key, member] of Object.entries(value)) {
    const path = `${at}/${pointerStep(key)}`;
    const found = findUnfit(key, `${at}/?`, depth + 1) ?? findUnfit(member, path, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}
