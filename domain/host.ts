/** The one address of a host that is connected to. */
export interface ResolvedHost {
  readonly address: string;
  readonly family: 4 | 6;
}

/**
 * Turns a host name into the one address that is connected to, so that a name cannot answer differently between check and use (DNS rebinding).
 * Throws `host_not_found` or `private_address_refused`.
 */
export type HostResolver = (host: string) => Promise<ResolvedHost>;
