import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { openImapMailbox } from "./imap-mailbox.ts";
import { describeMailProvider } from "./mail-provider.contract.ts";

describeMailProvider({
  name: "the IMAP provider on Dovecot",
  newMailbox: async () => openImapMailbox({ port: dovecot().imapPort, ...(await createMailUser()) }),
});
