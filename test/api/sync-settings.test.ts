import { afterAll, beforeAll, expect, test } from "vitest";
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
