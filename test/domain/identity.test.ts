import { describe, expect, it } from "vitest";
import { identityOf } from "../../domain/identity.ts";
import type { RemoteMessage } from "../../domain/message.ts";

const message: RemoteMessage = {
  ref: "1",
  stableId: null,
  providerThreadId: null,
  envelope: {
    messageId: "<1@x>",
    inReplyTo: null,
    references: [],
    subject: "Hello",
    from: [{ name: "Ann", address: "Ann@x.test" }],
    replyTo: [],
    to: [{ name: "", address: "bob@x.test" }],
    cc: [],
    bcc: [],
    sentAt: "2026-03-02T10:00:00.000Z",
  },
  flags: [],
  sizeBytes: 100,
  receivedAt: "2026-03-02T10:00:01.000Z",
  attachments: [],
  textPart: null,
  traits: [],
  defects: [],
  recipientsTotal: null,
};
const other = (changes: Partial<RemoteMessage>, envelope: Partial<RemoteMessage["envelope"]> = {}): RemoteMessage => ({
  ...message,
  ...changes,
  envelope: { ...message.envelope, ...envelope },
});
const anonymous = (changes: Partial<RemoteMessage> = {}, envelope: Partial<RemoteMessage["envelope"]> = {}) =>
  other(changes, { messageId: null, ...envelope });

describe("two listings are one message", () => {
  it.each([
    [
      "in another folder, with other flags, received elsewhere",
      other({ ref: "9", flags: ["seen"], receivedAt: "2027-01-01T00:00:00.000Z", sizeBytes: 7 }),
    ],
    ["with the sender spelled in another case", other({}, { from: [{ name: "A", address: "ann@X.test" }] })],
  ])("%s", (_title, copy) => expect(identityOf(copy)).toBe(identityOf(message)));

  it("by the provider's own id, whatever else differs", () => {
    expect(identityOf(other({ stableId: "g1" }, { messageId: "<2@x>" }))).toBe(identityOf(other({ stableId: "g1" })));
  });

  it("without a Message-ID when all that a copy keeps agrees", () => {
    expect(identityOf(anonymous({ ref: "9", flags: ["seen"] }))).toBe(identityOf(anonymous()));
  });
});

describe("two listings are two messages", () => {
  it.each([
    ["one Message-ID, two dates", message, other({}, { sentAt: "2026-03-03T10:00:00.000Z" })],
    ["one Message-ID, two senders", message, other({}, { from: [{ name: "", address: "eve@x.test" }] })],
    ["two provider ids", other({ stableId: "g1" }), other({ stableId: "g2" })],
    ["no Message-ID, two subjects", anonymous(), anonymous({}, { subject: "Other" })],
    ["no Message-ID, two sizes", anonymous(), anonymous({ sizeBytes: 101 })],
    ["no Message-ID, two recipients", anonymous(), anonymous({}, { to: [] })],
    ["a Message-ID and none", message, anonymous()],
  ])("%s", (_title, one, two) => expect(identityOf(one)).not.toBe(identityOf(two)));
});
