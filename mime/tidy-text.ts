/** Characters that take no room: newsletters put hundreds behind their preview line, others hide words with them. */
const invisible = /\u034f|[\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u206a-\u206f\ufeff]/g;

/** Text with its lines kept but its white space in order: no blanks at the ends of lines, no two blanks, no two empty lines in a row. */
export function tidyText(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(invisible, "")
    .replace(/[^\S\n]+/g, " ")
    .replace(/ ?\n ?/g, "\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}

/** Text in one line. */
export function collapseWhitespace(text: string): string {
  return text.replace(invisible, "").replace(/\s+/g, " ").trim();
}
