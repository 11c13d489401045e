import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { catalogue, type MailboxEffect, type Retry } from "../domain/errors.ts";
import { apiProblems, problemTypes } from "./errors.ts";

const retries: Readonly<Record<Retry, string>> = {
  never: "not tried again by itself",
  backoff: "tried again with growing pauses",
  after: "tried again when the server allows it",
  few: "tried again a few times",
};

const effects: Readonly<Record<MailboxEffect, string>> = {
  none: "goes on",
  reconnect: "`error` at once; waits for its owner",
  degraded: "`error` when it lasts for five minutes; recovers by itself",
};

/** docs/errors.md, from the two catalogues: what an error means is written where it is thrown, and nowhere else. */
export function errorsDocument(): string {
  const mail = Object.entries(catalogue).map(([code, { retry, effect, http, title, cause, fix }]) => {
    const facts = [`HTTP ${http}`, retries[retry], `mailbox: ${effects[effect]}`];
    return [`### \`${code}\``, "", `**${title}.** ${cause}`, "", `Fix: ${fix}`, "", `${facts.join(" · ")}`, ""];
  });
  const api = Object.entries(apiProblems).map(
    ([code, { http, title, cause, fix }]) => `| ${http} | \`${code}\` | ${title} | ${cell(cause)} | ${cell(fix)} |`,
  );
  return [
    "# Errors",
    "",
    "Made by `npm run build` from `domain/errors.ts` and `api/errors.ts`; a change is made there.",
    "",
    "Every error answer is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `instance` (the request's id, under which the log has",
    "more), and of our own `code`, `cause`, `fix`, and `errors` with a JSON pointer for each fault of a request. Decide by `type` or `code`, never by text.",
    "",
    "## Mail",
    "",
    "What a mail server, a network or a mailbox's settings cause. The code stands in a mailbox's `problem`, in the event `mailbox.error`, in the report of a",
    "connection test, as the type of a failed activity, and in the search attribute `LastErrorType` of the mailbox's workflow. As an API answer its `type` is",
    `\`${problemTypes}mail/{code}\`. \`problem.serverSaid\` holds the server's own answer where it carries neither content nor secrets.`,
    "",
    ...mail.flat(),
    "## Requests",
    "",
    `What the API itself refuses. Its \`type\` is \`${problemTypes}{code}\`.`,
    "",
    "| HTTP | code | title | cause | fix |",
    "| --- | --- | --- | --- | --- |",
    ...api,
    "",
  ].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await writeFile(new URL("../docs/errors.md", import.meta.url), errorsDocument());
}
