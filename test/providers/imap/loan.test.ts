import { afterEach, describe, expect, it } from "vitest";
import type { SyncCursor } from "../../../domain/sync.ts";
import { imap } from "../../../providers/imap/index.ts";
import type { MailProvider } from "../../../providers/provider.ts";
import { createMailUser, deliver, dovecot } from "../../helpers/dovecot.ts";
import { until } from "../../helpers/wait.ts";

const inbox = { path: "INBOX" };
const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

describe("a mailbox that is watched", () => {
  it("reads its new mail on the connection that watches, and needs no other", async () => {
    const mailbox = await startWatched();
    for (const n of [1, 2, 3]) {
      await mailbox.deliver(n);
      expect(await mailbox.readNews()).toEqual([`Subject ${n}`]);
    }
    expect(mailbox.connections()).toBe(mailbox.connectionsBefore);
  });

  it("hears of mail that comes after it was read, and of none twice", async () => {
    const mailbox = await startWatched();
    await mailbox.deliver(1);
    await mailbox.readNews();
    await mailbox.deliver(2);
    await mailbox.readNews();
    await mailbox.deliver(3);
    await until(() => mailbox.announced.length === 3, "the third announcement");
    await mailbox.readNews();
    expect(mailbox.announced).toEqual(["INBOX", "INBOX", "INBOX"]);
  });

  it("is read on another connection once the watch has ended", async () => {
    const mailbox = await startWatched();
    await mailbox.stop();
    await deliver(mailbox.email, mail(1));
    expect(await mailbox.readNews()).toEqual(["Subject 1"]);
    expect(mailbox.connections()).toBe(mailbox.connectionsBefore + 1);
  });

  it("is read on another connection where the one that watches breaks under the call", async () => {
    const mailbox = await startWatched();
    await mailbox.deliver(1);
    const reading = mailbox.readNews();
    await mailbox.stop();
    expect(await reading).toEqual(["Subject 1"]);
  });
});

/** A Dovecot mailbox whose inbox is known as it is and watched, with every connection counted. */
async function startWatched() {
  const user = await createMailUser();
  const { host, imapPort } = dovecot();
  const { settings, credentials } = imap.split(
    imap.connectSchema.parse({ imap: { host, port: imapPort, security: "none", allowInsecure: true }, password: user.password }),
    user.email,
  );
  let connections = 0;
  const provider: MailProvider = imap.open(settings, credentials, {
    resolveHost: async (name) => ({ address: name, family: 4 }),
    roleOverrides: {},
    takeConnection: async () => {
      connections += 1;
      return () => {};
    },
  });
  const read = async (cursor: SyncCursor | undefined) => provider.pullChanges(inbox, cursor, { limit: 100 });
  let cursor = (await read(undefined)).cursor;
  await provider.yieldConnections();

  const control = new AbortController();
  const announced: string[] = [];
  let aliveCount = 0;
  const watching = provider.watch({
    scope: inbox,
    knownCursors: async () => new Map([[inbox.path, cursor]]),
    checkEveryMs: 60_000,
    onChange: (paths) => announced.push(...paths),
    onAlive: () => {
      aliveCount += 1;
    },
    signal: control.signal,
  });
  await until(() => aliveCount > 0, "the watch to begin");
  const stop = async () => {
    control.abort();
    await watching;
  };
  cleanUps.push(stop, () => provider.close());
  return {
    email: user.email,
    announced,
    stop,
    connectionsBefore: connections,
    connections: () => connections,
    /** Delivers, and waits until the watch has heard of it. */
    async deliver(n: number): Promise<void> {
      const before = announced.length;
      await deliver(user.email, mail(n));
      await until(() => announced.length > before, "the announcement");
    },
    /** What a look does that a wake asked for. */
    async readNews(): Promise<readonly (string | null)[]> {
      const page = await read(cursor);
      cursor = page.cursor;
      const texts = await provider.fetchTexts(inbox, page.added, { bytesMax: 4_096 });
      expect(texts.size).toBe(page.added.length);
      const [state] = await provider.checkScopes(new Map([[inbox.path, cursor]]));
      expect(state).toMatchObject({ path: "INBOX", changed: false, total: page.total, unseen: page.total });
      return page.added.map(({ envelope }) => envelope.subject);
    },
  };
}

function mail(n: number): string {
  return [
    "From: ann@sender.example",
    "To: bob@example.test",
    `Subject: Subject ${n}`,
    `Message-ID: <loan.${n}@sender.example>`,
    "Date: Mon, 02 Mar 2026 10:00:00 +0000",
    "",
    "Good morning.",
    "",
  ].join("\r\n");
}
