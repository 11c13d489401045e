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
