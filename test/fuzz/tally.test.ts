import { expect, test } from "vitest";
import { problemTypes } from "../../api/errors.ts";
import { describeOperations } from "./operations.ts";
import { createTallies, documentedClasses } from "./tally.ts";

const { operations } = describeOperations();
const operation = (id: string) => operations.find((candidate) => candidate.id === id);
const answer = (status: number, type?: string) => ({ status, headers: {}, text: type === undefined ? "{}" : `{"type":"${type}"}`, ms: status });

test("tells how many requests each operation got, and with which answers they ended", () => {
  const tallies = createTallies(operations);
  tallies.note(operation("getMailbox"), answer(200));
  tallies.note(operation("getMailbox"), answer(404, `${problemTypes}not_found`));
  tallies.note(operation("getMailbox"), answer(404, `${problemTypes}not_found`));
  tallies.note(undefined, answer(404, `${problemTypes}not_found`));
  expect(tallies.rows()).toMatchObject({
    getMailbox: { requests: 3, slowestMs: 404, answers: "200 ×1, 404 not_found ×2" },
    listMailboxes: { requests: 0, answers: "" },
    "(no operation)": { requests: 1 },
  });
  expect(tallies.neverDone()).toContain("listMailboxes");
  expect(tallies.neverDone()).not.toContain("getMailbox");
});

test("names each documented answer that was not met, once for all where no operation gave it", () => {
  const tallies = createTallies(operations);
  tallies.note(operation("getMailbox"), answer(404, `${problemTypes}not_found`));
  tallies.note(operation("testMailbox"), answer(503, `${problemTypes}mail/unavailable`));
  const { anywhere, byOperation } = tallies.neverMet();
  expect(anywhere).toContain("500 internal_error");
  expect(anywhere).not.toContain("404 not_found");
  expect(byOperation.getMailbox).toBeUndefined();
  expect(byOperation.getMessage).toContain("404 not_found");
});

test("knows every code that the document names for a route", () => {
  const kinds = documentedClasses(operations.find(({ id }) => id === "connectMailbox") as (typeof operations)[number]);
  expect(kinds).toEqual(expect.arrayContaining(["201", "400 validation_failed", "422 mail/private_address_refused", "500 internal_error"]));
});

test("counts whom 503 put off, and names who does that often", () => {
  const tallies = createTallies(operations);
  const late = answer(503, `${problemTypes}service_unavailable`);
  for (let times = 0; times < 36; times += 1) tallies.note(operation("getMailbox"), answer(200));
  for (let times = 0; times < 4; times += 1) tallies.note(operation("getMailbox"), late);
  for (let times = 0; times < 3; times += 1) tallies.note(operation("fetchText"), late);
  expect(tallies.putOff()).toEqual({ times: 7, tooOften: [] });
  tallies.note(operation("getMailbox"), late);
  expect(tallies.putOff().tooOften).toEqual(["getMailbox: 5 of 41"]);
  tallies.note(operation("getMessage"), answer(503, `${problemTypes}mail/unavailable`));
  expect(tallies.putOff().times).toBe(8);
});
