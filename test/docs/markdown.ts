/** The text below a heading of the second level, up to the next one. */
export function sectionOf(page: string, title: string): string {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${title}\n`));
  if (section === undefined) throw new Error(`the page has no section "${title}"`);
  return section;
}

/** The body rows of the tables in a text, cell by cell. */
export function rowsOf(text: string): readonly (readonly string[])[] {
  const rows = text
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
  return rows.filter((row, index) => !isRule(row) && !isRule(rows[index + 1]));
}

function isRule(row: readonly string[] | undefined): boolean {
  return row?.every((cell) => /^:?-+:?$/.test(cell)) ?? false;
}
