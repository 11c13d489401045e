import { expect, test } from "vitest";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { openImapMailbox, withoutCapabilities } from "./imap-mailbox.ts";
import { describeMailWrites } from "./writes.contract.ts";

const openWith = async (fromServer?: (bytes: Buffer) => Buffer) =>
  openImapMailbox({ port: dovecot().imapPort, ...(await createMailUser()), ...(fromServer === undefined ? {} : { fromServer }) });

describeMailWrites({ name: "the IMAP provider on Dovecot", newMailbox: () => openWith() });

const withoutMove = withoutCapabilities(["MOVE"]);
describeMailWrites({ name: "the IMAP provider on a server without MOVE", newMailbox: () => openWith(withoutMove) });

const bare = withoutCapabilities(["MOVE", "UIDPLUS", "CONDSTORE", "QRESYNC", "ENABLE", "ESEARCH"]);
const withoutCopyUid = (bytes: Buffer) => Buffer.from(bytes.toString("latin1").replace(/\[COPYUID [^\]]*\] /g, ""), "latin1");
describeMailWrites({
  name: "the IMAP provider on a server without MOVE and UIDPLUS",
  isSilentAboutNewRefs: true,
  newMailbox: () => openWith((bytes) => withoutCopyUid(bare(bytes))),
});

/** Asks for a copy at a server that says something else than it does. */
async function copyAt(fromServer: (text: string) => string) {
  const mailbox = await openWith((bytes) => Buffer.from(fromServer(bytes.toString("latin1")), "latin1"));
  try {
    const ref = await mailbox.append("INBOX", { subject: "one" });
    const provider = mailbox.open();
    const { cursor } = await provider.pullChanges({ path: "INBOX" }, undefined, { limit: 10 });
    const message = { ref, messageId: "<x@example.test>", sizeBytes: 1, receivedAt: "2026-11-21T00:00:00.000Z" };
    const target = { path: "Archive", mark: await provider.markFolder("Archive"), isRepeat: false };
    return await provider.copy({ path: "INBOX", cursor }, [message], target).then((results) => results.get(ref));
  } finally {
    await mailbox.close();
  }
}

test.each([
  ["[OVERQUOTA] Quota exceeded", "quota_exceeded"],
  ["[NOPERM] Access denied", "permission_denied"],
  ["[CANNOT] Not in this folder", "write_refused"],
  ["[TRYCREATE] Mailbox doesn't exist", "not_found"],
])("tells why a server refused: %s", async (said, code) => {
  const result = await copyAt((text) => text.replace(/^(\S+) OK \[COPYUID [^\r]*/m, `$1 NO ${said}`));
  expect(result).toMatchObject({ state: "refused", error: { code } });
});

test("refuses to write to a folder that the server opens for reading only", async () => {
  await expect(copyAt((text) => text.replace("[READ-WRITE]", "[READ-ONLY]"))).rejects.toMatchObject({ code: "read_only_folder" });
});
