/** Ids or numbers as PostgreSQL writes an array of them: nothing in it wants quotes, which pg would put around each and look for in each. */
export function toArray(items: readonly (string | number)[]): string {
  return `{${items.join(",")}}`;
}
