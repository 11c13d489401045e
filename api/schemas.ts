import { z } from "zod";
import type { Page, PageCursor, PageRequest } from "../db/pages.ts";
import { type Id, type IdKind, idPrefixes, isId } from "../domain/ids.ts";
import { invalid } from "./errors.ts";

export function idPattern(kind: IdKind): string {
  return `^${idPrefixes[kind]}_[1-9A-HJ-NP-Za-km-z]{10,40}$`;
}

/** An id of this kind. One of another shape is a fault of the request. */
export function idSchema<Kind extends IdKind>(kind: Kind): z.ZodType<Id<Kind>, Id<Kind>> {
  return z
    .string()
    .regex(new RegExp(idPattern(kind)), `an id that begins with ${idPrefixes[kind]}_`)
    .meta({ examples: [`${idPrefixes[kind]}_1CbWqaK3zvYyZ9rNbX1pQ4`] }) as unknown as z.ZodType<Id<Kind>, Id<Kind>>;
}

/** A name that people give. Judged as it is sent, and kept without white space around it. */
export const nameSchema = z.string().max(200).regex(/\S/, "not only white space").trim();

/** Some of these names, by comma. */
export function namesSchema<Name extends string>(names: readonly Name[]) {
  const name = `(?:${names.map((text) => text.replaceAll(".", "\\.")).join("|")})`;
  return z
    .string()
    .regex(new RegExp(`^ *${name}(?: *, *${name})* *$`), `some of ${names.join(", ")}, by comma`)
    .transform((text) => {
      const wanted = text.split(",").map((part) => part.trim());
      return names.filter((known) => wanted.includes(known));
    });
}

/** `{id}` of a path. */
export function idParams<Kind extends IdKind>(kind: Kind) {
  return z.strictObject({ id: idSchema(kind) });
}

/** An instant with its zone (RFC 3339), kept in UTC. */
export const instantSchema = z.iso
  .datetime({ offset: true })
  .refine((text) => isKept(new Date(text)), "an instant between the years 1 and 9999")
  .transform((text) => new Date(text).toISOString());

/** PostgreSQL knows no year 0, and years of five digits are written otherwise there. An offset may lead into either. */
function isKept(instant: Date): boolean {
  const year = instant.getUTCFullYear();
  return year >= 1 && year <= 9_999;
}

/** An instant as responses carry it: UTC. */
export const instantOut = z.iso.datetime();

/**
 * How many rows at most, in decimal digits: `Number` would take `0x10`, `1e2` and nothing at all as well, and the document says that this is an integer.
 */
export function pageLimit(max: number, preset: number) {
  const digits = z.string().refine((text) => /^\d{1,9}$/.test(text), "a whole number");
  const limit = digits.transform(Number).pipe(z.number().min(1).max(max)).default(preset);
  return limit.meta({ type: "integer", minimum: 1, maximum: max });
}

/** The two members of every listing's query; spread them into its strict object. */
export const pageQuery = {
  limit: pageLimit(200, 50).describe("How many at most."),
  cursor: z.string().max(500).optional().describe("Where to go on: `nextCursor` of the page before."),
};

/** A page of a listing. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.strictObject({
    data: z.array(item),
    nextCursor: z.string().nullable().describe("Send it as `cursor` for the next page; null on the last one."),
  });
}

/** The page that a query asks for. `listing` names the listing, so that a cursor of another one is refused instead of misread. */
export function toPageRequest(listing: string, query: { readonly limit: number; readonly cursor?: string | undefined }): PageRequest {
  return { limit: query.limit, after: query.cursor === undefined ? undefined : decodeCursor(listing, query.cursor) };
}

/** The response's form of a page. */
export function toPageBody<Row, Item>(listing: string, page: Page<Row>, toItem: (row: Row) => Item): { data: Item[]; nextCursor: string | null } {
  return { data: page.rows.map(toItem), nextCursor: page.next === undefined ? null : encodeCursor(listing, page.next) };
}

function encodeCursor(listing: string, { at, id }: PageCursor): string {
  return Buffer.from(JSON.stringify([listing, at, id])).toString("base64url");
}

const cursorSchema = z.tuple([z.string(), z.string().refine(isTimestamp), z.string().max(60)]);

/** An instant as PostgreSQL writes it, and one that it takes: it refuses the year 0, 30 February and an offset of 16 hours, which Date.parse does not. */
function isTimestamp(text: string): boolean {
  const [, date = "", time = "", hours = "", minutes = "0"] =
    /^([12]\d{3}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d{1,6})?[+-](\d\d)(?::(\d\d))?$/.exec(text) ?? [];
  const instant = Date.parse(`${date}T${time}Z`);
  return !Number.isNaN(instant) && new Date(instant).toISOString().startsWith(`${date}T${time}`) && Number(hours) < 16 && Number(minutes) < 60;
}

function decodeCursor(listing: string, text: string): PageCursor {
  const parsed = cursorSchema.safeParse(parseJson(Buffer.from(text, "base64url").toString()));
  const wellFormed = parsed.success && parsed.data[0] === listing && isAnyId(parsed.data[2]);
  if (!wellFormed) throw invalid({ in: "query", pointer: "#/cursor", detail: "not a cursor of this listing; leave it out to begin anew" });
  return { at: parsed.data[1], id: parsed.data[2] };
}

function isAnyId(text: string): boolean {
  return (Object.keys(idPrefixes) as IdKind[]).some((kind) => isId(kind, text));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
