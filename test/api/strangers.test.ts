import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { type Route, route } from "../../api/route.ts";
import { routes } from "../../api/routes/index.ts";
import { idParams, idSchema, pageOf, pageQuery, toPageBody, toPageRequest } from "../../api/schemas.ts";
import { listAccessKeys } from "../../db/access-keys.ts";
import { checks, type House, openHouse } from "./strangers.ts";
import { makeThings } from "./things.ts";

let house: House;
beforeAll(async () => {
  house = await openHouse(routes);
});
afterAll(() => house?.[Symbol.asyncDispose]());

describe.each(checks)("every route $title", (check) => {
  test.each(routes.filter(check.concerns).map((one) => [one.operationId, one] as const))("%s", async (_name, one) => {
    expect(await check.faults(house, one)).toEqual([]);
  });
});

test("a stream shows the caller's events only, also behind another's Last-Event-ID", async () => {
  const { api, ann, bob } = house;
  const theirs = await api.call("GET", "/v1/events?limit=1", { key: bob.key });
  const aborting = new AbortController();
  const headers = { Authorization: `Bearer ${ann.key}`, "Last-Event-ID": String(theirs.body.nextCursor) };
  const response = await fetch(`${api.url}/v1/events/stream`, { headers, signal: aborting.signal });
  const later = { bob: await makeThings(api, bob.id), ann: await makeThings(api, ann.id) };
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes(later.ann.events)) break;
  }
  aborting.abort();
  expect(text).toContain(later.ann.events);
  for (const id of [...Object.values(later.bob), ...Object.values(bob.things)]) expect(text).not.toContain(id);
});

describe("a new route fails the build", () => {
  const auth = { scope: "mailboxes:read", openToMailboxKeys: true } as const;
  const basics = { method: "get", summary: "A route", tags: ["New"], auth } as const;
  const anything = z.record(z.string(), z.unknown());
  const rowsOf = z.strictObject({ data: z.array(anything), nextCursor: z.null() });

  /** Each forgets one thing. */
  const careless: readonly (readonly [string, Route])[] = [
    [
      "knows nothing of another customer's things",
      route(
        { ...basics, path: "/v1/mailboxes/{id}/peek", operationId: "peek", params: idParams("mailbox"), response: anything },
        async ({ params, deps }) => deps.db.selectFrom("mailboxes").select("email").where("id", "=", params.id).executeTakeFirstOrThrow(),
      ),
    ],
    [
      "keeps a key that is bound to a mailbox from the next one",
      route(
        { ...basics, path: "/v1/mailboxes/{id}/label", operationId: "label", params: idParams("mailbox"), response: anything },
        async ({ params, deps, scope }) =>
          deps.db
            .selectFrom("mailboxes")
            .select("email")
            .where("id", "=", params.id)
            .where("customer_id", "=", scope.customerId)
            .executeTakeFirstOrThrow(),
      ),
    ],
    [
      "lists the caller's things and nobody else's",
      route({ ...basics, path: "/v1/labels", operationId: "listLabels", response: rowsOf }, async ({ deps }) => ({
        data: await deps.db.selectFrom("mailboxes").select("id").execute(),
        nextCursor: null,
      })),
    ],
    [
      "finds nothing by another's ids in its query",
      route(
        {
          ...basics,
          path: "/v1/labels",
          operationId: "listLabels",
          query: z.strictObject({ mailboxId: idSchema("mailbox").optional() }),
          response: rowsOf,
        },
        async ({ query, deps, db }) => ({
          data: await (query.mailboxId === undefined ? db : deps.db)
            .selectFrom("folders")
            .selectAll()
            .where("mailbox_id", "=", query.mailboxId ?? "mbx_1111111111111111111111")
            .execute(),
          nextCursor: null,
        }),
      ),
    ],
    [
      "does nothing to another's things by their ids in its body",
      route(
        { ...basics, method: "post", path: "/v1/labels", operationId: "addLabel", body: z.strictObject({ mailboxId: idSchema("mailbox") }) },
        async ({ body, deps, audit }) => {
          await deps.db.updateTable("mailboxes").set({ display_name: "mine" }).where("id", "=", body.mailboxId).execute();
          await audit(deps.db, { action: "label.added", target: body.mailboxId });
          return undefined;
        },
      ),
    ],
    [
      "does not go on at another's cursor among another's rows",
      route(
        { ...basics, path: "/v1/labels", operationId: "listLabels", query: z.strictObject(pageQuery), response: pageOf(anything) },
        async ({ query, deps, scope }) => {
          const { customer_id: owner } =
            query.cursor === undefined
              ? { customer_id: scope.customerId }
              : await deps.db.selectFrom("access_keys").select("customer_id").where("id", "=", cursorId(query.cursor)).executeTakeFirstOrThrow();
          return toPageBody("labels", await listAccessKeys(deps.db, owner, toPageRequest("labels", query)), ({ id }) => ({ id }));
        },
      ),
    ],
    [
      "is open to everybody, or without a scope, only where that is meant",
      route({ ...basics, path: "/v1/labels", operationId: "listLabels", auth: { scope: null }, response: rowsOf }, async () => ({
        data: [],
        nextCursor: null,
      })),
    ],
    [
      "is open to everybody, or without a scope, only where that is meant",
      route({ ...basics, path: "/status", operationId: "getStatus", auth: { public: true }, response: anything }, async () => ({})),
    ],
  ];

  test.each(careless)("because it does not hold that it %s", async (title, one) => {
    await using own = await openHouse([...routes, one]);
    const check = checks.find((candidate) => candidate.title === title);
    expect(check?.concerns(one)).toBe(true);
    expect(await check?.faults(own, one)).not.toEqual([]);
  });

  test("because nobody has said what a thing of its kind is", async () => {
    const one = route(
      { ...basics, path: "/v1/labels/{id}", operationId: "getLabel", params: idParams("mailbox"), response: anything },
      async () => ({}),
    );
    await using own = await openHouse([...routes, one]);
    const check = checks.find(({ title }) => title === "knows nothing of another customer's things");
    await expect(check?.faults(own, one)).rejects.toThrow("make one of labels in things.ts");
  });

  function cursorId(cursor: string): `key_${string}` {
    const [, , id] = JSON.parse(Buffer.from(cursor, "base64url").toString()) as readonly string[];
    return id as `key_${string}`;
  }
});
