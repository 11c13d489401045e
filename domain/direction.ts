import { domainOf, normaliseAddress, withoutSubaddress } from "./address.ts";
import type { FolderRole } from "./folder.ts";
import type { Direction, Envelope, Flags } from "./message.ts";

/** Who the mailbox is: its address, further addresses of the same person, and domains all of whose addresses are its own. */
export interface Self {
  readonly email: string;
  readonly aliases: readonly string[];
  readonly ownDomains: readonly string[];
}

export function isSelf(self: Self, address: string): boolean {
  const plain = withoutSubaddress(address);
  if (plain === withoutSubaddress(self.email)) return true;
  if (self.aliases.some((alias) => withoutSubaddress(alias) === plain)) return true;
  return self.ownDomains.some((domain) => normaliseAddress(domain) === domainOf(address));
}

/** Whether both are written the same. */
export function isSameSelf(one: Self, other: Self): boolean {
  return JSON.stringify([one.email, one.aliases, one.ownDomains]) === JSON.stringify([other.email, other.aliases, other.ownDomains]);
}

/** The roles of folders that leave it to the sender which way a message went. */
export const rolesJudgedBySender: readonly FolderRole[] = ["archive", "all", "flagged", "important", "none"];

/**
 * Which way a message went. The folder decides where it says so; elsewhere the sender does, because people file what they sent and rules move what
 * they receive.
 */
export function directionOf(message: { envelope: Pick<Envelope, "from">; flags: Flags }, role: FolderRole, self: Self): Direction {
  if (role === "drafts" || message.flags.includes("draft")) return "draft";
  if (role === "junk") return "junk";
  if (role === "trash") return "trash";
  if (role === "sent") return "outgoing";
  if (role === "inbox") return "incoming";
  const sender = message.envelope.from[0]?.address;
  return sender !== undefined && isSelf(self, sender) ? "outgoing" : "incoming";
}
