import { createTransport } from "nodemailer";
import { inject } from "vitest";
import { claimUser } from "./dovecot-server.ts";

export interface DovecotAddress {
  readonly host: string;
  readonly imapPort: number;
  readonly imapsPort: number;
  readonly lmtpPort: number;
  readonly caFile: string;
}

/** The IMAP server that all tests share: use mail users of your own. */
export function dovecot(): DovecotAddress {
  const { dir: _, ...address } = inject("dovecot");
  return address;
}

/** A fresh user with empty INBOX, Drafts, Sent, Trash, Junk and Archive. */
export async function createMailUser(): Promise<{ readonly email: string; readonly password: string }> {
  return claimUser(inject("dovecot").dir);
}

/** Delivers a message as it stands into a user's INBOX, as a mail server would: over LMTP. */
export async function deliver(email: string, rfc822: string | Buffer): Promise<void> {
  await deliverTo(inject("dovecot").lmtpPort, email, rfc822);
}

/** The same for a Dovecot of your own. */
export async function deliverTo(lmtpPort: number, email: string, rfc822: string | Buffer): Promise<void> {
  const transport = createTransport({ host: "127.0.0.1", port: lmtpPort, lmtp: true, ignoreTLS: true, secure: false });
  try {
    await transport.sendMail({ envelope: { from: "sender@example.test", to: [email] }, raw: rfc822 });
  } finally {
    transport.close();
  }
}
