/** One mailbox of an address header (RFC 5322 §3.4). `address` may be empty: mail without a usable sender exists. */
export interface Address {
  readonly name: string;
  readonly address: string;
}

/**
 * The form in which two addresses are compared: trimmed and lower case. RFC 5321 §2.4 lets the local part be case-sensitive, but no
 * provider in use treats it so, and users type both.
 */
export function normaliseAddress(address: string): string {
  return address.trim().toLowerCase();
}

/** The part behind the last `@`, lower case; empty if there is none. */
export function domainOf(address: string): string {
  const at = address.lastIndexOf("@");
  return at < 0 ? "" : normaliseAddress(address.slice(at + 1));
}

/** The sub-address free form (RFC 5233): `ann+shop@x.org` and `ann@x.org` reach one person. */
export function withoutSubaddress(address: string): string {
  const normal = normaliseAddress(address);
  const at = normal.lastIndexOf("@");
  if (at < 0) return normal;
  const plus = normal.indexOf("+");
  return plus > 0 && plus < at ? normal.slice(0, plus) + normal.slice(at) : normal;
}
