import { afterEach } from "vitest";
import { imap } from "../../../providers/imap/index.ts";
import type { MailProvider, Patience } from "../../../providers/provider.ts";
import { createMirror } from "../../contract/mirror.ts";
import { type MisbehavingImap, type MisbehavingOptions, misbehavingImap, usualCapabilities } from "../../helpers/misbehaving-imap.ts";

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

export const inbox = { path: "INBOX" };

export const without = (...names: readonly string[]) => usualCapabilities.filter((name) => !names.includes(name));

/** A misbehaving server for one test. */
export async function serve(options: MisbehavingOptions = {}): Promise<MisbehavingImap> {
  const server = await misbehavingImap(options);
  cleanUps.push(async () => server[Symbol.asyncDispose]());
  return server;
}

/** A mailbox at that server, closed before it. */
export function open(
  server: MisbehavingImap,
  { patience, ...more }: { readonly patience?: Partial<Patience>; readonly connectionsMax?: number } = {},
) {
  const { settings, credentials } = imap.split(
    { password: "secret", imap: { host: "127.0.0.1", port: server.port, security: "none", allowInsecure: true }, ...more },
    "ann@example.test",
  );
  const provider: MailProvider = imap.open(settings, credentials, {
    resolveHost: async (host) => ({ address: host, family: 4 }),
    roleOverrides: {},
    patience,
  });
  cleanUps.unshift(() => provider.close());
  return provider;
}

/** The inbox as it is known once everything in it was listed. */
export async function settled(server: MisbehavingImap, provider = open(server)) {
  const mirror = createMirror(provider, inbox);
  await mirror.settle();
  return { provider, mirror };
}
