import { globSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** What went wrong in other mail products, and what must happen here instead. Tests name the rows that they prove: `[row 45]` at a title's end. */
interface FailureMode {
  readonly row: number;
  readonly failure: string;
  readonly instead: string;
  /** Why there is no test of it: what it is about does not exist here yet. */
  readonly absent?: string;
}

const noSending = "Everpost does not send mail yet";

/** A row belongs here when somebody's mail was lost, doubled or stuck by it. The numbers are names: they stay when rows are added or leave. */
const failureModes: Readonly<Record<string, readonly FailureMode[]>> = {
  Counting: [
    { row: 16, failure: "mail is missing while the account shows as active", instead: "counts are compared every day" },
    { row: 17, failure: "an error while listing is taken for an empty list, and everything is deleted", instead: "nothing is removed" },
    { row: 44, failure: "some mail is missing for months", instead: "counts are reconciled folder by folder" },
  ],
  IMAP: [
    { row: 20, failure: "Gmail over IMAP with All Mail hidden", instead: "a clear error that names the setting" },
    {
      row: 45,
      failure: "the cursor runs ahead of mail that was not fetched, which is then lost for ever",
      instead: "every UID is listed in the end",
    },
    { row: 46, failure: "a changed UIDVALIDITY fails the account", instead: "that folder alone is listed anew" },
    { row: 48, failure: "UIDVALIDITY changes without end", instead: "the folder stops, with the reason" },
    { row: 50, failure: "the last UID is taken from the number of messages", instead: "UIDs come from UIDs only" },
    { row: 52, failure: "HIGHESTMODSEQ without the text that should follow", instead: "parsed all the same" },
    { row: 54, failure: "`UID SEARCH ALL` is refused", instead: "the same question is put in other words" },
    { row: 55, failure: "a descending sequence set is answered BAD", instead: "sets ascend always" },
    { row: 56, failure: "servers say in several wordings that a folder is gone", instead: "the folder stops, the account goes on" },
    { row: 58, failure: "`[UNAVAILABLE]` for one UID", instead: "it is skipped, kept in a ledger and tried again" },
    { row: 59, failure: "IDLE is dead without a word", instead: "noticed within five minutes" },
    { row: 60, failure: "the connection ends after minutes in IDLE", instead: "connected anew, with jitter" },
    { row: 61, failure: "`* BYE` again and again and no tagged answer", instead: "hung up at the first BYE" },
    { row: 62, failure: "an error event that nobody listens to ends the process", instead: "listened to before connecting" },
    { row: 64, failure: "the limit of connections looks like a refused password", instead: "a pause, and fewer connections" },
    { row: 65, failure: "the sent folder has no flag and a local name", instead: "guessed by name, and settable" },
    { row: 66, failure: "special folders below the inbox are not recognised", instead: "names are read without the prefix" },
    { row: 67, failure: "APPEND fails after SMTP took the mail", instead: "sent, with a warning", absent: noSending },
    { row: 68, failure: "the provider had saved the sent copy already", instead: "looked for before APPEND", absent: noSending },
    { row: 69, failure: "a draft is written anew under another UID", instead: "the old one is removed", absent: noSending },
    { row: 70, failure: "a truncated SEARCH looks like deletions", instead: "a listing counts only if it is complete" },
    { row: 71, failure: "one folder's error is swallowed and its cursor kept", instead: "it shows on the folder" },
    { row: 73, failure: "polling by date loses longer outages", instead: "cursors do not" },
    { row: 74, failure: "one message is fetched for ever and never stored", instead: "a ledger that the API shows" },
    { row: 75, failure: "a read timeout leaves the job dead until a restart", instead: "deadlines and retries" },
    { row: 76, failure: "an empty password, TLS off by default", instead: "refused by name; TLS on" },
    { row: 77, failure: "folder names that are not ASCII", instead: "they make the round trip" },
  ],
  Content: [
    { row: 78, failure: "a NUL in the subject stops the sync", instead: "stripped" },
    { row: 79, failure: "invalid UTF-8 in a name aborts the transaction", instead: "replaced, and marked" },
    { row: 80, failure: "no Message-ID", instead: "kept" },
    { row: 82, failure: "a Date that is missing, wrong or in the future", instead: "the time of receipt counts" },
    { row: 83, failure: "an inner multipart that is closed too early", instead: "parsed as far as it goes" },
    { row: 85, failure: "file names that break RFC 2231", instead: "a file name all the same" },
    { row: 87, failure: "message/rfc822 without a body", instead: "no throw" },
    { row: 88, failure: "Content-Disposition found as a substring", instead: "the token counts" },
    { row: 89, failure: "no From, no To", instead: "nothing is invented, nothing crashes" },
    { row: 90, failure: "content ids of inline pictures are lost", instead: "kept" },
    { row: 91, failure: "mail that cannot be decoded is dropped", instead: "saved, and marked" },
    { row: 92, failure: "HTML mail runs in somebody's browser", instead: "sanitised, and never served as a page" },
  ],
  Webhooks: [
    { row: 107, failure: "the event is removed before the status was looked at", instead: "removed on 2xx only" },
    { row: 108, failure: "the target's name points elsewhere after the check", instead: "the checked address is the one that is used" },
  ],
};

const root = fileURLToPath(new URL("..", import.meta.url));

/** A test's title and the file that it stands in. */
interface Proof {
  readonly title: string;
  readonly file: string;
}

/** docs/failure-modes.md, from the rows above and the titles of the tests that name them. */
export function failureModesDocument(): { readonly page: string; readonly unproved: readonly number[]; readonly unknown: readonly number[] } {
  const proofs = findProofs();
  const all = Object.values(failureModes).flat();
  const known = new Set(all.map(({ row }) => row));
  return {
    page: [
      "# Failure modes",
      "",
      "Made by `npm run build` from `tools/failure-modes.ts` and the titles of the tests; a change is made there.",
      "",
      "What went wrong in other mail products, what must happen here instead, and the tests that say so.",
      "",
      ...Object.entries(failureModes).flatMap(([area, rows]) => [`## ${area}`, "", ...table(rows, proofs), ""]),
    ].join("\n"),
    unproved: all.filter(({ row, absent }) => absent === undefined && !proofs.has(row)).map(({ row }) => row),
    unknown: [...proofs.keys()].filter((row) => !known.has(row)),
  };
}

function table(rows: readonly FailureMode[], proofs: ReadonlyMap<number, readonly Proof[]>): readonly string[] {
  const lines = rows.map(({ row, failure, instead, absent }) => {
    const tests = (proofs.get(row) ?? []).map(({ title, file }) => `${title} ([${file.split("/").at(-1)}](../${file}))`);
    return `| ${row} | ${failure} | ${instead} | ${cell(tests.length > 0 ? tests.join("<br>") : (absent ?? "**none**"))} |`;
  });
  return ["| row | what went wrong | what happens here | tests |", "| --- | --- | --- | --- |", ...lines];
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** `[row 45]`, or `[row 45] [row 46]` for a test that proves both. */
const marker = /\[row (\d+)\]/g;
/** A title as it stands in the source, in any of the three quotes. */
const titles = /(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)/g;
/** What a group of tests is about: their titles go on from there. */
const groups = /^( *)describe\b.*?(["'`])(.*?)\2,/gm;

function findProofs(): ReadonlyMap<number, readonly Proof[]> {
  const proofs = new Map<number, Proof[]>();
  for (const file of globSync("test/**/*.ts", { cwd: root }).sort()) {
    const text = readFileSync(new URL(`../${file}`, import.meta.url), "utf8");
    for (const { 0: quoted, index } of text.matchAll(titles)) {
      for (const [, row] of quoted.matchAll(marker)) {
        const title = [...groupsAround(text, index), quoted.slice(1, -1)].join(" ").replace(marker, "").replace(/\s+/g, " ").trim();
        proofs.set(Number(row), [...(proofs.get(Number(row)) ?? []), { title, file }]);
      }
    }
  }
  return proofs;
}

/** Titles of the groups that a place in a file lies in, outermost first, as far as indentation tells. */
function groupsAround(text: string, index: number): readonly string[] {
  const indentOf = (at: number) => /^ */.exec(text.slice(text.lastIndexOf("\n", at - 1) + 1))?.[0].length ?? 0;
  const around: { indent: number; title: string }[] = [];
  for (const match of text.slice(0, index).matchAll(groups)) {
    const [, indent = "", , title = ""] = match;
    while ((around.at(-1)?.indent ?? -1) >= indent.length) around.pop();
    around.push({ indent: indent.length, title });
  }
  return around.filter(({ indent }) => indent < indentOf(index)).map(({ title }) => title);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(new URL("../docs/failure-modes.md", import.meta.url), failureModesDocument().page);
}
