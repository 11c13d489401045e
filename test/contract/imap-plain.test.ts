import { expect, test } from "vitest";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { openImapMailbox, withoutCapabilities } from "./imap-mailbox.ts";
import { describeMailProvider } from "./mail-provider.contract.ts";

const missing = ["CONDSTORE", "QRESYNC", "ENABLE", "ESEARCH", "LIST-STATUS", "LIST-EXTENDED", "IDLE", "UIDPLUS", "MOVE", "BINARY"];

const newMailbox = async () => openImapMailbox({ port: dovecot().imapPort, ...(await createMailUser()), fromServer: withoutCapabilities(missing) });

test("the server without extensions does lack them", async () => {
  const mailbox = await newMailbox();
  const { serverCapabilities } = await mailbox.open().verify();
  expect(serverCapabilities.filter((name) => missing.includes(name))).toEqual([]);
  await mailbox.close();
});

describeMailProvider({
  name: "the IMAP provider on a server with nothing but IMAP4rev1",
  skip: {
    "checks folders against their cursors and leaves out those that are gone":
      "without CONDSTORE, STATUS tells nothing of flags; the poll floor does",
  },
  newMailbox,
});
