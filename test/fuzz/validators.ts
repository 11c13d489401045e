import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { Described, Schema } from "./operations.ts";

export interface Validators {
  /** What is wrong with a value, for a person; undefined if nothing is. */
  faultOf(schema: Schema, value: unknown): string | undefined;
}

/** JSON Schema 2020-12 as everybody else reads it: Ajv knows nothing of zod, from which the schemas were made. */
export function createValidators({ components }: Described): Validators {
  const ajv = new Ajv2020({
    strictSchema: true,
    strictTypes: false,
    allErrors: false,
    formats: { "date-time": isInstant, uri: (text: string) => URL.canParse(text) },
  });
  ajv.addSchema({ $id: "document", $defs: relocate(components) });
  const compiled = new WeakMap<Schema, ValidateFunction>();
  return {
    faultOf(schema, value) {
      const validate = compiled.get(schema) ?? ajv.compile(relocate(schema) as object);
      compiled.set(schema, validate);
      if (validate(value)) return undefined;
      return ajv.errorsText(validate.errors, { dataVar: "value" });
    },
  };
}

/** RFC 3339 §5.6: with a zone, and a day that there is. Leap seconds are left to clocks that have them. */
function isInstant(text: string): boolean {
  const [, date = "", time = ""] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/.exec(text) ?? [];
  const instant = Date.parse(`${date}T${time}Z`);
  return !Number.isNaN(instant) && new Date(instant).toISOString().startsWith(`${date}T${time}`);
}

/** References lead to where Ajv knows the components from, wherever the schema stands. */
function relocate(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relocate);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [
      key,
      key === "$ref" && typeof member === "string" ? member.replace("#/components/schemas/", "document#/$defs/") : relocate(member),
    ]),
  );
}
