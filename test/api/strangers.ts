import { sql } from "kysely";
import type { Commands } from "../../api/commands.ts";
import type { Route } from "../../api/route.ts";
import { type KeyScope, keyScopes } from "../../domain/access.ts";
import type { CustomerId } from "../../domain/ids.ts";
import { chanceOf } from "../chaos/random.ts";
import { describeOperations, type Operation } from "../fuzz/operations.ts";
import { createValues } from "../fuzz/values.ts";
import { type Answer, type Api, startApi } from "./api.ts";
import { type CallSettings, callRoute, idsOf, isById, isForCustomers, isGuarded, isListing } from "./calls.ts";
import { makeThings, type Things } from "./things.ts";

/** Two customers who own two of everything. */
export interface House extends AsyncDisposable {
  readonly api: Api;
  readonly routes: readonly Route[];
  readonly ann: Tenant;
  readonly bob: Tenant;
}

export interface Tenant {
  readonly id: CustomerId;
  readonly key: string;
  readonly things: Things;
  /** Of another mailbox of the same customer's. */
  readonly otherThings: Things;
}

/** What every route owes to those who may not call it. */
export interface Check {
  readonly title: string;
  readonly concerns: (route: Route) => boolean;
  /** What is wrong, for a person; empty if nothing is. */
  readonly faults: (house: House, route: Route) => Promise<readonly string[]>;
}

export async function openHouse(routes: readonly Route[]): Promise<House> {
  // Nothing here may get as far as Temporal: whatever does is answered 500.
  const none = new Proxy({} as Commands, {
    get: (_target, name) => async () => {
      throw new Error(`${String(name)} was reached`);
    },
  });
  const api = await startApi({ commands: () => none, routes });
  const [ann, bob] = [await api.newCustomer("Ann"), await api.newCustomer("Bob")];
  const settle = async (tenant: typeof ann): Promise<Tenant> => {
    const [things, otherThings] = [await makeThings(api, tenant.id), await makeThings(api, tenant.id)];
    return { ...tenant, things, otherThings };
  };
  return {
    api,
    routes,
    ann: await settle(ann),
    bob: await settle(bob),
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  };
}

/** The only routes that need no key, and the only ones that need a key but no scope. A new one has to be argued for here. */
const publicPaths: readonly string[] = ["/healthz", "/readyz"];
const scopelessPaths: readonly string[] = ["/v1/whoami"];

const scopeOf = ({ auth }: Route): KeyScope | null => ("scope" in auth ? auth.scope : null);
const isOpenToMailboxKeys = ({ auth }: Route) => "scope" in auth && auth.openToMailboxKeys === true;
const everyRoute = () => true;

export const checks: readonly Check[] = [
  {
    title: "is open to everybody, or without a scope, only where that is meant",
    concerns: everyRoute,
    async faults(_house, route) {
      const { auth, path } = route;
      if ("public" in auth && !publicPaths.includes(path)) return [`${path} is public`];
      return "scope" in auth && auth.scope === null && !scopelessPaths.includes(path) ? [`${path} needs no scope`] : [];
    },
  },
  {
    title: "refuses a stranger",
    concerns: isGuarded,
    async faults({ api, ann }, route) {
      const answers = await inTurn([undefined, "evp_nonsense", `evp_${"1".repeat(50)}`], (key) => callRoute(api, route, key, ann.things));
      return answers.flatMap((answer) => [
        ...unlike(answer, 401, "unauthorized"),
        ...(answer.headers.get("WWW-Authenticate")?.startsWith("Bearer") === true ? [] : ["does not say how to authenticate"]),
      ]);
    },
  },
  {
    title: "refuses a key that is expired or revoked",
    concerns: isGuarded,
    async faults({ api, ann }, route) {
      const expired = await api.newKey({ customerId: ann.id, expiresAt: new Date(Date.now() - 1_000).toISOString() });
      const revoked = await api.newKey({ customerId: ann.id, name: "revoked" });
      const ofIt = api.db.updateTable("access_keys").set({ revoked_at: new Date() }).where("prefix", "=", revoked.slice(0, 10));
      await ofIt.where("name", "=", "revoked").execute();
      const answers = await inTurn([expired, revoked], (key) => callRoute(api, route, key, ann.things));
      return answers.flatMap((answer) => unlike(answer, 401, "unauthorized"));
    },
  },
  {
    title: "refuses customers where it is for administrators",
    concerns: ({ auth }) => "role" in auth,
    faults: async ({ api, ann }, route) => unlike(await callRoute(api, route, ann.key, ann.things), 403, "administrator_only"),
  },
  {
    title: "refuses a key with every scope but its own",
    concerns: (route) => isForCustomers(route) && scopeOf(route) !== null,
    async faults({ api, ann }, route) {
      const key = await api.newKey({ customerId: ann.id, scopes: keyScopes.filter((scope) => scope !== scopeOf(route)) });
      const answer = await callRoute(api, route, key, ann.things);
      const isNamed = String(answer.body.detail).includes(String(scopeOf(route)));
      return [...unlike(answer, 403, "forbidden_scope"), ...(isNamed ? [] : ["does not name the scope"])];
    },
  },
  {
    title: "knows nothing of another customer's things",
    concerns: isById,
    async faults({ api, ann, bob }, route) {
      const answer = await callRoute(api, route, ann.key, bob.things);
      const absent = await callRoute(api, route, ann.key, bob.things, { change: (id) => `${id.slice(0, -4)}1111` });
      const isTold = JSON.stringify({ ...absent.body, instance: "" }) !== JSON.stringify({ ...answer.body, instance: "" });
      return [...unlike(answer, 404, "not_found"), ...(isTold ? ["what is another's is not answered as what is not there"] : [])];
    },
  },
  {
    title: "serves an administrator for the named customer only",
    concerns: isById,
    async faults({ api, ann, bob }, route) {
      const headers = { "Everpost-Customer": ann.id };
      return unlike(await callRoute(api, route, api.adminKey, bob.things, { headers }), 404, "not_found");
    },
  },
  {
    title: "does not let a customer act for another",
    concerns: isForCustomers,
    async faults({ api, ann, bob }, route) {
      const headers = { "Everpost-Customer": bob.id };
      return unlike(await callRoute(api, route, ann.key, bob.things, { headers }), 404, "not_found");
    },
  },
  {
    title: "refuses a key that is bound to a mailbox unless it keeps to that mailbox",
    concerns: (route) => isForCustomers(route) && !isOpenToMailboxKeys(route),
    async faults({ api, ann }, route) {
      const key = await api.newKey({ customerId: ann.id, mailboxId: ann.things.mailboxes });
      return unlike(await callRoute(api, route, key, ann.things), 403, "mailbox_key_refused");
    },
  },
  {
    title: "keeps a key that is bound to a mailbox from the next one",
    concerns: (route) => isById(route) && isOpenToMailboxKeys(route),
    async faults({ api, ann }, route) {
      const key = await api.newKey({ customerId: ann.id, mailboxId: ann.things.mailboxes });
      return unlike(await callRoute(api, route, key, ann.otherThings), 404, "not_found");
    },
  },
  {
    title: "lists the caller's things and nobody else's",
    concerns: isListing,
    async faults({ api, ann, bob }, route) {
      const own = await callRoute(api, route, ann.key, ann.things);
      const faults = [...unlike(own, 200), ...shown(own, secretsOf(bob))];
      if (!isOpenToMailboxKeys(route)) return faults;
      const bound = await api.newKey({ customerId: ann.id, mailboxId: ann.things.mailboxes });
      const narrow = await callRoute(api, route, bound, ann.things);
      return [...faults, ...unlike(narrow, 200), ...shown(narrow, idsOf(ann.otherThings))];
    },
  },
  {
    title: "finds nothing by another's ids in its query",
    concerns: (route) => isForCustomers(route) && route.query !== undefined && route.contentType === undefined,
    async faults(house, route) {
      const texts = parametersOf(house, route).filter(
        ({ enum: names, type, format }) => type === "string" && names === undefined && format === undefined,
      );
      const queries = texts.flatMap(({ name }) => foreignIds(house, route).map((id) => ({ [name]: id })));
      return asAnn(
        house,
        route,
        queries.map((query) => ({ query })),
      );
    },
  },
  {
    title: "does nothing to another's things by their ids in its body",
    concerns: (route) => isForCustomers(route) && route.body !== undefined,
    async faults(house, route) {
      const operation = operationOf(house, route);
      if (operation.body === undefined) return ["takes a body that the document does not tell of"];
      const ids = Object.values(house.bob.things) as string[];
      const values = createValues(
        describeOperations(house.routes),
        chanceOf(1),
        (prefix) => ids.find((id) => id.startsWith(`${prefix}_`)) ?? `${prefix}_1111111111111111111111`,
      );
      const { body: schema } = operation;
      const bodies = Array.from({ length: 60 }, () => values.valid(schema)).filter((body) => idsOf(house.bob.things).test(JSON.stringify(body)));
      const before = await tellTale(house);
      const faults = await asAnn(
        house,
        route,
        bodies.map((body) => ({ body })),
      );
      return (await tellTale(house)) === before ? faults : [...faults, "changed another customer's rows"];
    },
  },
  {
    title: "does not go on at another's cursor among another's rows",
    concerns: (route) => isListing(route) && route.query !== undefined,
    async faults(house, route) {
      const { api, ann, bob } = house;
      const name = parametersOf(house, route).find((parameter) => ["cursor", "after"].includes(parameter.name))?.name;
      if (name === undefined) return [];
      const theirs = await callRoute(api, route, bob.key, bob.things, { query: { limit: "1" } });
      const cursor: unknown = theirs.body.nextCursor;
      if (typeof cursor !== "string") return ["gave the other customer no cursor to try"];
      const answer = await callRoute(api, route, ann.key, ann.things, { query: { [name]: cursor } });
      return [...(answer.status === 200 || answer.status === 400 ? [] : unlike(answer, 200)), ...shown(answer, secretsOf(bob))];
    },
  },
];

function parametersOf(house: House, route: Route) {
  return operationOf(house, route)
    .parameters.filter((parameter) => parameter.in === "query")
    .map(({ name, schema }) => ({ name, ...schema }));
}

function operationOf({ routes }: House, route: Route): Operation {
  const operation = describeOperations(routes).operations.find(({ id }) => id === route.operationId);
  if (operation === undefined) throw new Error(`the document does not tell of ${route.operationId}`);
  return operation;
}

function foreignIds({ bob }: House, _route: Route): readonly string[] {
  return [bob.id, ...Object.values(bob.things)];
}

/** Calls as Ann about her own things, with something of Bob's in each request; says where his things came to light. */
async function asAnn(house: House, route: Route, calls: readonly CallSettings[]): Promise<readonly string[]> {
  const { api, ann, bob } = house;
  const answers = await inTurn(calls, async (settings) => ({ settings, answer: await callRoute(api, route, ann.key, ann.things, settings) }));
  return answers.flatMap(({ settings, answer }) => {
    const sent = JSON.stringify(settings);
    // What was sent may be named again; what was not is Bob's secret.
    const unsent = secretsOf(bob, sent);
    const rows: unknown = answer.body?.data;
    const found =
      settings.query !== undefined && Array.isArray(rows) && rows.length > 0 && isFilteredBy(house, settings.query, rows) ? ["found rows"] : [];
    return [...(answer.status >= 500 ? [`${answer.status} to ${sent}`] : []), ...shown(answer, unsent), ...found];
  });
}

/** A row that names what was asked for is one of Bob's, whatever else it hides. */
function isFilteredBy({ bob }: House, query: Readonly<Record<string, string>>, rows: readonly unknown[]): boolean {
  const wanted = Object.values(query).filter((value) => value === bob.id || Object.values(bob.things).includes(value));
  return wanted.some((id) => JSON.stringify(rows).includes(id));
}

/** Changes when anything of Bob's does. */
async function tellTale({ api, bob }: House): Promise<string> {
  const tables = [
    "mailboxes",
    "credentials",
    "folders",
    "messages",
    "threads",
    "message_locations",
    "events",
    "webhook_endpoints",
    "webhook_deliveries",
    "message_actions",
  ];
  const digests = await inTurn(tables, async (table) => {
    const { rows } = await sql<{ digest: string | null }>`
      select md5(string_agg(t::text, '|' order by t::text)) as digest from ${sql.table(table)} as t where customer_id = ${bob.id}`.execute(api.db);
    return rows[0]?.digest;
  });
  return digests.join();
}

/** What nobody else may be shown: the ids of everything of this customer's, but for those in `sent`. */
function secretsOf({ things, otherThings }: Tenant, sent = ""): RegExp {
  const ids = [things, otherThings].flatMap(({ attachments: _part, ...named }) => Object.values(named));
  return new RegExp(ids.filter((id) => !sent.includes(id)).join("|"));
}

function unlike(answer: Answer, status: number, code?: string): readonly string[] {
  const isLike = answer.status === status && (code === undefined || answer.body.code === code);
  return isLike ? [] : [`answered ${answer.status} ${answer.body?.code ?? ""} instead of ${status} ${code ?? ""}`];
}

function shown(answer: Answer, secret: RegExp): readonly string[] {
  const found = secret.exec(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body))?.[0];
  return found === undefined || found === "" ? [] : [`showed ${found}`];
}

async function inTurn<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}
