/** Everything written to a client is a string with one character per byte. */

export function nstring(value: string | undefined): string {
  return value === undefined ? "NIL" : string(value);
}

/** Quoted where the grammar allows it, a literal otherwise. */
export function string(value: string): string {
  if (value.length <= 1_000 && /^[\t -~]*$/.test(value)) return `"${value.replace(/["\\]/g, "\\$&")}"`;
  return literal(value);
}

export function literal(value: string): string {
  return `{${value.length}}\r\n${value}`;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function internalDate(milliseconds: number): string {
  const at = new Date(milliseconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = String(at.getUTCDate()).padStart(2, " ");
  const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
  return `"${day}-${months[at.getUTCMonth()]}-${at.getUTCFullYear()} ${time} +0000"`;
}

/** Ascending numbers as a set: 1,2,3,7 is `1:3,7`. */
export function numberSet(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < numbers.length; ) {
    let last = index;
    while (last + 1 < numbers.length && numbers[last + 1] === (numbers[last] ?? 0) + 1) last++;
    parts.push(last === index ? `${numbers[index]}` : `${numbers[index]}:${numbers[last]}`);
    index = last + 1;
  }
  return parts.join(",");
}
