import type { Route } from "../../api/route.ts";
import type { Answer, Api } from "./api.ts";
import type { Collection, Things } from "./things.ts";

/** Bodies that pass the schema, by operation; a POST, PUT or PATCH with a required body must stand here. */
export const bodies: Readonly<Record<string, unknown>> = {
  connectMailbox: { provider: "memory", email: "ann@example.com", mailbox: "x" },
  testConnection: { provider: "memory", email: "ann@example.com", mailbox: "x" },
  autodetect: { email: "ann@example.com" },
  actOnMessages: { ids: ["msg_1CbWqaK3zvYyZ9rNbX1pQ4"], action: { type: "setFlags", add: ["seen"] } },
  createFolder: { path: "New" },
  renameFolder: { path: "New" },
  changeMessage: { flags: { add: ["seen"] } },
  createCustomer: { name: "x" },
  createAccessKey: { name: "x" },
  createWebhookEndpoint: { url: "https://example.com/hook" },
  replayWebhookEvents: { eventId: "evt_1CbWqaK3zvYyZ9rNbX1pQ4" },
};

export const isGuarded = ({ auth }: Route): boolean => !("public" in auth);
export const isForCustomers = ({ auth }: Route): boolean => "scope" in auth;
/** A listing by an address, which is nobody's thing: one that no mail of the caller's names has an empty page. */
const isByAddress = ({ path }: Route): boolean => path.includes("{address}");
export const isById = (route: Route): boolean => isForCustomers(route) && route.path.includes("{") && !isByAddress(route);
export const isListing = (route: Route): boolean =>
  isForCustomers(route) && route.method === "get" && (!route.path.includes("{") || isByAddress(route)) && route.contentType === undefined;

export interface CallSettings {
  readonly change?: (id: string) => string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Calls the operation about these things, with a body that is good enough unless one is given. */
export async function callRoute(api: Api, route: Route, key: string | undefined, things: Things, settings: CallSettings = {}): Promise<Answer> {
  const { headers = {}, query = {}, change } = settings;
  const body = "body" in settings ? settings.body : bodies[route.operationId];
  if (body === undefined && route.body !== undefined && !route.body.safeParse({}).success) {
    throw new Error(`give ${route.operationId} a body in ${import.meta.filename}`);
  }
  const search = new URLSearchParams(query).toString();
  return api.call(route.method, `${pathOf(route, things, change)}${search === "" ? "" : `?${search}`}`, { key, body, headers });
}

export function pathOf(route: Route, things: Things, change: (id: string) => string = (id) => id): string {
  return route.path.replaceAll(/([\w-]+)\/\{\w+\}/g, (_match, collection: string) => {
    if (collection === "contacts") return "contacts/bob@example.net";
    const id = collection === "customers" ? "cus_1CbWqaK3zvYyZ9rNbX1pQ4" : things[collection as Collection];
    if (id === undefined) throw new Error(`make one of ${collection} in things.ts for ${route.operationId}`);
    return `${collection}/${change(id)}`;
  });
}

export function idsOf(things: Things): RegExp {
  return new RegExp(Object.values(things).join("|"));
}
