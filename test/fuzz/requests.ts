import type { Caller, Sent } from "./judge.ts";
import { oddBodies, oddTexts } from "./odd.ts";
import type { Described, Operation, Parameter } from "./operations.ts";
import { destructive, type Ingredients, type Kitchen, recipes } from "./recipes.ts";
import type { Validators } from "./validators.ts";
import { createValues, isStorable } from "./values.ts";
import type { RawAnswer, RawRequest } from "./wire.ts";

export interface Shot {
  readonly sent: Sent;
  readonly raw: RawRequest;
}

export interface Requests {
  /** A request that should come through. */
  good(operation: Operation): Promise<Shot>;
  /** A request of any kind. */
  any(operation: Operation): Promise<Shot>;
  /** Tells what was answered, for repetitions under the same key. */
  answered(shot: Shot, answer: RawAnswer): void;
}

/** A request before it is bytes. */
interface Draft {
  params: Record<string, string>;
  query: (readonly [string, string])[];
  headers: (readonly [string, string])[];
  /** Undefined sends none. */
  body: unknown;
  broken?: Sent["broken"];
}

const remembered = 30;

export function createRequests(described: Described, validators: Validators, callers: readonly Caller[], kitchen: Kitchen): Requests {
  const { chance, pool } = kitchen;
  const values = createValues(described, chance, (prefix) => pool.any(prefix));
  const happens = (probability: number) => chance.next() < probability;
  const [customer] = callers;
  const administrator = callers.find(({ role, customer: forWhom }) => role === "administrator" && forWhom === undefined);
  if (customer === undefined || administrator === undefined) throw new Error("a customer and an administrator have to be among the callers");
  /** Requests that were carried out under a key. */
  const past: { readonly shot: Shot; readonly answer: RawAnswer }[] = [];

  const usual = ({ auth }: Operation) => ("role" in auth ? administrator : customer);

  async function draft(operation: Operation, followsRecipe: boolean): Promise<Draft> {
    const recipe = recipes[operation.id];
    const given: Ingredients = followsRecipe && recipe !== undefined ? await recipe(kitchen) : {};
    const made: Draft = { params: {}, query: [], headers: [], body: undefined };
    for (const parameter of operation.parameters) {
      const { name } = parameter;
      if (parameter.in === "path") made.params[name] = given.params?.[name] ?? pathValue(operation, parameter);
      if (parameter.in === "query") {
        const value = given.query?.[name] ?? (!followsRecipe && happens(0.25) ? queryValue(operation, parameter) : undefined);
        if (value !== undefined) made.query.push([name, value]);
      }
    }
    if ("body" in given) made.body = given.body;
    else if (operation.body !== undefined)
      made.body = operation.example !== undefined && followsRecipe ? operation.example : values.valid(operation.body);
    return made;
  }

  function pathValue(operation: Operation, { schema }: Parameter): string {
    const prefix = /^\^([a-z]{3})_\[/.exec(schema.pattern ?? "")?.[1];
    if (prefix === undefined || destructive[operation.id] !== prefix) return String(values.valid(schema));
    return pool.loose(prefix) ?? pool.invented(prefix);
  }

  function queryValue(operation: Operation, { name, schema }: Parameter): string {
    const cursor =
      name === "cursor" || name === "after" ? pool.cursor(happens(0.9) ? operation.id : chance.pick(described.operations).id) : undefined;
    return cursor ?? String(values.valid(schema));
  }

  function breakSomething(operation: Operation, made: Draft): void {
    const ways: (() => void)[] = [];
    if (operation.body !== undefined) {
      const schema = operation.body;
      const breakBody = () => {
        const { value, pointer } = values.broken(schema);
        made.body = value;
        made.broken = { in: "body", pointer };
      };
      ways.push(breakBody, breakBody, breakBody, breakBody);
    } else {
      ways.push(() => {
        made.body = chance.pick([{ nonsense: 1 }, [], 7, "text", null]);
        made.broken = { in: "body", pointer: "#" };
      });
    }
    for (const { name, in: place } of operation.parameters) {
      if (place === "path") {
        ways.push(() => {
          const text = chance.pick(oddTexts);
          made.params[name] = happens(0.3) ? flipped(made.params[name] ?? "") : text;
          made.broken = { in: "path", pointer: `#/${name}` };
        });
      }
      if (place === "query") {
        ways.push(() => {
          made.query = [...made.query.filter(([other]) => other !== name), [name, chance.pick(oddTexts)]];
          made.broken = { in: "query", pointer: `#/${name}` };
        });
      }
    }
    ways.push(() => {
      const name = chance.pick(["nonsense", "__proto__", "limit[]", "a.b", "constructor", "Limit", "cursor "]);
      made.query = [...made.query, [name, "1"]];
      made.broken = { in: "query", pointer: `#/${name}` };
    });
    ways.push(() => {
      const [name, value] = made.query[0] ?? ["limit", "1"];
      made.query = [...made.query, [name, value], [name, chance.pick(oddTexts)]];
      made.broken = { in: "query", pointer: `#/${name}` };
    });
    const headers = operation.parameters.filter((parameter) => parameter.in === "header");
    if (headers.length > 0) {
      ways.push(() => {
        const { name } = chance.pick(headers);
        made.headers = [[name, headerText(chance.pick(oddTexts))]];
        made.broken = { in: "header", pointer: `#/${name}` };
      });
    }
    chance.pick(ways)();
  }

  function flipped(id: string): string {
    return chance.pick([
      id.toUpperCase(),
      `${id}0`,
      id.slice(0, -1),
      `${id} `,
      id.replace("_", "-"),
      `key${id.slice(3)}`,
      `${id}${"1".repeat(40)}`,
      `${id}\u200b`,
    ]);
  }

  /** What HTTP lets into a header. */
  function headerText(text: string): string {
    return Buffer.from(text.replaceAll(/\p{Cc}/gu, "").slice(0, 2_000), "utf8").toString("latin1");
  }

  const oddHeaders: readonly (readonly [string, string])[] = [
    ["Accept", "text/html"],
    ["Accept", "application/xml;q=0.9, */*;q=nonsense"],
    ["Accept", ""],
    ["Accept-Encoding", "br, gzip, nonsense"],
    ["Accept-Language", "tlh, *;q=0"],
    ["If-Match", '"nothing"'],
    ["If-None-Match", "*"],
    ["If-Modified-Since", "yesterday"],
    ["Range", "bytes=0-3"],
    ["Range", "bytes=999999999-"],
    ["Range", "bytes=-5"],
    ["Range", "bytes=5-2,0-0"],
    ["Range", "lines=1-2"],
    ["X-Request-Id", "\xe9".repeat(50)],
    ["X-Request-Id", "a".repeat(5_000)],
    ["X-Forwarded-For", "127.0.0.1, ::1, <script>"],
    ["X-Forwarded-Host", "evil.example"],
    ["X-HTTP-Method-Override", "DELETE"],
    ["Last-Event-ID", "nonsense"],
    ["Last-Event-ID", "0"],
    ["Origin", "https://evil.example"],
    ["Cookie", "a=b; ".repeat(200)],
    ["Prefer", "respond-async"],
    ["TE", "trailers"],
    ["Upgrade", "h2c"],
  ];

  function toShot(operation: Operation, caller: Caller, made: Draft): Shot {
    const path = operation.path.replaceAll(/\{(\w+)\}/g, (_match, name: string) => encodeURIComponent((made.params[name] ?? "").toWellFormed()));
    const query = made.query.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value.toWellFormed())}`).join("&");
    const json = made.body === undefined ? undefined : JSON.stringify(made.body);
    const raw: RawRequest = {
      method: operation.method.toUpperCase(),
      target: query === "" ? path : `${path}?${query}`,
      headers: [...callerHeaders(caller), ...(json === undefined ? [] : [["Content-Type", "application/json"] as const]), ...made.headers],
      body: json === undefined ? undefined : Buffer.from(json),
    };
    const told = describe(operation, caller, raw);
    if (told.operation === undefined) return { raw, sent: told };
    return { raw, sent: { ...told, fault: faultOf(operation, made), broken: made.broken } };
  }

  function describe(operation: Operation | undefined, caller: Caller, raw: RawRequest): Sent {
    const text = `${decoded(raw.target)} ${raw.target} ${raw.headers.flat().join(" ")} ${raw.body?.toString() ?? ""}`;
    // An empty segment, or one that is resolved away, leads elsewhere or nowhere.
    const isThere = operation !== undefined && matches(operation.path, raw.target);
    return { operation: isThere ? operation : undefined, method: raw.method, caller, fault: "unknown", broken: undefined, text };
  }

  /** What the document says of a request: its fault, undefined for none, "unknown" where what is sent is another thing than what was meant. */
  function faultOf(operation: Operation, { params, query, headers, body }: Draft): Sent["fault"] {
    for (const { name, in: place, schema } of operation.parameters) {
      if (place === "path") {
        const value = params[name] ?? "";
        if (!value.isWellFormed()) return "unknown";
        const fault = validators.faultOf(schema, value);
        if (fault !== undefined) return `path ${name}: ${fault}`;
      }
    }
    const seen = new Set<string>();
    for (const [name, value] of query) {
      const parameter = operation.parameters.find((candidate) => candidate.in === "query" && candidate.name === name);
      if (parameter === undefined) return `query ${name} is not documented`;
      if (seen.has(name)) return `query ${name} is there twice`;
      seen.add(name);
      if (isUnclear(value)) return "unknown";
      const isNumber = parameter.schema.type === "integer" && /^-?(0|[1-9]\d*)$/.test(value);
      const fault = validators.faultOf(parameter.schema, isNumber ? Number(value) : value);
      if (fault !== undefined) return `query ${name}: ${fault}`;
    }
    for (const [name, value] of headers) {
      const parameter = operation.parameters.find((candidate) => candidate.in === "header" && candidate.name === name);
      const fault = parameter === undefined ? undefined : validators.faultOf(parameter.schema, value.trim());
      if (fault !== undefined) return `header ${name}: ${fault}`;
    }
    if (isUnclear(body)) return "unknown";
    if (operation.body === undefined) return body === undefined || JSON.stringify(body) === "{}" ? undefined : "a body where none is documented";
    const fault = validators.faultOf(operation.body, body === undefined ? {} : JSON.parse(JSON.stringify(body)));
    return fault === undefined ? undefined : `body ${fault}`;
  }

  return {
    async good(operation) {
      return toShot(operation, usual(operation), await draft(operation, true));
    },

    async any(operation) {
      const caller = happens(0.85) ? usual(operation) : chance.pick(callers);
      const roll = chance.next();
      const made = await draft(operation, roll < 0.3 || happens(0.3));
      const key = `key-${chance.between(1, 2 ** 40)}`;
      if (roll < 0.5) {
        if (operation.method === "post" && happens(0.3)) made.headers = [["Idempotency-Key", key]];
        return toShot(operation, caller, made);
      }
      if (roll < 0.82) {
        breakSomething(operation, made);
        return toShot(operation, caller, made);
      }
      if (roll < 0.88) return oddBody(operation, caller, made);
      if (roll < 0.93) {
        made.headers = [chance.pick(oddHeaders), ...(happens(0.3) ? [chance.pick(oddHeaders)] : [])];
        const shot = toShot(operation, caller, made);
        // A range, or a place in a stream, may be refused.
        return { ...shot, sent: { ...shot.sent, fault: "unknown" } };
      }
      if (roll < 0.96) return repeated(operation) ?? toShot(operation, caller, made);
      return oddTransport(operation, caller, made);
    },

    answered(shot, answer) {
      const { operation, replayOf } = shot.sent;
      // What is refused before it is served is judged anew each time.
      const isKept = answer.status < 300 && replayOf === undefined;
      if (!isKept || operation?.method !== "post" || !shot.raw.headers.some(([name]) => name === "Idempotency-Key")) return;
      past.push({ shot, answer });
      if (past.length > remembered) past.shift();
    },
  };

  function oddBody(operation: Operation, caller: Caller, made: Draft): Shot {
    const { name: _name, body, headers = [], ...odd } = chance.pick(oddBodies);
    const type = "type" in odd ? odd.type : "application/json";
    const shot = toShot(operation, caller, made);
    const json = shot.raw.body?.toString() ?? "{}";
    const raw = {
      ...shot.raw,
      headers: [...callerHeaders(caller), ...(type === undefined ? [] : [["Content-Type", type] as const]), ...headers],
      body: body(json),
    };
    return { raw, sent: describe(operation, caller, raw) };
  }

  /** The same request again, or another one under its key. */
  function repeated(operation: Operation): Shot | undefined {
    const found = past.findLast(({ shot }) => shot.sent.operation?.id === operation.id);
    if (found === undefined) return undefined;
    const { shot, answer } = found;
    if (happens(0.6)) return { ...shot, sent: { ...shot.sent, replayOf: answer } };
    const body = Buffer.from(JSON.stringify({ another: chance.between(1, 1e9) }));
    const raw = {
      ...shot.raw,
      body,
      headers: [...shot.raw.headers.filter(([name]) => name !== "Content-Type"), ["Content-Type", "application/json"] as const],
    };
    return { raw, sent: { ...describe(operation, shot.sent.caller, raw), replayOf: "another request" } };
  }

  /** Paths, methods and headers as no client library would send them. */
  function oddTransport(operation: Operation, caller: Caller, made: Draft): Shot {
    const shot = toShot(operation, caller, made);
    const [path = "", query] = shot.raw.target.split("?");
    const withTarget = (target: string) => ({ ...shot.raw, target });
    const withHeaders = (...headers: (readonly [string, string])[]) => ({
      ...shot.raw,
      headers: [...headers, ...shot.raw.headers.slice(caller.key === undefined ? 0 : 1)],
    });
    const authorisations = [
      "Bearer",
      "Bearer ",
      "Basic YTpi",
      `bearer  ${caller.key}`,
      `Bearer ${caller.key} x`,
      `Token ${caller.key}`,
      "\xe9\xff",
      "Bearer null",
      `Bearer ${"a".repeat(4_000)}`,
    ];
    const ways: (() => Shot)[] = [
      () => unknownPlace(withTarget(`${path}%zz${query === undefined ? "" : `?${query}`}`), caller),
      () => unknownPlace(withTarget(`${path}%c0%af`), caller),
      () => unknownPlace(withTarget(`${path}/`), caller),
      () => unknownPlace(withTarget(`/${path}`), caller),
      () => unknownPlace(withTarget(path.toUpperCase()), caller),
      () => unknownPlace(withTarget(`${path}/../../healthz`), caller),
      () => unknownPlace(withTarget(`${path};a=b`), caller),
      () => unknownPlace(withTarget(`http://evil.example${path}`), caller),
      () => unknownPlace({ ...shot.raw, method: chance.pick(["PUT", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "M-SEARCH"]) }, caller),
      () => asSent(withTarget(`${path}?${query ?? ""}&%zz=%c3%28&=&a=%00`), operation, caller),
      () => asSent(withTarget(`${path}?limit[$gt]=1&limit=&limit=2`), operation, caller),
      () => asSent(withTarget(`${path}?${"a=1&".repeat(1_500)}`), operation, caller),
      () => unknownPlace(withTarget(`${path}?\xe9=\xff`), caller),
      () => asSent(withHeaders(["Authorization", chance.pick(authorisations)]), operation, caller, "unknown key"),
      () => asSent({ ...shot.raw, headers: [...shot.raw.headers, ["Idempotency-Key", "a"], ["Idempotency-Key", "b"]] }, operation, caller),
      () =>
        asSent(
          { ...shot.raw, headers: [...shot.raw.headers, ["Everpost-Customer", "a"], ["Everpost-Customer", "b"]] },
          operation,
          caller,
          "unknown key",
        ),
      () => asSent({ ...shot.raw, headers: [...shot.raw.headers, ["Expect", "100-continue"]] }, operation, caller),
      () => ({
        raw: { ...shot.raw, method: shot.raw.method === "GET" ? "HEAD" : shot.raw.method },
        sent: { ...shot.sent, method: shot.raw.method === "GET" ? "HEAD" : shot.raw.method },
      }),
    ];
    return chance.pick(ways)();
  }

  /** A request to the operation, of which the document says nothing certain. */
  function asSent(raw: RawRequest, operation: Operation, caller: Caller, note?: "unknown key"): Shot {
    const sent = describe(operation, caller, raw);
    // Which of two headers counts, or what is left of a broken one, is not for the fuzz to know.
    return { raw, sent: note === undefined ? sent : { ...sent, caller: { ...caller, role: "unclear" } } };
  }

  /** A request that may lead to any operation, or none. */
  function unknownPlace(raw: RawRequest, caller: Caller): Shot {
    return { raw, sent: describe(undefined, caller, raw) };
  }
}

function callerHeaders({ key, customer }: Caller): readonly (readonly [string, string])[] {
  return [
    ...(key === undefined ? [] : [["Authorization", `Bearer ${key}`] as const]),
    ...(customer === undefined ? [] : [["Everpost-Customer", customer] as const]),
  ];
}

/** Lengths are counted in UTF-16 units, and by JSON Schema in characters: what lies between the two is for nobody to say. NUL is refused as such. */
function isUnclear(value: unknown): boolean {
  if (typeof value === "string") return !isStorable(value) || (value.length > 50 && [...value].length !== value.length);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, member]) => isUnclear(key) || isUnclear(member));
}

function decoded(target: string): string {
  try {
    return decodeURIComponent(target);
  } catch {
    return target;
  }
}

function matches(path: string, target: string): boolean {
  const [given = ""] = target.split("?");
  const segments = given.split("/");
  return path.split("/").length === segments.length && segments.slice(1).every((segment) => !["", ".", ".."].includes(segment));
}
