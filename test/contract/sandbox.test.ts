import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSandbox } from "../../sandbox/server.ts";
import { openImapMailbox } from "./imap-mailbox.ts";
import { type Backend, describeMailProvider } from "./mail-provider.contract.ts";
import { describeMailWrites } from "./writes.contract.ts";

const backend: Backend = {
  name: "the IMAP provider on the sandbox",
  skip: { "reads folders whose names hold what LIST takes for wildcards": "the sandbox lets nobody make such folders, as RFC 9051 §5.1 allows" },
  async newMailbox() {
    const dataDir = mkdtempSync(join(tmpdir(), "everpost-contract-"));
    const account = { email: "alex@sandbox.everpost.test", password: randomBytes(9).toString("hex") };
    const sandbox = await startSandbox({ dataDir, accounts: [account], withSamples: false });
    const mailbox = await openImapMailbox({ port: sandbox.imapPort, ...account });
    return {
      ...mailbox,
      async close() {
        await mailbox.close();
        await sandbox.stop();
        rmSync(dataDir, { recursive: true, force: true });
      },
    };
  },
};

describeMailProvider(backend);
describeMailWrites(backend);
