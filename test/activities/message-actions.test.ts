import { MockActivityEnvironment } from "@temporalio/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createActivities } from "../../activities/index.ts";
import type { CarriedOut } from "../../activities/message-actions.ts";
import { newId } from "../../db/ids.ts";
import { expireMessageActions, findMessageAction, insertMessageAction, type StoredAction } from "../../db/message-actions.ts";
import { scopedTo } from "../../db/scope.ts";
import { MailError, toProblem } from "../../domain/errors.ts";
import type { MailboxId, MessageActionId, MessageId } from "../../domain/ids.ts";
import type { MessageAction } from "../../domain/message-action.ts";
import type { MailProvider } from "../../providers/provider.ts";
import type { Sessions } from "../../sessions/sessions.ts";
import { deliver } from "../helpers/dovecot.ts";
import { type Engine, startEngine, type TestMailbox } from "./engine.ts";
import { connect, eventsOf, fetchAndTell, mail, onServer, placesOf, toldOf } from "./syncing.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

/** A connected mailbox with these messages in its inbox. */
async function mailboxWith(...names: string[]): Promise<TestMailbox> {
  const mailbox = await engine.addMailbox();
  for (const name of names) await deliver(mailbox.email, mail(name));
  await connect(engine, mailbox.id);
  return mailbox;
}

async function idOf(mailboxId: MailboxId, name: string): Promise<MessageId> {
  const { id } = await engine.db
    .selectFrom("messages")
    .select("id")
    .where("mailbox_id", "=", mailboxId)
    .where("message_id", "=", `<${name}@example.test>`)
    .executeTakeFirstOrThrow();
  return id;
}

const db = () => scopedTo(engine.db, { customerId: engine.customerId, mailboxId: null });

async function ask(
  { id: mailboxId }: TestMailbox,
  action: MessageAction,
  names: readonly string[],
  whenAway: "refuse" | "queue" = "queue",
): Promise<MessageActionId> {
  const id = newId("messageAction");
  const items = await Promise.all(
    names.map(async (name) => ({ messageId: await idOf(mailboxId, name), mailboxId, state: "queued", problem: null }) as const),
  );
  await insertMessageAction(db(), { id, customerId: engine.customerId, mailboxId, action, whenAway }, items);
  return id;
}

const carryOut = ({ id: mailboxId }: TestMailbox, options: { readonly sessions?: Sessions; readonly attempt?: number } = {}): Promise<CarriedOut> =>
  new MockActivityEnvironment({ attempt: options.attempt ?? 1 }).run(() =>
    createActivities(engine.deps, options.sessions ?? engine.sessions).carryOutActions({ mailboxId }),
  ) as Promise<CarriedOut>;

const resultsOf = async (id: MessageActionId) => ((await findMessageAction(db(), id)) as StoredAction).items.map(({ state }) => state);

/** Sessions whose provider is changed on the way: a worker that dies at a certain point is one whose call never comes back. */
function sessionsWith(change: (provider: MailProvider) => Partial<MailProvider>): Sessions {
  return {
    ...engine.sessions,
    use: (mailbox, work) => engine.sessions.use(mailbox, (provider) => work({ ...provider, ...change(provider) })),
  };
}

const died = () => new MailError("unavailable", { doing: "asking a server from a process that died" });
const archive = { type: "move", to: { role: "archive" } } as const;

for (const { what, action, inbox, archived, told } of [
  { what: "a move", action: archive, inbox: undefined, archived: ["1", "2"], told: ["moved 1 to Archive", "moved 2 to Archive"] },
  { what: "a copy", action: { type: "copy", to: { path: "Archive" } }, inbox: ["1", "2"], archived: ["1", "2"], told: [] },
] as const) {
  test(`does not do ${what} twice that a worker did and died before writing it down`, async () => {
    const mailbox = await mailboxWith("1", "2");
    const id = await ask(mailbox, action, ["1", "2"]);
    const dying = sessionsWith((provider) => ({
      move: async (...args) => provider.move(...args).then(() => Promise.reject(died())),
      copy: async (...args) => provider.copy(...args).then(() => Promise.reject(died())),
    }));
    await expect(carryOut(mailbox, { sessions: dying })).rejects.toThrow();
    expect(await resultsOf(id)).toEqual(["begun", "begun"]);
    expect(await carryOut(mailbox)).toEqual({ state: "done" });
    expect(await resultsOf(id)).toEqual(["done", "done"]);
    await fetchAndTell(engine, mailbox.id);
    expect(await placesOf(engine, mailbox.id)).toEqual({ ...(inbox === undefined ? {} : { INBOX: inbox }), Archive: archived });
    const uids = await onServer(mailbox, "Archive", (client) => client.search({ all: true }, { uid: true }));
    expect(uids).toHaveLength(2);
    expect(await toldOf(engine, mailbox.id)).toEqual(told);
  });

  test(`does ${what} that a worker noted and died before asking for`, async () => {
    const mailbox = await mailboxWith("1", "2");
    const id = await ask(mailbox, action, ["1", "2"]);
    const dying = sessionsWith(() => ({ move: () => Promise.reject(died()), copy: () => Promise.reject(died()) }));
    await expect(carryOut(mailbox, { sessions: dying })).rejects.toThrow();
    await carryOut(mailbox);
    expect(await resultsOf(id)).toEqual(["done", "done"]);
    await fetchAndTell(engine, mailbox.id);
    expect(await toldOf(engine, mailbox.id)).toEqual(told);
  });
}

test("counts as deleted what a worker deleted for good and died before writing it down", async () => {
  const mailbox = await mailboxWith("1", "2");
  const id = await ask(mailbox, { type: "delete", permanent: true }, ["1"]);
  const dying = sessionsWith((provider) => ({ remove: async (...args) => provider.remove(...args).then(() => Promise.reject(died())) }));
  await expect(carryOut(mailbox, { sessions: dying })).rejects.toThrow();
  await carryOut(mailbox);
  expect(await resultsOf(id)).toEqual(["done"]);
  await fetchAndTell(engine, mailbox.id);
  expect(await placesOf(engine, mailbox.id)).toEqual({ INBOX: ["2"] });
  expect(await toldOf(engine, mailbox.id)).toEqual(["deleted 1"]);
});

test("finds in its new place what a server moved without saying where, and tells one move", async () => {
  const mailbox = await mailboxWith("1");
  const id = await ask(mailbox, archive, ["1"]);
  const silent = sessionsWith((provider) => ({
    move: async (...args) => new Map([...(await provider.move(...args))].map(([ref, result]) => [ref, { ...result, ref: null }])) as never,
  }));
  await carryOut(mailbox, { sessions: silent });
  expect(await resultsOf(id)).toEqual(["done"]);
  expect(engine.woken.mailboxes.at(-1)).toEqual([mailbox.id, expect.arrayContaining(["INBOX", "Archive"])]);
  await fetchAndTell(engine, mailbox.id, ["INBOX", "Archive"]);
  expect(await placesOf(engine, mailbox.id)).toEqual({ Archive: ["1"] });
  expect(await toldOf(engine, mailbox.id)).toEqual(["moved 1 to Archive"]);
});

test.each([
  ["flags", { type: "setFlags", add: ["flagged"], remove: [] }, ["updated 1"]],
  ["a move", archive, ["moved 1 to Archive"]],
] as const)("tells %s once when a sync read the folder before and stores it after", async (_what, action, told) => {
  const mailbox = await mailboxWith("1");
  await ask(mailbox, action, ["1"]);
  let isWritten = false;
  // Every page of this look was read before the write, which is over when the page is stored. Its flags are as they were.
  const slow = sessionsWith((provider) => ({
    pullChanges: async (scope, cursor, options) => {
      const page = await provider.pullChanges(scope, cursor, options);
      if (scope.path !== "INBOX" || isWritten) return page;
      isWritten = true;
      await carryOut(mailbox);
      return { ...page, flagChanges: [{ ref: "1", flags: [] }], present: [[1, 1]] };
    },
  }));
  const look = new MockActivityEnvironment().run(() =>
    createActivities(engine.deps, slow).fetchChanges({ mailboxId: mailbox.id, paths: ["INBOX"], isThorough: true }),
  );
  expect(await look).toMatchObject({ more: true });
  expect(isWritten).toBe(true);
  await fetchAndTell(engine, mailbox.id);
  await fetchAndTell(engine, mailbox.id);
  expect(await toldOf(engine, mailbox.id)).toEqual(told);
});

test("carries out requests in their order, each message's places one after the other", async () => {
  const mailbox = await mailboxWith("1");
  const ids = [
    await ask(mailbox, { type: "copy", to: { path: "Archive" } }, ["1"]),
    await ask(mailbox, { type: "setFlags", add: ["seen"], remove: [] }, ["1"]),
    await ask(mailbox, { type: "delete", permanent: false }, ["1"]),
  ];
  expect(await carryOut(mailbox)).toEqual({ state: "done" });
  for (const id of ids) expect(await resultsOf(id)).toEqual(["done"]);
  await fetchAndTell(engine, mailbox.id);
  expect(await placesOf(engine, mailbox.id)).toEqual({ Trash: ["1", "1"] });
  const flags = await engine.db.selectFrom("message_locations").select("flags").where("mailbox_id", "=", mailbox.id).execute();
  expect(flags).toEqual([{ flags: ["seen"] }, { flags: ["seen"] }]);
});

test("refuses the impatient when the server cannot be reached, and keeps the patient and what was begun", async () => {
  const mailbox = await mailboxWith("1", "2", "3");
  const begun = await ask(mailbox, { type: "copy", to: { path: "Archive" } }, ["1"], "refuse");
  await expect(carryOut(mailbox, { sessions: sessionsWith(() => ({ copy: () => Promise.reject(died()) })) })).rejects.toThrow();
  const impatient = await ask(mailbox, archive, ["2"], "refuse");
  const patient = await ask(mailbox, archive, ["3"]);
  const gone = sessionsWith(() => ({ copy: () => Promise.reject(died()), move: () => Promise.reject(died()) }));
  expect(await carryOut(mailbox, { sessions: gone, attempt: 3 })).toEqual({ state: "failing", code: "unavailable", retryAfterMs: null });
  expect([await resultsOf(begun), await resultsOf(impatient), await resultsOf(patient)]).toEqual([["begun"], ["refused"], ["queued"]]);
  await carryOut(mailbox);
  expect([await resultsOf(begun), await resultsOf(patient)]).toEqual([["done"], ["done"]]);
});

test("gives up after seven days, and says so", async () => {
  const mailbox = await mailboxWith("1");
  const id = await ask(mailbox, archive, ["1"]);
  await engine.db
    .updateTable("message_actions")
    .set({ expires_at: new Date(Date.now() - 1000) })
    .where("id", "=", id)
    .execute();
  await expireMessageActions(engine.db, toProblem({ code: "expired" }, new Date().toISOString()));
  expect((await findMessageAction(db(), id))?.items).toMatchObject([{ state: "refused", problem: { code: "expired" } }]);
});

test("moves a thousand messages in four commands and one event each", async () => {
  const mailbox = await engine.addMailbox();
  const names = Array.from({ length: 1_000 }, (_, index) => `bulk-${index}`);
  await onServer(mailbox, "INBOX", async (client) => {
    for (const name of names) await client.append("INBOX", mail(name));
  });
  await connect(engine, mailbox.id);
  const id = await ask(mailbox, archive, names);
  let commands = 0;
  const counting = sessionsWith((provider) => ({
    move: (...args) => {
      commands += 1;
      return provider.move(...args);
    },
  }));

  expect(await carryOut(mailbox, { sessions: counting })).toEqual({ state: "done" });

  expect(commands).toBe(4);
  expect(new Set(await resultsOf(id))).toEqual(new Set(["done"]));
  await fetchAndTell(engine, mailbox.id);
  const events = await eventsOf(engine, mailbox.id, "message.updated");
  expect(events).toHaveLength(1_000);
  expect((await placesOf(engine, mailbox.id)).INBOX).toBeUndefined();
}, 60_000);
