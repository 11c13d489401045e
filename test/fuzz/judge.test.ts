import { expect, test } from "vitest";
import { apiProblems, problemTypes } from "../../api/errors.ts";
import { createJudge, everyScope, type Sent } from "./judge.ts";
import { describeOperations } from "./operations.ts";
import { createValidators } from "./validators.ts";
import type { RawAnswer } from "./wire.ts";

const described = describeOperations();
const judge = createJudge(described, createValidators(described));
const requestId = "req_1CbWqaK3zvYyZ9rNbX1pQ4";
const customer = { id: "cus_1CbWqaK3zvYyZ9rNbX1pQ4", name: "Ann", createdAt: "2026-11-01T10:00:00.000Z" };
const caller: Sent["caller"] = {
  name: "an administrator",
  key: "evp_1",
  role: "administrator",
  scopes: everyScope,
  isBound: false,
  unseen: /zebrafish/,
};
const good: Sent = { operation: operation("getCustomer"), method: "GET", caller, fault: undefined, broken: undefined, text: "" };

function operation(id: string) {
  const found = described.operations.find((candidate) => candidate.id === id);
  if (found === undefined) throw new Error(`there is no ${id}`);
  return found;
}

function answer(status: number, body: unknown, headers: RawAnswer["headers"] = {}): RawAnswer {
  const type = status < 400 ? "application/json; charset=utf-8" : "application/problem+json";
  const usual = { "content-type": type, "x-request-id": requestId, "x-content-type-options": "nosniff", ratelimit: "r" };
  return { status, text: typeof body === "string" ? body : JSON.stringify(body), ms: 1, headers: { ...usual, ...headers } };
}

function problem(code: keyof typeof apiProblems, more: object = {}) {
  const { http: status, title, cause, fix } = apiProblems[code];
  return { type: `${problemTypes}${code}`, title, status, detail: cause, instance: requestId, code, cause, fix, ...more };
}

const named = (pointer: string) => problem("validation_failed", { errors: [{ in: "path", pointer, detail: "is wrong" }] });

test("finds nothing wrong with answers as they should be", () => {
  expect(judge.faultsOf(good, answer(200, customer))).toEqual([]);
  expect(judge.faultsOf(good, answer(404, problem("not_found")))).toEqual([]);
  const broken = { ...good, fault: "path id: value must match", broken: { in: "path", pointer: "#/id" } } as const;
  expect(judge.faultsOf(broken, answer(400, named("#/id")))).toEqual([]);
});

const late = "No worker has answered in time. What was asked may still be carried out when one does.";

test("takes it from nobody that a worker is late, as long as it says when to ask again", () => {
  const putOff = problem("service_unavailable", { detail: late });
  for (const sent of [good, { ...good, replayOf: { status: 200, text: "{}" } }, { ...good, operation: undefined }])
    expect(judge.faultsOf(sent, answer(503, putOff, { "retry-after": "10" }))).toEqual([]);
  expect(judge.faultsOf(good, answer(503, putOff))).toEqual(["503 lacks retry-after"]);
});

test.each<[name: string, sent: Sent, answered: RawAnswer, fault: RegExp]>([
  ["a status that is not documented", good, answer(409, problem("conflict")), /^409 is not documented/],
  ["a fault of ours", good, answer(500, problem("internal_error")), /^500: internal_error/],
  [
    "a statement that the database does not end",
    good,
    answer(503, problem("service_unavailable", { detail: "The database does not answer." }), { "retry-after": "5" }),
    /^503: service_unavailable/,
  ],
  ["a member that the schema does not know", good, answer(200, { ...customer, secret: 1 }), /must NOT have additional properties/],
  ["a member that is missing", good, answer(200, { id: customer.id, name: "Ann" }), /must have required property/],
  ["an instant that is none", good, answer(200, { ...customer, createdAt: "yesterday" }), /must match format/],
  ["another media type", good, answer(200, customer, { "content-type": "text/html" }), /is text\/html; documented/],
  ["an error that is no problem", good, answer(404, "<pre>Cannot GET</pre>", { "content-type": "text/html" }), /no problem\+json/],
  ["a problem of no catalogue", good, answer(404, problem("not_found", { type: `${problemTypes}gone_fishing` })), /is of no catalogue/],
  ["a problem under another status", good, answer(404, problem("not_found", { status: 400 })), /was sent as 404/],
  ["a problem that the operation does not tell of", good, answer(404, { ...problem("conflict"), status: 404 }), /was sent as 404|is not documented/],
  ["a fault without a field", good, answer(400, problem("validation_failed")), /names no field/],
  [
    "a fault with another field than the wrong one",
    { ...good, fault: "path id: value must match", broken: { in: "path", pointer: "#/id" } },
    answer(400, named("#/limit")),
    /path #\/id is wrong, and named is path #\/limit/,
  ],
  ["a stack", good, answer(404, problem("not_found", { detail: "Error\n    at handler (file.ts:1:2)" })), /the inside is shown/],
  ["words of the database", good, answer(404, problem("not_found", { detail: 'relation "mailboxes" does not exist' })), /the inside is shown/],
  [
    "what is another customer's",
    { ...good, operation: operation("listMailboxes"), caller: { ...caller, customer: customer.id } },
    answer(200, { data: [], nextCursor: "zebrafish" }),
    /shown another customer's zebrafish/,
  ],
  [
    "what the document forbids, done all the same",
    { ...good, fault: "query limit: is wrong" },
    answer(200, customer),
    /200 to what the document forbids/,
  ],
  ["what the document allows, refused", good, answer(400, named("#/id")), /sent what the document allows/],
  ["a stranger who is let in", { ...good, caller: { ...caller, role: "nobody" } }, answer(200, customer), /answered 200 instead of 401/],
  ["a customer who is let in", { ...good, caller: { ...caller, role: "customer" } }, answer(200, customer), /answered 200 instead of 403/],
  ["a caller who is kept out", good, answer(403, problem("administrator_only")), /may do this and was answered 403/],
  ["another answer to a repetition", { ...good, replayOf: { status: 200, text: "{}" } }, answer(200, customer), /another body/],
  ["an answer without a request's id", good, answer(200, customer, { "x-request-id": undefined }), /lacks x-request-id/],
  ["a body to HEAD", { ...good, method: "HEAD" }, answer(200, customer), /has a body/],
])("finds %s", (_name, sent, answered, fault) => {
  expect(judge.faultsOf(sent, answered).join("\n")).toMatch(fault);
});
