/** What an access key may be allowed to do. Administrators' keys may do all of it, for any customer. */
export const keyScopes = [
  "mailboxes:read",
  "mailboxes:write",
  "messages:read",
  "messages:write",
  "events:read",
  "webhooks:read",
  "webhooks:write",
  "keys:read",
  "keys:write",
  "audit:read",
] as const;
export type KeyScope = (typeof keyScopes)[number];

export type KeyRole = "administrator" | "customer";
