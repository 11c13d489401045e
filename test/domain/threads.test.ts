import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ThreadId } from "../../domain/ids.ts";
import { foundingOf, groupByThread, linksOf, subjectHash, subjectsOfKeyMax } from "../../domain/threads.ts";
import { messageIdOf, type Sketch, sketched, threadsOf } from "./messages-in-threads.ts";

const list = [{ kind: "mailing_list", source: "List-Id" }] as const;
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_none, index) => from + index);

describe("one thread", () => {
  it.each<[string, readonly Sketch[]]>([
    ["an answer by In-Reply-To", [{ n: 1 }, { n: 2, irt: "<1@x>", subject: "Re: Lunch" }]],
    ["an answer by References", [{ n: 1 }, { n: 2, refs: ["<1@x>"], subject: "Re: Lunch" }]],
    ["an answer under another subject", [{ n: 1 }, { n: 2, irt: "<1@x>", subject: "Dinner" }]],
    [
      "two answers to a message that is not there",
      [
        { n: 1, irt: "<0@x>" },
        { n: 2, irt: "<0@x>" },
      ],
    ],
    [
      "answers that share only the root, which is not there",
      [
        { n: 1, refs: ["<r@x>", "<a@x>"] },
        { n: 2, refs: ["<r@x>", "<b@x>"] },
      ],
    ],
    [
      "answers that share a middle message, which is not there",
      [
        { n: 1, refs: ["<a@x>", "<b@x>", "<c@x>"] },
        { n: 2, refs: ["<b@x>", "<d@x>"] },
      ],
    ],
    ["children before their parents", [{ n: 3, irt: "<2@x>" }, { n: 2, irt: "<1@x>" }, { n: 1 }]],
    ["copies of one message", [{ n: 1 }, { n: 2, id: "<1@x>" }]],
    [
      "what the provider says is one",
      [
        { n: 1, provider: "t" },
        { n: 2, provider: "t", subject: "Other" },
      ],
    ],
    [
      "a bare answer with a common participant",
      [
        { n: 1, subject: "Lunch" },
        { n: 2, subject: "AW: lunch", from: "me", to: ["ann"] },
      ],
    ],
    [
      "a bare answer on the thirtieth day",
      [
        { n: 1, day: 0 },
        { n: 2, day: 30, subject: "Re: Lunch" },
      ],
    ],
    [
      "two bare answers",
      [
        { n: 1, subject: "Re: Lunch" },
        { n: 2, subject: "Re: Lunch", from: "me", to: ["ann"] },
      ],
    ],
    ["a bare answer under an external mark", [{ n: 1 }, { n: 2, subject: "[EXTERNAL] Re: Lunch" }]],
  ])("%s", (_title, sketches) => expect(threadsOf(sketches)).toHaveLength(1));
});

describe("threads of their own", () => {
  it.each<[string, readonly Sketch[]]>([
    [
      "two messages of one subject that answer nothing",
      [
        { n: 1, subject: "Invoice" },
        { n: 2, subject: "Invoice" },
      ],
    ],
    ["a bare answer by somebody who took no part", [{ n: 1 }, { n: 2, subject: "Re: Lunch", from: "bob" }]],
    [
      "a bare answer in which only the owner is common",
      [
        { n: 1, from: "ann", to: ["me"] },
        { n: 2, subject: "Re: Lunch", from: "me", to: ["bob"] },
      ],
    ],
    [
      "a bare answer after more than thirty days",
      [
        { n: 1, day: 0 },
        { n: 2, day: 31, subject: "Re: Lunch" },
      ],
    ],
    [
      "a bare answer and what came long after it",
      [
        { n: 1, day: 5 },
        { n: 2, day: 2, subject: "Re: Lunch" },
      ],
    ],
    ["a bare answer under another subject", [{ n: 1 }, { n: 2, subject: "Re: Dinner" }]],
    [
      "a bare answer on a list",
      [
        { n: 1, subject: "Lunch", traits: list },
        { n: 2, subject: "Re: Lunch", traits: list },
      ],
    ],
    [
      "a bare answer under a list's tag",
      [
        { n: 1, subject: "[dev] Lunch" },
        { n: 2, subject: "Re: [dev] Lunch" },
      ],
    ],
    [
      "answers without a subject",
      [
        { n: 1, subject: "" },
        { n: 2, subject: "Re: " },
      ],
    ],
    [
      "a circular and an answer",
      [
        { n: 1, to: range(1, 40).map(String) },
        { n: 2, subject: "Re: Lunch" },
      ],
    ],
    ["an answer with references and an equal subject", [{ n: 1 }, { n: 2, subject: "Re: Lunch", irt: "<other@x>" }]],
    [
      "messages without a Message-ID",
      [
        { n: 1, id: null },
        { n: 2, id: null },
      ],
    ],
    [
      "what the provider keeps apart although one answers the other",
      [
        { n: 1, provider: "a" },
        { n: 2, provider: "b", irt: "<1@x>" },
      ],
    ],
  ])("%s", (_title, sketches) => expect(threadsOf(sketches)).toHaveLength(2));
});

describe("a constant that a program puts on everything", () => {
  const subjects = (count: number, more: Omit<Sketch, "n">) => range(1, count).map((n) => ({ n, subject: `Subject ${n}`, ...more }));

  it.each<[string, Omit<Sketch, "n">]>([
    ["In-Reply-To", { irt: "<constant@x>" }],
    ["root of References", { refs: ["<constant@x>"] }],
    ["Message-ID", { id: "<constant@x>" }],
  ])("as %s ties as many subjects as a conversation may have, and no more", (_title, more) => {
    const threads = threadsOf(subjects(200, more));
    expect(Math.max(...threads.map((thread) => thread.length))).toBe(subjectsOfKeyMax);
    expect(threads).toHaveLength(200 - subjectsOfKeyMax + 1);
  });

  it("still ties what really is one conversation by its other references", () => {
    const answers = range(1, 60).map((n) => ({ n, subject: `Re: Subject ${n % 30}`, refs: ["<constant@x>", `<root${n % 30}@x>`] }));
    const threads = threadsOf(answers);
    expect(threads.filter((thread) => thread.length === 2)).toHaveLength(30 - subjectsOfKeyMax);
  });

  it("gathers any number of messages of one subject", () => {
    expect(threadsOf(range(1, 500).map((n) => ({ n, irt: "<root@x>", subject: "Re: Lunch" })))).toHaveLength(1);
  });

  it("counts the subjects that are on record, and knows them again", () => {
    const record = { threadId: "thr_1" as ThreadId, subjects: [subjectHash("lunch"), ...range(2, subjectsOfKeyMax)] };
    const known = new Map([["message-id <constant@x>", record]]);
    const threads = threadsOf(
      [
        { n: 1, irt: "<constant@x>", subject: "Re: Lunch" },
        { n: 2, irt: "<constant@x>", subject: "Re: Dinner" },
      ],
      known,
    );
    expect(threads).toEqual([[1], [2]]);
    const [group] = groupByThread([linksOf(sketched({ n: 1, irt: "<constant@x>", subject: "Re: Lunch" }), messageIdOf(1))], known);
    expect(group?.threads).toEqual(["thr_1"]);
  });
});

it("bounds what a References header of thousands of ids can cost", () => {
  const refs = range(1, 5_000).map((n) => `<ref${n}@x>`);
  const { keys } = linksOf(sketched({ n: 1, refs, irt: "<ref5000@x>" }), messageIdOf(1));
  expect(keys).toEqual([1, 4996, 4997, 4998, 4999, 5000].map((n) => `message-id <ref${n}@x>`).concat("message-id <1@x>"));
});

it("names a new thread after the root of its oldest message, in whatever order the page comes", () => {
  const sketches: Sketch[] = [
    { n: 3, refs: ["<1@x>", "<2@x>"] },
    { n: 2, irt: "<1@x>" },
    { n: 4, irt: "<3@x>" },
  ];
  const names = [sketches, sketches.toReversed()].map((page) => {
    const [group] = groupByThread(
      page.map((sketch) => linksOf(sketched(sketch), messageIdOf(sketch.n))),
      new Map(),
    );
    return group === undefined ? "" : foundingOf(group);
  });
  expect(names).toEqual(["message-id <1@x>", "message-id <1@x>"]);
});

it("says which threads on record prove to be one", () => {
  const known = new Map([
    ["message-id <1@x>", { threadId: "thr_1" as ThreadId, subjects: [] }],
    ["message-id <3@x>", { threadId: "thr_3" as ThreadId, subjects: [] }],
  ]);
  const [group] = groupByThread([linksOf(sketched({ n: 2, refs: ["<1@x>", "<3@x>"] }), messageIdOf(2))], known);
  expect(group?.threads.toSorted()).toEqual(["thr_1", "thr_3"]);
});

it("gives the same threads in whatever order a page comes", () => {
  const ids = fc.integer({ min: 1, max: 12 });
  const sketch = fc.record({
    irt: fc.option(ids),
    refs: fc.array(ids, { maxLength: 3 }),
    subject: fc.constantFrom("A", "Re: A", "B", "Re: B"),
    day: fc.nat(60),
  });
  fc.assert(
    fc.property(fc.array(sketch, { minLength: 2, maxLength: 12 }), fc.infiniteStream(fc.nat()), (drafts, order) => {
      const sketches = drafts.map(({ irt, refs, ...rest }, index) => ({
        n: index + 1,
        ...rest,
        ...(irt === null ? {} : { irt: `<${irt}@x>` }),
        refs: refs.map((n) => `<${n}@x>`),
      }));
      const shuffled = sketches
        .map((one) => ({ one, at: order.next().value as number }))
        .sort((a, b) => a.at - b.at)
        .map(({ one }) => one);
      expect(threadsOf(shuffled)).toEqual(threadsOf(sketches));
    }),
  );
});
