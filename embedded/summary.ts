import { join } from "node:path";
import type { Keys, SandboxAccount } from "./first-run.ts";
import type { StartSettings } from "./settings.ts";

export interface Summary {
  readonly settings: StartSettings;
  readonly apiUrl: string;
  readonly temporal: { readonly address: string; readonly source: string; readonly uiUrl: string | undefined };
  readonly keys: Keys;
  readonly sandbox: (SandboxAccount & { readonly mailboxId: string }) | undefined;
}

/** What whoever typed `npm start` sees once everything runs. */
export function summary({ settings, apiUrl, temporal, keys, sandbox }: Summary): string {
  const auth = `-H "Authorization: Bearer $(cat ${join(settings.dataDirShown, "customer-key")})"`;
  const facts: [string, string][] = [
    ["API", `${apiUrl}/v1`],
    ["API docs", `${apiUrl}/docs`],
    ["Temporal UI", temporal.uiUrl ?? `that of your cluster at ${temporal.address}`],
    ["Temporal server", temporal.source],
    ["Administrator key", `${keys.administrator}  (kept in ${join(settings.dataDirShown, "administrator-key")})`],
    ["Data, logs", `${settings.dataDirShown}, ${join(settings.dataDirShown, "logs")}`],
  ];
  if (sandbox !== undefined) facts.splice(4, 0, ["Sandbox mailbox", `${sandbox.email}, connected as ${sandbox.mailboxId}`]);
  const tries: [string, string][] =
    sandbox === undefined
      ? [
          ["who am I", `curl -s ${auth} ${apiUrl}/v1/mailboxes`],
          ["which providers have presets", `curl -s ${auth} ${apiUrl}/v1/presets`],
          ["what has happened", `curl -s ${auth} ${apiUrl}/v1/events`],
        ]
      : [
          ["the mailbox, syncing", `curl -s ${auth} ${apiUrl}/v1/mailboxes/${sandbox.mailboxId}`],
          ["its messages", `curl -s ${auth} "${apiUrl}/v1/messages?mailboxId=${sandbox.mailboxId}&limit=5"`],
          [
            "send it a mail, then ask for the event",
            `printf 'From: me@example.com\\nTo: ${sandbox.email}\\nSubject: Hello\\n\\nHi!\\n' | curl -s smtp://127.0.0.1:${sandbox.smtpPort} --mail-from me@example.com --mail-rcpt ${sandbox.email} -T - && sleep 1 && curl -s ${auth} ${apiUrl}/v1/events`,
          ],
        ];
  return [
    "",
    "Everpost is running.",
    "",
    ...facts.map(([name, value]) => `  ${name.padEnd(18)} ${value}`),
    "",
    "Try, in another terminal:",
    ...tries.flatMap(([what, command]) => ["", `  # ${what}`, `  ${command}`]),
    "",
    "Kill any part if you like: it comes back, and no mail is lost or told twice. Ctrl-C stops everything.",
    "",
  ].join("\n");
}
