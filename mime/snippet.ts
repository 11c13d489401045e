import { collapseWhitespace } from "./tidy-text.ts";

/** About what a list of messages shows beside the subject. */
const snippetLengthMax = 200;
/** A word longer than this is cut rather than left out. */
const wordLengthMax = 40;

/** The beginning of a text in one line of about 200 characters, ending at a word. */
export function makeSnippet(text: string): string {
  const line = collapseWhitespace(text.slice(0, snippetLengthMax * 20));
  const characters = Array.from(line.slice(0, snippetLengthMax * 4));
  if (characters.length <= snippetLengthMax && line.length <= snippetLengthMax * 4) return line;
  const cut = characters.slice(0, snippetLengthMax - 1).join("");
  const lastBlank = cut.lastIndexOf(" ");
  return `${(lastBlank >= cut.length - wordLengthMax ? cut.slice(0, lastBlank) : cut).trimEnd()}…`;
}
