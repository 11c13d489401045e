import { ImapFlow } from "imapflow";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { MailboxId } from "../../domain/ids.ts";
import { createMailUser, deliver, dovecot } from "../helpers/dovecot.ts";
import { until } from "../helpers/wait.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";

let api: WholeApi;
let key: string;
let mailbox: LiveMailbox;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  ({ key } = await api.newCustomer());
  mailbox = await connect();
}, 60_000);
afterAll(() => api[Symbol.asyncDispose]());

interface LiveMailbox {
  readonly id: MailboxId;
  readonly email: string;
  readonly password: string;
}

/** A Dovecot mailbox that is watched: whatever happens in its inbox is heard of within milliseconds. */
async function connect(): Promise<LiveMailbox> {
  const user = await createMailUser();
  const { host, imapPort: port } = dovecot();
  const body = { email: user.email, password: user.password, imap: { host, port, security: "none", allowInsecure: true }, smtp: null };
  const answer = await api.call("POST", "/v1/mailboxes", { key, body });
  expect(answer.status).toBe(201);
  await until(async () => {
    const { body: now } = await api.call("GET", `/v1/mailboxes/${answer.body.id}`, { key });
    return now.flow?.state === "live" && now.watch === "watching" ? now : undefined;
  }, "the mailbox to be watched");
  return { id: answer.body.id, ...user };
}

let count = 0;
async function newMail({ id, email }: LiveMailbox, path = "INBOX"): Promise<string> {
  count += 1;
  const name = `${count}.${id}`;
  const source = [
    "From: Ann <ann@example.test>",
    `To: ${email}`,
    `Subject: Subject ${count}`,
    `Message-ID: <${name}@example.test>`,
    "Date: Mon, 02 Mar 2026 10:00:00 +0000",
    "",
    `Text ${count}.`,
    "",
  ].join("\r\n");
  await deliver(email, source);
  expect(path).toBe("INBOX");
  return until(async () => {
    const row = await api.db.selectFrom("messages").select(["id", "state"]).where("message_id", "=", `<${name}@example.test>`).executeTakeFirst();
    return row?.state === "settled" ? row.id : undefined;
  }, "the message to be told");
}

const act = (ids: readonly string[], action: object, more: object = {}) =>
  api.call("POST", "/v1/message-actions", { key, body: { ids, action, ...more } });
const read = async (id: string) => (await api.call("GET", `/v1/messages/${id}`, { key })).body;

async function onServer<Result>({ email, password }: LiveMailbox, path: string, work: (client: ImapFlow) => Promise<Result>): Promise<Result> {
  const { host, imapPort: port } = dovecot();
  const client = new ImapFlow({ host, port, secure: false, doSTARTTLS: false, auth: { user: email, pass: password }, logger: false });
  await client.connect();
  try {
    await client.mailboxOpen(path, { readOnly: true });
    return await work(client);
  } finally {
    await client.logout();
  }
}

const uidsWith = (on: LiveMailbox, path: string, messageId: string) =>
  onServer(on, path, async (client) => (await client.search({ header: { "message-id": messageId } }, { uid: true })) || []);

/** The events about a message behind `message.created`, after the mailbox was looked at once more, twice: what is told late shows as well. */
async function eventsAbout(on: LiveMailbox, ...ids: string[]) {
  for (let looks = 0; looks < 2; looks += 1) {
    const before = (await api.db.selectFrom("mailboxes").select("last_success_at").where("id", "=", on.id).executeTakeFirstOrThrow()).last_success_at;
    await api.call("POST", `/v1/mailboxes/${on.id}/sync`, { key });
    await until(async () => {
      const now = await api.db.selectFrom("mailboxes").select("last_success_at").where("id", "=", on.id).executeTakeFirstOrThrow();
      return now.last_success_at?.getTime() !== before?.getTime();
    }, "a look at the mailbox");
  }
  await until(
    async () =>
      (await api.db.selectFrom("messages").select("id").where("mailbox_id", "=", on.id).where("state", "<>", "settled").execute()).length === 0,
    "all messages to be judged",
  );
  const events = await api.db.selectFrom("events").select(["type", "data"]).where("mailbox_id", "=", on.id).orderBy("sequence").execute();
  return events
    .map(({ type, data }) => ({ type, data: data as { message?: { id: string; flags: string[] }; changes?: Record<string, unknown> } }))
    .filter(({ type, data }) => type !== "message.created" && ids.includes(data.message?.id ?? ""));
}

test("sets flags at the server and tells one change, though the server announces it as well", async () => {
  const ids = [await newMail(mailbox), await newMail(mailbox)];
  const answer = await act(ids, { type: "setFlags", add: ["seen", "$Label1"], remove: ["flagged"] });
  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ state: "done", results: ids.map((id) => ({ id, state: "done", problem: null })) });
  expect((await read(ids[0] ?? "")).flags).toEqual(["$Label1", "seen"]);
  const events = await eventsAbout(mailbox, ...ids);
  expect(events.map(({ type, data }) => [type, data.changes])).toEqual(
    ids.map(() => ["message.updated", { flags: { added: ["$Label1", "seen"], removed: [] } }]),
  );
});

test("tells nothing of flags that were so already", async () => {
  const id = await newMail(mailbox);
  await act([id], { type: "setFlags", add: ["seen"] });
  expect((await act([id], { type: "setFlags", add: ["seen"], remove: ["flagged"] })).body.results).toMatchObject([{ state: "done" }]);
  expect(await eventsAbout(mailbox, id)).toHaveLength(1);
});

test("moves messages to a role's folder and tells one move each", async () => {
  const ids = [await newMail(mailbox), await newMail(mailbox)];
  const answer = await act(ids, { type: "archive" });
  expect(answer.body.results).toMatchObject(ids.map((id) => ({ id, state: "done" })));
  const moved = await read(ids[0] ?? "");
  expect(moved).toMatchObject({ path: "Archive", specialUse: "archive" });
  expect(await uidsWith(mailbox, "Archive", moved.messageId)).toEqual([moved.uid]);
  expect(await uidsWith(mailbox, "INBOX", moved.messageId)).toEqual([]);
  const events = await eventsAbout(mailbox, ...ids);
  expect(events.map(({ type, data }) => [type, data.changes])).toEqual(ids.map(() => ["message.updated", { movedTo: "Archive" }]));
});

test("copies a message, which stays one message and is told to nobody", async () => {
  const id = await newMail(mailbox);
  expect((await act([id], { type: "copy", path: "Archive" })).body.results).toMatchObject([{ state: "done" }]);
  expect(await uidsWith(mailbox, "Archive", (await read(id)).messageId)).toHaveLength(1);
  expect(await eventsAbout(mailbox, id)).toEqual([]);
  expect(
    await api.db
      .selectFrom("message_locations")
      .select("ref")
      .where("message_id", "=", id as never)
      .execute(),
  ).toHaveLength(2);
});

test("deletes into the trash, and for good", async () => {
  const [kept, gone] = [await newMail(mailbox), await newMail(mailbox)];
  expect((await api.call("DELETE", `/v1/messages/${kept}`, { key })).status).toBe(204);
  expect(await read(kept)).toMatchObject({ path: "Trash", specialUse: "trash" });
  expect((await api.call("DELETE", `/v1/messages/${gone}?permanent=true`, { key })).status).toBe(204);
  const events = await eventsAbout(mailbox, kept, gone);
  expect(events.map(({ type }) => type)).toEqual(["message.updated", "message.deleted"]);
  expect((await api.call("GET", `/v1/messages/${gone}`, { key })).status).toBe(404);
});

test("changes flags and folder of one message with one PATCH", async () => {
  const id = await newMail(mailbox);
  const answer = await api.call("PATCH", `/v1/messages/${id}`, { key, body: { flags: { add: ["seen", "flagged"] }, role: "junk" } });
  expect(answer.status).toBe(200);
  expect(answer.body).toMatchObject({ id, flags: ["flagged", "seen"], path: "Junk" });
  expect((await act([id], { type: "notJunk" })).body.results).toMatchObject([{ state: "done" }]);
  expect(await read(id)).toMatchObject({ path: "INBOX", flags: ["flagged", "seen"] });
});

test("answers for each id, and for others' as for those that never were", async () => {
  const other = await api.newCustomer();
  const id = await newMail(mailbox);
  const foreign = await api.call("POST", "/v1/message-actions", { key: other.key, body: { ids: [id], action: { type: "delete" } } });
  expect(foreign.body.results).toEqual([{ id, state: "not_found", problem: null }]);
  const never = `msg_${"1".repeat(22)}`;
  const mixed = await act([never, id], { type: "setFlags", add: ["seen"] });
  expect(mixed.body.results).toMatchObject([
    { id: never, state: "not_found" },
    { id, state: "done" },
  ]);
  expect((await api.call("GET", `/v1/message-actions/${mixed.body.id}`, { key })).body).toEqual(mixed.body);
});

test("refuses a folder that is not there by its name or role, and leaves the message alone", async () => {
  const id = await newMail(mailbox);
  const noPath = await act([id], { type: "move", path: "No such folder" });
  expect(noPath.body.results).toMatchObject([{ state: "refused", problem: { code: "not_found" } }]);
  await api.db.updateTable("folders").set({ role: "none" }).where("mailbox_id", "=", mailbox.id).where("path", "=", "Archive").execute();
  const noRole = await act([id], { type: "archive" });
  expect(noRole.body.results).toMatchObject([
    { state: "refused", problem: { code: "folder_role_missing", fix: expect.stringContaining('"archive"') } },
  ]);
  await api.db.updateTable("folders").set({ role: "archive" }).where("mailbox_id", "=", mailbox.id).where("path", "=", "Archive").execute();
  expect((await read(id)).path).toBe("INBOX");
});

test("refuses changes of a paused mailbox, or queues them and carries them out in order when it is back", async () => {
  const paused = await connect();
  const id = await newMail(paused);
  await api.call("POST", `/v1/mailboxes/${paused.id}/pause`, { key });
  const refused = await act([id], { type: "archive" });
  expect(refused.status).toBe(200);
  expect(refused.body.results).toMatchObject([{ state: "refused", problem: { code: "mailbox_paused" } }]);
  expect((await api.call("DELETE", `/v1/messages/${id}`, { key })).body).toMatchObject({ status: 409, code: "mailbox_paused" });

  const first = await act([id], { type: "setFlags", add: ["flagged"] }, { whenAway: "queue" });
  expect([first.status, first.body.state, first.body.results[0].state]).toEqual([202, "pending", "queued"]);
  const second = await act([id], { type: "archive" }, { whenAway: "queue" });
  const third = await api.call("PATCH", `/v1/messages/${id}`, { key, body: { flags: { remove: ["flagged"] }, whenAway: "queue" } });
  expect([third.status, third.headers.get("Location")]).toEqual([202, expect.stringMatching(/^\/v1\/message-actions\/act_/)]);

  await api.call("POST", `/v1/mailboxes/${paused.id}/resume`, { key });
  for (const path of [first.headers.get("Location"), second.headers.get("Location"), third.headers.get("Location")]) {
    await until(async () => (await api.call("GET", path ?? "", { key })).body.state === "done", "the queued change to be carried out");
  }
  expect(await read(id)).toMatchObject({ path: "Archive", flags: [] });
});

test("changes messages of several mailboxes at once", async () => {
  const other = await connect();
  const ids = [await newMail(mailbox), await newMail(other), await newMail(other)];
  const answer = await act(ids, { type: "setFlags", add: ["seen"] });
  expect(answer.body.results.map(({ state }: { state: string }) => state)).toEqual(["done", "done", "done"]);
});

test("repeats a request with the same Idempotency-Key without doing it again", async () => {
  const id = await newMail(mailbox);
  const once = () =>
    api.call("POST", "/v1/message-actions", {
      key,
      headers: { "Idempotency-Key": `copy-${id}` },
      body: { ids: [id], action: { type: "copy", path: "Archive" } },
    });
  const [first, second] = [await once(), await once()];
  expect(second.body).toEqual(first.body);
  expect(await uidsWith(mailbox, "Archive", (await read(id)).messageId)).toHaveLength(1);
  const audit = await api.db.selectFrom("audit_log").select("action").where("target", "=", first.body.id).execute();
  expect(audit).toEqual([{ action: "messages.copy" }]);
});

test.each([
  ["no ids", { ids: [] }, "#/ids"],
  ["an id twice", { ids: ["msg_1CbWqaK3zvYyZ9rNbX1pQ4", "msg_1CbWqaK3zvYyZ9rNbX1pQ4"] }, "#/ids"],
  ["an unknown action", { action: { type: "explode" } }, "#/action/type"],
  ["no flags", { action: { type: "setFlags" } }, "#/action/add"],
  ["a flag that deletes", { action: { type: "setFlags", add: ["deleted"] } }, "#/action/add/0"],
  ["a flag that breaks the protocol", { action: { type: "setFlags", add: ["x) y"] } }, "#/action/add/0"],
  ["two folders", { action: { type: "move", path: "A", role: "trash" } }, "#/action/path"],
  ["a view as a target", { action: { type: "move", role: "flagged" } }, "#/action/role"],
])("refuses %s by name", async (_what, more, pointer) => {
  const body = { ids: ["msg_1CbWqaK3zvYyZ9rNbX1pQ4"], action: { type: "archive" }, ...more };
  const answer = await api.call("POST", "/v1/message-actions", { key, body });
  expect([answer.status, answer.body.code]).toEqual([400, "validation_failed"]);
  expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toContain(pointer);
});
