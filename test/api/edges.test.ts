import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, startApi } from "./api.ts";

let api: Api;
let key: string;
beforeAll(async () => {
  api = await startApi();
  key = (await api.newCustomer()).key;
});
afterAll(() => api[Symbol.asyncDispose]());

const farOff = ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00"];

test.each(farOff)("an instant that PostgreSQL cannot keep is refused by name: %s", async (instant) => {
  for (const path of ["/v1/messages", "/v1/threads", "/v1/contacts/ann@example.com/messages"]) {
    for (const name of ["receivedFrom", "receivedBefore"]) {
      const { status, body } = await api.call("GET", `${path}?${new URLSearchParams({ [name]: instant })}`, { key });
      expect([status, body.errors?.[0]?.pointer]).toEqual([400, `#/${name}`]);
    }
  }
  const body = { name: "far off", expiresAt: instant };
  expect((await api.call("POST", "/v1/access-keys", { key, body })).body.errors?.[0]?.pointer).toBe("#/expiresAt");
});

test("instants at the ends of what can be kept are taken", async () => {
  for (const instant of ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"]) {
    expect((await api.call("GET", `/v1/messages?receivedFrom=${instant}`, { key })).status).toBe(200);
  }
});

test("an answer is whole whatever the client says that it has already", async () => {
  for (const headers of [{ "If-None-Match": "*" }, { "If-None-Match": '"x"' }, { "If-Modified-Since": new Date().toUTCString() }]) {
    const { status, body } = await api.call("GET", "/v1/whoami", { key, headers });
    expect([status, body.role]).toEqual([200, "customer"]);
  }
  const refused = await api.call("GET", "/v1/messages/msg_1CbWqaK3zvYyZ9rNbX1pQ4", { key, headers: { "If-None-Match": "*" } });
  expect([refused.status, refused.body.code]).toEqual([404, "not_found"]);
});

test.each(["0x10", "1e2", "", " 5", "+5", "5.0", "\u0665"])(
  "a limit is decimal digits and nothing that a number could be made of: %j",
  async (limit) => {
    const { status, body } = await api.call("GET", `/v1/messages?${new URLSearchParams({ limit })}`, { key });
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, "#/limit"]);
  },
);
