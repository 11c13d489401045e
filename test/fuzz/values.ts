import fc from "fast-check";
import type { Chance } from "../chaos/random.ts";
import { oddTexts, oddValues } from "./odd.ts";
import type { Described, Schema } from "./operations.ts";

export interface Values {
  /** A value that the schema allows, at its bounds more often than chance would have it. */
  valid(schema: Schema): unknown;
  /** A valid value with one thing wrong with it, and where (RFC 6901, as a URI fragment). */
  broken(schema: Schema): { readonly value: unknown; readonly pointer: string };
}

/** `ids` gives ids of things that are there, by prefix. */
export function createValues({ resolve }: Described, chance: Chance, ids: (prefix: string) => string): Values {
  const happens = (probability: number) => chance.next() < probability;

  function valid(given: Schema): unknown {
    const schema = resolve(given);
    if ("const" in schema) return schema.const;
    if (schema.enum !== undefined) return chance.pick(schema.enum);
    const branches = schema.anyOf ?? schema.oneOf;
    if (branches !== undefined) return valid(chance.pick(branches));
    switch (schema.type) {
      case "string":
        return text(schema);
      case "integer":
      case "number":
        return number(schema);
      case "boolean":
        return happens(0.5);
      case "null":
        return null;
      case "array":
        return Array.from({ length: count(schema) }, () => valid(schema.items ?? {}));
      case "object":
        return object(schema);
      default:
        return chance.pick([null, true, 7, "text", [], {}]);
    }
  }

  function object({ properties = {}, required = [], additionalProperties, propertyNames }: Schema): Record<string, unknown> {
    const value: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(properties)) if (required.includes(name) || happens(0.3)) value[name] = valid(member);
    if (typeof additionalProperties === "object" && propertyNames !== undefined && happens(0.5)) {
      value[String(valid(propertyNames))] = valid(additionalProperties);
    }
    return value;
  }

  function count({ minItems = 0, maxItems = 1_000 }: Schema): number {
    if (maxItems <= 300 && happens(0.05)) return maxItems;
    return Math.min(maxItems, minItems + chance.between(0, 3));
  }

  function number({ type, minimum = -1_000, maximum = 1_000 }: Schema): number {
    const [least, most] = [Math.max(minimum, Number.MIN_SAFE_INTEGER), Math.min(maximum, Number.MAX_SAFE_INTEGER)];
    const within = least + chance.next() * (most - least);
    return chance.pick([least, most, type === "integer" ? Math.floor(within) : within, Math.min(most, least + 1)]);
  }

  function text({ pattern, format, examples, minLength = 0, maxLength = 2_000 }: Schema): string {
    if (format === "date-time") return instant();
    if (format === "uri") return "https://example.com/";
    const prefix = pattern === undefined ? undefined : /^\^([a-z]{3})_\[/.exec(pattern)?.[1];
    if (prefix !== undefined) return ids(prefix);
    const fits = (candidate: string) => [...candidate].length >= minLength && candidate.length <= maxLength && isStorable(candidate);
    if (pattern !== undefined) {
      const found = [...(examples ?? []).map(String), ...matching(pattern)].filter(fits);
      if (found.length > 0) return chance.pick(found);
    }
    const plain = () =>
      chance.pick(["x", "hello", "Ann", "ännchen", "日本語", "שלום", "👩🏽‍🚀", "a".repeat(maxLength), "a".repeat(Math.max(minLength, 1))]);
    const candidate = happens(0.5) ? plain() : chance.pick(oddTexts);
    return fits(candidate) && candidate.trim() !== "" ? candidate : "x".repeat(Math.max(minLength, 1));
  }

  /** Texts that a pattern allows, made once for each. Patterns that fast-check cannot read are those of hosts. */
  function matching(pattern: string): readonly string[] {
    const known = samples.get(pattern);
    if (known !== undefined) return known;
    const made = sample(pattern, chance.between(1, 2 ** 30));
    samples.set(pattern, made);
    return made;
  }
  const samples = new Map<string, readonly string[]>();

  function instant(): string {
    const at = new Date(Date.UTC(2026, 0, 1) + chance.between(0, 400) * 86_400_000).toISOString();
    return chance.pick([at, at.replace("Z", "+02:00"), at.replace(/\.\d+Z/, "Z"), "2000-02-29T23:59:59Z", "1970-01-01T00:00:00Z"]);
  }

  function broken(schema: Schema): { readonly value: unknown; readonly pointer: string } {
    const value = valid(schema);
    const places = placesOf(resolve, schema, value);
    const place = chance.pick(places);
    const { wrong, at } = wrongFor(place.schema, place.value);
    return { value: replaced(value, place.path, wrong), pointer: pointerOf([...place.path, ...at]) };
  }

  /** Something that the schema of this place does not want. It may be fine all the same: who sends it asks the validator. */
  function wrongFor(given: Schema, value: unknown): { readonly wrong: unknown; readonly at: readonly string[] } {
    const schema = resolve(given);
    const here = (wrong: unknown) => ({ wrong, at: [] });
    const ways: (() => { readonly wrong: unknown; readonly at: readonly string[] })[] = [
      () => here(chance.pick(oddValues)),
      () => here(chance.pick(oddTexts)),
    ];
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      const key = chance.pick(["nonsense", "__proto__", "constructor", "prototype", "", "toString", "id", "customerId", "a/b~c", "\u202eevil"]);
      // Spread and literals would set the prototype instead of a member of that name.
      ways.push(() => ({ wrong: Object.fromEntries([...Object.entries(value), [key, chance.pick([1, { isAdmin: true }, null])]]), at: [key] }));
      const members = Object.keys(value).filter((name) => schema.required?.includes(name));
      if (members.length > 0) {
        const gone = chance.pick(members);
        ways.push(() => ({ wrong: Object.fromEntries(Object.entries(value).filter(([name]) => name !== gone)), at: [gone] }));
      }
    }
    if (schema.maximum !== undefined) ways.push(() => here((schema.maximum ?? 0) + 1));
    if (schema.minimum !== undefined) ways.push(() => here((schema.minimum ?? 0) - 1));
    if (schema.type === "integer") ways.push(() => here(chance.pick([0.5, 1e308, -0, 2 ** 53 + 2, "5", "NaN"])));
    if (schema.maxLength !== undefined) ways.push(() => here("a".repeat((schema.maxLength ?? 0) + 1)));
    if (schema.minLength !== undefined) ways.push(() => here("a".repeat((schema.minLength ?? 1) - 1)));
    if (schema.type === "array")
      ways.push(
        () => here({ 0: "array", length: 1 }),
        () => here([...(value as unknown[]), chance.pick(oddValues)]),
      );
    if (schema.maxItems !== undefined && schema.maxItems <= 1_000) {
      ways.push(() => here(Array.from({ length: (schema.maxItems ?? 0) + 1 }, () => valid(schema.items ?? {}))));
    }
    if (typeof value !== "object") ways.push(() => here([value]));
    return chance.pick(ways)();
  }

  return { valid, broken };
}

function sample(pattern: string, seed: number): readonly string[] {
  try {
    return fc.sample(fc.stringMatching(new RegExp(pattern, "u")), { numRuns: 20, seed });
  } catch {
    return ["127.0.0.1", "localhost", "::1", "mail.nowhere.invalid"].filter((host) => new RegExp(pattern, "u").test(host));
  }
}

/** What PostgreSQL cannot keep is refused everywhere, whatever a schema says. */
export function isStorable(text: string): boolean {
  return !text.includes("\0") && text.isWellFormed();
}

interface Place {
  readonly path: readonly string[];
  readonly schema: Schema;
  readonly value: unknown;
}

/** Every place within a value that its schema speaks of, from the whole of it down. */
function placesOf(resolve: Described["resolve"], given: Schema, value: unknown, path: readonly string[] = []): readonly Place[] {
  const schema = resolve(given);
  const here = { path, schema, value };
  if (Array.isArray(value))
    return [here, ...value.slice(0, 3).flatMap((item, index) => placesOf(resolve, schema.items ?? {}, item, [...path, String(index)]))];
  if (typeof value !== "object" || value === null) return [here];
  const branches = [...(schema.anyOf ?? schema.oneOf ?? []).map(resolve), schema];
  const properties: Readonly<Record<string, Schema>> = Object.assign({}, ...branches.map((branch) => branch.properties));
  return [here, ...Object.entries(value).flatMap(([name, member]) => placesOf(resolve, properties[name] ?? {}, member, [...path, name]))];
}

function replaced(value: unknown, path: readonly string[], wrong: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return wrong;
  if (Array.isArray(value)) return value.map((item, index) => (String(index) === step ? replaced(item, rest, wrong) : item));
  return Object.fromEntries(Object.entries(value as object).map(([name, member]) => [name, name === step ? replaced(member, rest, wrong) : member]));
}

export function pointerOf(path: readonly string[]): string {
  return ["#", ...path.map((step) => step.replaceAll("~", "~0").replaceAll("/", "~1"))].join("/");
}
