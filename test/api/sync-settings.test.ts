import { afterAll, beforeAll, expect, test } from "vitest";
import { MailError } from "../../domain/errors.ts";
import { memoryMailbox } from "../../providers/memory/store.ts";
import { until } from "../helpers/wait.ts";
import { startWholeApi, type WholeApi } from "./engine.ts";

let api: WholeApi;
let key: string;
beforeAll(async () => {
  api = await startWholeApi();
  await api.startWorkers(["mail", "providers", "bulk", "idle"]);
  ({ key } = await api.newCustomer());
});
afterAll(() => api[Symbol.asyncDispose]());

let count = 0;
async function connect(sync: object = {}) {
  count += 1;
  const { body } = await api.call("POST", "/v1/mailboxes", {
    key,
    body: { provider: "memory", email: `settings${count}@example.com`, mailbox: `settings-${count}`, sync },
  });
  return shown(body.id, (mailbox) => mailbox.status === "connected" && mailbox.flow.state === "live" && mailbox.nextDueAt !== null);
}

const shown = (id: string, isSo: (mailbox: Awaited<ReturnType<typeof api.call>>["body"]) => boolean) =>
  until(async () => {
    const { body } = await api.call("GET", `/v1/mailboxes/${id}`, { key });
    return isSo(body) ? body : undefined;
  }, "the mailbox to be so");
const change = (id: string, sync: object, query = "") => api.call("PATCH", `/v1/mailboxes/${id}${query}`, { key, body: { sync } });
const rowOf = (id: string) =>
  api.db
    .selectFrom("mailboxes")
    .selectAll()
    .where("id", "=", id as never)
    .executeTakeFirstOrThrow();
const minutesUntil = (instant: string) => Math.round((Date.parse(instant) - Date.now()) / 60_000);

test("without realtime nobody listens, the next look is shown, and both are over when it is realtime again", async () => {
  const { id } = await connect();
  await until(async () => (await rowOf(id)).idle_shard !== null, "a shard");
  await change(id, { frequency: { everyMinutes: 90 } });
  const hourly = await shown(id, (mailbox) => minutesUntil(mailbox.nextDueAt) > 80);
  expect(hourly.flow.state).toBe("live");
  await until(async () => (await rowOf(id)).idle_shard === null, "nobody to listen");
  const before = (await rowOf(id)).last_success_at;
  expect((await api.call("POST", `/v1/mailboxes/${id}/sync`, { key })).status).toBe(200);
  await until(async () => (await rowOf(id)).last_success_at?.getTime() !== before?.getTime(), "a look at once");
  await change(id, { frequency: "realtime" });
  await until(async () => (await rowOf(id)).idle_shard !== null, "a shard again");
});

test("a poll floor takes effect while the mailbox runs", async () => {
  const { id } = await connect();
  await change(id, { pollFloorSeconds: 7_200 });
  await shown(id, (mailbox) => minutesUntil(mailbox.nextDueAt) > 100);
  await change(id, { pollFloorSeconds: 600 });
  await shown(id, (mailbox) => minutesUntil(mailbox.nextDueAt) < 12);
});

test("settings are carried out by the workflow, and a dry run says before what will be", async () => {
  const { id, folders } = await connect();
  const [{ path, role }] = folders;
  const preview = await change(id, { excludePaths: [path] }, "?dryRun=true");
  expect(preview.status).toBe(200);
  expect(preview.body).toMatchObject({
    foldersAdded: [],
    foldersRemoved: [{ path, role }],
    messagesToForget: 0,
    messagesToImport: 0,
  });
  expect((await rowOf(id)).sync.excludePaths).toEqual([]);
  await change(id, { excludePaths: [path] });
  await until(async () => (await rowOf(id)).settled_sync?.excludePaths.length === 1, "the change to be carried out");
  const added = await change(id, { excludePaths: [] }, "?dryRun=true");
  expect(added.body).toMatchObject({ foldersAdded: [{ path }], foldersRemoved: [] });
});

test("a dry run asks the mail server for what it does not know, and does without while the mailbox is away", async () => {
  const server = memoryMailbox(`settings-${count + 1}`);
  const old = { receivedAt: new Date(Date.now() - 100 * 86_400_000).toISOString() };
  server.createFolder("Other");
  server.createFolder("Broken");
  for (const n of [1, 2, 3]) server.append("Other", { envelope: { subject: `${n}` }, ...(n === 3 ? old : {}) });
  for (const n of [1, 2]) server.append("INBOX", { envelope: { subject: `In ${n}` }, ...(n === 2 ? old : {}) });
  const { id } = await connect({ folders: "none", includeRoles: ["inbox"], ageLimitDays: 30 });

  const added = await change(id, { includePaths: ["Other"] }, "?dryRun=true");
  expect(added.body).toEqual({
    foldersAdded: [{ path: "Other", role: "none", messages: 2 }],
    foldersRemoved: [],
    messagesToForget: 0,
    messagesToImport: 2,
  });
  expect((await change(id, { includePaths: ["Other"], ageLimitDays: null }, "?dryRun=true")).body.messagesToImport).toBe(4);
  expect((await change(id, { ageLimitDays: 200 }, "?dryRun=true")).body).toMatchObject({ foldersAdded: [], messagesToImport: 1 });
  const broken = server.folders.get("Broken");
  if (broken !== undefined) broken.failure = new MailError("permission_denied", { doing: "testing" });
  const partly = await change(id, { includePaths: ["Other", "Broken"] }, "?dryRun=true");
  expect(partly.body.foldersAdded.map(({ messages }: { messages: number | null }) => messages).sort()).toEqual([2, null]);

  expect((await api.call("POST", `/v1/mailboxes/${id}/pause`, { key })).status).toBe(200);
  const away = await change(id, { includePaths: ["Other"] }, "?dryRun=true");
  expect([away.status, away.body.messagesToImport, away.body.foldersAdded[0].messages]).toEqual([200, null, null]);
});

test.each([
  ["sentPath", { sentPath: "Nowhere" }, "#/sync/sentPath"],
  ["roleOverrides", { roleOverrides: { "No/where": "sent" } }, "#/sync/roleOverrides/No~1where"],
  ["includePaths", { includePaths: ["Nowhere"] }, "#/sync/includePaths/0"],
  ["idlePaths", { idlePaths: ["Nowhere"] }, "#/sync/idlePaths/0"],
])("refuses %s that names no folder, once folders are known", async (_name, sync, pointer) => {
  const { id } = await connect();
  for (const query of ["", "?dryRun=true"]) {
    const answer = await change(id, sync, query);
    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([400, pointer]);
  }
});

test("refuses more folders to listen to than the mail server lets connections, and says how many there are", async () => {
  const { id, folders } = await connect();
  const [{ path }] = folders;
  await api.db
    .updateTable("mailboxes")
    .set({ settings: JSON.stringify({ ...(await rowOf(id)).settings, connectionsMax: 2 }) })
    .where("id", "=", id as never)
    .execute();
  for (const query of ["", "?dryRun=true"]) {
    const answer = await change(id, { idlePaths: [path] }, query);
    expect([answer.status, answer.body.errors?.[0]?.pointer]).toEqual([400, "#/sync/idlePaths"]);
    expect(answer.body.errors[0].detail).toContain("allows 2");
  }
  expect((await rowOf(id)).sync.idlePaths).toEqual([]);
  await api.db
    .updateTable("mailboxes")
    .set({ settings: JSON.stringify({ ...(await rowOf(id)).settings, connectionsMax: 3 }) })
    .where("id", "=", id as never)
    .execute();
  expect((await change(id, { idlePaths: [path] })).status).toBe(200);
});
