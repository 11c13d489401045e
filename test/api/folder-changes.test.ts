import { afterAll, beforeAll, expect, test } from "vitest";
import { createMailUser, deliver, dovecot } from "../helpers/dovecot.ts";
import { until } from "../helpers/wait.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";

let api: WholeApi;
let key: string;
let folders: string;
let mailboxId: string;
let email: string;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk"]);
  ({ key } = await api.newCustomer());
  const user = await createMailUser();
  const { host, imapPort: port } = dovecot();
  email = user.email;
  const body = { email, password: user.password, imap: { host, port, security: "none", allowInsecure: true }, smtp: null };
  mailboxId = (await api.call("POST", "/v1/mailboxes", { key, body })).body.id;
  folders = `/v1/mailboxes/${mailboxId}/folders`;
  await until(async () => (await api.call("GET", `/v1/mailboxes/${mailboxId}`, { key })).body.flow.state === "live", "the mailbox to be live");
}, 60_000);
afterAll(() => api[Symbol.asyncDispose]());

const create = (path: string) => api.call("POST", folders, { key, body: { path } });
const list = async (): Promise<{ id: string; path: string; role: string }[]> => (await api.call("GET", folders, { key })).body.data;
const told = async () =>
  (
    await api.db
      .selectFrom("events")
      .select(["type", "data"])
      .where("mailbox_id", "=", mailboxId as never)
      .where("type", "in", ["folder.created", "folder.updated", "folder.deleted"])
      .orderBy("sequence")
      .execute()
  ).map(({ type, data }) => `${type} ${(data as { folder: { path: string } }).folder.path}`);

test("creates folders at the server, one below the other, and tells them", async () => {
  const answer = await create("Kunden & Söhne");
  expect(answer.status).toBe(201);
  expect(answer.body).toMatchObject({ path: "Kunden & Söhne", role: "none" });
  expect((await create("Kunden & Söhne/Example")).status).toBe(201);
  expect(await told()).toEqual(["folder.created Kunden & Söhne", "folder.created Kunden & Söhne/Example"]);
  expect((await create("Kunden & Söhne")).body).toMatchObject({ status: 409, code: "folder_exists" });
});

test("renames a folder with what lies below and in it: ids stay, and no message is told", async () => {
  const before = await list();
  await create("Old");
  const child = (await create("Old/Child")).body;
  const old = (await list()).find(({ path }) => path === "Old");
  await deliver(email, `From: a@example.test\r\nTo: ${email}\r\nSubject: s\r\nMessage-ID: <rename@example.test>\r\n\r\ntext\r\n`);
  await api.call("POST", `/v1/mailboxes/${mailboxId}/sync`, { key });
  const message = await until(
    async () =>
      (await api.db.selectFrom("messages").select(["id", "state"]).where("message_id", "=", "<rename@example.test>").executeTakeFirst())?.id,
    "the message",
  );
  expect((await api.call("PATCH", `/v1/messages/${message}`, { key, body: { folderId: child.id } })).status).toBe(200);
  const answer = await api.call("PATCH", `${folders}/${old?.id}`, { key, body: { path: "New" } });
  expect(answer.body).toMatchObject({ id: old?.id, path: "New" });
  const after = await list();
  expect(after.find(({ path }) => path === "New/Child")?.id).toBe(child.id);
  expect(after).toHaveLength(before.length + 2);
  await api.call("POST", `/v1/mailboxes/${mailboxId}/sync`, { key });
  expect((await api.call("GET", `/v1/messages/${message}`, { key })).body.path).toBe("New/Child");
  expect((await told()).slice(-2).toSorted()).toEqual(["folder.updated New", "folder.updated New/Child"]);
});

test("deletes an empty folder, and one with messages and folders only by force", async () => {
  const empty = (await create("Empty")).body;
  expect((await api.call("DELETE", `${folders}/${empty.id}`, { key })).status).toBe(204);
  const parent = (await list()).find(({ path }) => path === "New");
  const child = (await list()).find(({ path }) => path === "New/Child");
  expect((await api.call("DELETE", `${folders}/${parent?.id}`, { key })).body).toMatchObject({ status: 409, code: "folder_not_empty" });
  expect((await api.call("DELETE", `${folders}/${child?.id}`, { key })).body).toMatchObject({ status: 409, code: "folder_not_empty" });
  expect((await api.call("DELETE", `${folders}/${parent?.id}?force=true`, { key })).status).toBe(204);
  expect((await list()).filter(({ path }) => path.startsWith("New"))).toEqual([]);
  expect((await api.call("DELETE", `${folders}/${parent?.id}`, { key })).status).toBe(404);
});

test("leaves folders with a role as they are", async () => {
  const trash = (await list()).find(({ role }) => role === "trash");
  const inbox = (await list()).find(({ role }) => role === "inbox");
  expect((await api.call("DELETE", `${folders}/${trash?.id}?force=true`, { key })).body).toMatchObject({ status: 409, code: "special_folder" });
  expect((await api.call("PATCH", `${folders}/${inbox?.id}`, { key, body: { path: "Elsewhere" } })).body.code).toBe("special_folder");
});

test.each([["a//b"], ["/a"], ["a/"], ["inbox"], ["a*"], ["50%"], ["a\r\nb"], ["a/ /b"], [`a/${"x".repeat(201)}`]])(
  "refuses the path %j by name",
  async (path) => {
    const answer = await create(path);
    expect([answer.status, answer.body.code]).toEqual([400, "validation_failed"]);
    expect(answer.body.errors.map((error: { pointer: string }) => error.pointer)).toEqual(["#/path"]);
  },
);

test("refuses changes of folders while the mailbox is paused", async () => {
  await api.call("POST", `/v1/mailboxes/${mailboxId}/pause`, { key });
  expect((await create("Later")).body).toMatchObject({ status: 409, code: "mailbox_paused" });
  await api.call("POST", `/v1/mailboxes/${mailboxId}/resume`, { key });
});
