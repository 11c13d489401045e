/** Text fit for PostgreSQL and JSON: no NUL (SQLSTATE 22021), no lone surrogates. Everything else stays as it is. */
export function storable(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  return wellFormed.includes("\u0000") ? wellFormed.replaceAll("\u0000", "") : wellFormed;
}
