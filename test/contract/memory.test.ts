import { randomUUID } from "node:crypto";
import { MailError } from "../../domain/errors.ts";
import { memory } from "../../providers/memory/index.ts";
import { dropMemoryMailbox, memoryMailbox, type NewMessage } from "../../providers/memory/store.ts";
import type { MailProvider } from "../../providers/provider.ts";
import { type Backend, describeMailProvider, type TestMessage } from "./mail-provider.contract.ts";
import { describeMailWrites } from "./writes.contract.ts";

const backend: Backend = {
  name: "the memory provider",
  async newMailbox() {
    const name = `${randomUUID()}@memory.test`;
    const mailbox = memoryMailbox(name);
    const opened: MailProvider[] = [];
    return {
      open({ password } = {}) {
        const { settings, credentials } = memory.split({ mailbox: name, ...(password === undefined ? {} : { password }) }, name);
        const provider = memory.open(settings, credentials, { resolveHost: () => Promise.reject(new Error("there is no host")), roleOverrides: {} });
        opened.push(provider);
        return provider;
      },
      append: async (path, message) => String(mailbox.append(path, toNewMessage(message))),
      async appendMany(path, messages) {
        for (const message of messages) mailbox.append(path, toNewMessage(message));
      },
      setFlags: async (path, ref, flags) => mailbox.setFlags(path, Number(ref), flags),
      expunge: async (path, refs) => mailbox.expunge(path, refs.map(Number)),
      createFolder: async (path) => mailbox.createFolder(path),
      deleteFolder: async (path) => mailbox.deleteFolder(path),
      async disappear() {
        mailbox.failure = new MailError("unavailable", { doing: "asking a server that is gone" });
      },
      async close() {
        await Promise.all(opened.map((provider) => provider.close()));
        dropMemoryMailbox(name);
      },
    };
  },
};

describeMailProvider(backend);
describeMailWrites(backend);

function toNewMessage({ subject = "", messageId, text, flags, attachment }: TestMessage): NewMessage {
  return {
    envelope: { subject, messageId: messageId ?? null },
    ...(text === undefined ? {} : { text }),
    ...(flags === undefined ? {} : { flags }),
    ...(attachment === undefined ? {} : { parts: { 2: attachment.content } }),
  };
}
