import { MailError } from "../domain/errors.ts";
import type { HostResolver } from "../domain/host.ts";

export interface UrlRules {
  /** The resolver that deliveries use: refuses private networks that are not allowed. */
  readonly resolveHost: HostResolver;
  /** One that refuses all private networks: tells which hosts are reached over the public internet. */
  readonly resolvePublicHost: HostResolver;
}

/**
 * What is wrong with a URL as a webhook's target, in words for its author; undefined if nothing is. Throws `private_address_refused`. A name that does
 * not exist yet may come into being; deliveries judge it again.
 */
export async function findUrlFault(text: string, rules: UrlRules): Promise<string | undefined> {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) return "a URL that begins with https://";
  if (url.username !== "" || url.password !== "") return "must not carry a user name or password; deliveries are signed";
  if (url.hash !== "") return "must not carry a fragment; it would never be sent";
  const isPrivate = (await codeOf(rules.resolvePublicHost, url.hostname)) === "private_address_refused";
  if (isPrivate) await rules.resolveHost(url.hostname);
  if (url.protocol === "http:" && !isPrivate) return "must begin with https://; http is for hosts in allowed private networks";
  return undefined;
}

async function codeOf(resolve: HostResolver, host: string): Promise<string | undefined> {
  try {
    await resolve(host);
    return undefined;
  } catch (error) {
    if (error instanceof MailError) return error.code;
    throw error;
  }
}
