import { simpleParser } from "mailparser";

export interface ParsedSource {
  readonly text: string;
  readonly isTruncated: boolean;
}

/** Runs on a thread of mime/parse-source.ts. */
export default async function parse(task: { readonly source: Uint8Array; readonly charactersMax: number }): Promise<ParsedSource> {
  const { text = "" } = await simpleParser(Buffer.from(task.source), { skipHtmlToText: false, skipTextToHtml: true, skipImageLinks: true });
  // PostgreSQL takes no NUL in a text (SQLSTATE 22021), and JSON no half of a surrogate pair.
  const clean = text.replaceAll("\0", "").toWellFormed();
  return { text: clean.slice(0, task.charactersMax), isTruncated: clean.length > task.charactersMax };
}
