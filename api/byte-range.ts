/** Part of a content, both ends included, as HTTP counts them. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * What a Range header asks of a content of this size (RFC 9110 §14.2): one range, or "all" where there is none, where it asks for several, or where it is of
 * a kind that we do not know, all of which a server may ignore; "unsatisfiable" where it begins behind the end.
 */
export function readRange(header: string | undefined, sizeBytes: number): ByteRange | "all" | "unsatisfiable" {
  const [, from = "", to = ""] = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/.exec(header ?? "") ?? [];
  if (from === "" && to === "") return "all";
  if (from === "") {
    const count = Math.min(Number(to), sizeBytes);
    return count === 0 ? "unsatisfiable" : { first: sizeBytes - count, last: sizeBytes - 1 };
  }
  const first = Number(from);
  const last = to === "" ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  if (to !== "" && Number(to) < first) return "all";
  return first >= sizeBytes ? "unsatisfiable" : { first, last };
}
