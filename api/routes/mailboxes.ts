import { z } from "zod";
import { saveCredentials } from "../../db/credentials.ts";
import { listFolders } from "../../db/folders.ts";
import {
  findMailbox,
  findMailboxByExternalId,
  lockMailbox,
  type MailboxFilter,
  type MailboxRow,
  readCredentials,
  scanMailboxes,
  toFacts,
  updateMailbox,
} from "../../db/mailboxes.ts";
import type { Page, PageRequest } from "../../db/pages.ts";
import { previewSettings } from "../../db/preview-settings.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { inTransaction } from "../../db/transaction.ts";
import { MailError } from "../../domain/errors.ts";
import type { FolderId, MailboxId } from "../../domain/ids.ts";
import { describeMailbox, mailboxStatuses } from "../../domain/mailbox.ts";
import { defaultSyncSettings, type SyncSettings } from "../../domain/sync-settings.ts";
import { awayProblem } from "../act-on-messages.ts";
import type { MailboxCommand } from "../commands.ts";
import { connectMailbox } from "../connect-mailbox.ts";
import type { ApiDeps } from "../deps.ts";
import { ApiError, invalid, notFound } from "../errors.ts";
import { judgeHosts } from "../judge-hosts.ts";
import { changeMailboxSchema, emailSchema, namedHosts, newMailboxSchema, toChanges, toWantedMailbox } from "../mailbox-body.ts";
import { mailboxSchema, previewSchema, toMailboxBodies } from "../mailbox-schemas.ts";
import { Reply, type Route, route } from "../route.ts";
import { idParams, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const tags = ["Mailboxes"];
const reading = { scope: "mailboxes:read", openToMailboxKeys: true } as const;
const writing = { scope: "mailboxes:write", openToMailboxKeys: true } as const;

const example = {
  email: "ann@example.com",
  externalId: "user-42",
  preset: "fastmail",
  password: "an app password",
};

export const mailboxRoutes: readonly Route[] = [
  route(
    {
      method: "post",
      path: "/v1/mailboxes",
      operationId: "connectMailbox",
      summary: "Connect a mailbox",
      description:
        "Stores the mailbox and starts to sync it. 201 means that both are safe, not that the credentials are right: follow `status`, or test them " +
        "first. If Temporal is away the answer is 503 and the mailbox is stored; the same request again goes on from there.",
      tags,
      auth: { scope: "mailboxes:write" },
      status: 201,
      body: newMailboxSchema,
      example,
      response: mailboxSchema,
      problems: ["conflict"],
      mailProblems: ["private_address_refused"],
    },
    async ({ body, scope, deps, db, audit, idempotencyKey }) => {
      const wanted = toWantedMailbox(body);
      await judgeHosts(deps.config, namedHosts(body.provider, body));
      const id = await connectMailbox({ deps, db, customerId: scope.customerId, idempotencyKey, audit }, wanted);
      return new Reply(201, await readMailbox(deps, db, id), { Location: `/v1/mailboxes/${id}` });
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/mailboxes",
      operationId: "listMailboxes",
      summary: "List mailboxes",
      description: "A page may hold fewer than `limit` although more follow: go on while `nextCursor` is not null.",
      tags,
      auth: reading,
      query: z.strictObject({
        ...pageQuery,
        externalId: z.string().max(200).optional(),
        email: emailSchema.optional(),
        status: z.enum(mailboxStatuses).optional(),
      }),
      response: pageOf(mailboxSchema),
    },
    async ({ query, deps, db }) => {
      const page = await findPage(deps, db, query, toPageRequest("mailboxes", query));
      const bodies = await toMailboxBodies(db, page.rows, judgement(deps));
      return toPageBody("mailboxes", { ...page, rows: bodies }, (body) => body);
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/mailboxes/{id}",
      operationId: "getMailbox",
      summary: "Get a mailbox",
      tags,
      auth: reading,
      params: idParams("mailbox"),
      response: mailboxSchema,
    },
    async ({ params, deps, db }) => readMailbox(deps, db, params.id),
  ),

  route(
    {
      method: "patch",
      path: "/v1/mailboxes/{id}",
      operationId: "changeMailbox",
      summary: "Change a mailbox's settings or credentials",
      description:
        "What is left out stays as it is. New settings and credentials are used at once; if they are wrong, `status` says so. A server or proxy on another host " +
        "needs its password again. With `dryRun=true` nothing changes: the answer counts what a change of `sync` would add and " +
        "forget, and asks the mail server how much it holds, for a quarter of a minute at most.",
      tags,
      auth: writing,
      params: idParams("mailbox"),
      query: z.strictObject({ dryRun: z.enum(["true", "false"]).default("false") }),
      body: changeMailboxSchema,
      example: { password: "a new app password" },
      response: z.union([mailboxSchema, previewSchema]),
      problems: ["conflict"],
      mailProblems: ["private_address_refused"],
    },
    async ({ params, query, body, deps, db, audit, requestId }) => {
      await judgeHosts(deps.config, namedHosts((await getMailbox(db, params.id)).provider, body));
      if (query.dryRun === "true") {
        const preview = await previewChange(deps, db, params.id, body, requestId);
        await audit(db, { action: "mailbox.change_previewed", target: params.id, mailboxId: params.id, details: { members: Object.keys(body) } });
        return preview;
      }
      const row = await inTransaction(db, async (trx) => {
        const locked = await lockMailbox(trx, params.id);
        if (locked === undefined) throw notFound("mailbox");
        const credentials = await readCredentials(trx, deps.config.keyRing, locked.id);
        const changes = toChanges({ ...locked, credentials }, body);
        await refuseTakenExternalId(trx, locked.id, changes.externalId);
        await refuseUnknownPaths(trx, locked, changes.sync);
        await updateMailbox(trx, locked.id, changes);
        if (changes.credentials !== undefined) {
          await saveCredentials(trx, deps.config.keyRing, { id: locked.id, customerId: locked.customer_id }, changes.credentials);
        }
        await audit(trx, { action: "mailbox.changed", target: locked.id, mailboxId: locked.id, details: { members: Object.keys(body) } });
        return locked;
      });
      await deps.commands.settingsChanged(toTarget(row));
      return readMailbox(deps, db, row.id);
    },
  ),

  route(
    {
      method: "delete",
      path: "/v1/mailboxes/{id}",
      operationId: "disconnectMailbox",
      summary: "Disconnect a mailbox",
      description: "Stops its sync and forgets its credentials. With `purge=true` its folders, messages and events are erased as well.",
      tags,
      auth: writing,
      params: idParams("mailbox"),
      query: z.strictObject({ purge: z.enum(["true", "false"]).default("false") }),
    },
    async ({ params, query, deps, db, audit }) => {
      const row = await getMailbox(db, params.id);
      const purge = query.purge === "true";
      await deps.commands.disconnect(toTarget(row), { purge });
      await audit(deps.db, { action: "mailbox.disconnected", target: row.id, mailboxId: row.id, details: { purge } });
      return undefined;
    },
  ),

  command("sync", "syncMailbox", "Look at every folder now"),
  command("pause", "pauseMailbox", "Pause a mailbox's sync"),
  command("resume", "resumeMailbox", "Resume a paused mailbox"),
  command("resync", "resyncMailbox", "List every folder from the start", "Nothing is told a second time."),
  command("reconnect", "reconnectMailbox", "Try to connect again now", "With the credentials as they are stored; change them with PATCH."),
];

function command(name: MailboxCommand, operationId: string, summary: string, description?: string): Route {
  return route(
    {
      method: "post",
      path: `/v1/mailboxes/{id}/${name}`,
      operationId,
      summary,
      ...(description === undefined ? {} : { description }),
      tags,
      auth: writing,
      params: idParams("mailbox"),
      response: mailboxSchema,
      problems: ["conflict"],
    },
    async ({ params, deps, db, audit }) => {
      const row = await getMailbox(db, params.id);
      await deps.commands.command(toTarget(row), name);
      await audit(db, { action: `mailbox.${name}`, target: row.id, mailboxId: row.id });
      return readMailbox(deps, db, row.id);
    },
  );
}

async function getMailbox(db: ScopedConnection, id: MailboxId): Promise<MailboxRow> {
  const row = await findMailbox(db, id);
  if (row === undefined) throw notFound("mailbox");
  return row;
}

async function readMailbox(deps: ApiDeps, db: ScopedConnection, id: MailboxId) {
  const [body] = await toMailboxBodies(db, [await getMailbox(db, id)], judgement(deps));
  if (body === undefined) throw notFound("mailbox");
  return body;
}

function judgement({ config }: ApiDeps) {
  return { pollFloorMs: config.sync.pollFloorMs, now: Date.now() };
}

function toTarget(row: MailboxRow) {
  return { id: row.id, customerId: row.customer_id, provider: row.provider };
}

/** How many rows one request looks at in search of a status that few mailboxes have. */
const scannedMax = 2_000;

/** A page of mailboxes whose status is the wanted one as it is judged now. */
async function findPage(deps: ApiDeps, db: ScopedConnection, filter: MailboxFilter, { limit, after }: PageRequest): Promise<Page<MailboxRow>> {
  const found: MailboxRow[] = [];
  const { pollFloorMs, now } = judgement(deps);
  const batch = filter.status === undefined ? limit + 1 : Math.max(limit + 1, 200);
  let position = after;
  for (let scanned = 0; scanned < scannedMax; scanned += batch) {
    const rows = await scanMailboxes(db, filter, { limit: batch, after: position });
    for (const row of rows) {
      const isWanted = filter.status === undefined || describeMailbox(toFacts(row, pollFloorMs), now).status === filter.status;
      if (isWanted && found.length === limit) return { rows: found, next: position };
      if (isWanted) found.push(row);
      position = { at: row.page_at, id: row.id };
    }
    if (rows.length < batch) return { rows: found, next: undefined };
  }
  return { rows: found, next: position };
}

async function refuseTakenExternalId(trx: ScopedConnection, id: MailboxId, externalId: string | null | undefined): Promise<void> {
  if (externalId == null) return;
  const namesake = await findMailboxByExternalId(trx, externalId);
  if (namesake !== undefined && namesake.id !== id) throw new ApiError("conflict", { detail: `The externalId belongs to mailbox ${namesake.id}.` });
}

/** What a change would do, judged as the change itself would be. */
async function previewChange(deps: ApiDeps, db: ScopedConnection, id: MailboxId, body: z.output<typeof changeMailboxSchema>, requestId: string) {
  const row = await getMailbox(db, id);
  const credentials = await readCredentials(db, deps.config.keyRing, row.id);
  const { sync, externalId } = toChanges({ ...row, credentials }, body);
  await refuseTakenExternalId(db, row.id, externalId);
  await refuseUnknownPaths(db, row, sync);
  const before = { ...defaultSyncSettings, ...row.sync };
  const settings = { before, after: sync ?? before, now: Date.now() };
  return previewSettings(db, row.id, settings, (folders, from) => countAtServer(deps, row, folders, from, requestId));
}

/** What the server of a mailbox says; nothing while the mailbox is away, or nobody answers in time: a preview does without. */
async function countAtServer(
  deps: ApiDeps,
  row: MailboxRow,
  folderIds: readonly FolderId[],
  from: Date | undefined,
  requestId: string,
): Promise<ReadonlyMap<FolderId, number>> {
  if (awayProblem(deps, row) !== undefined) return new Map();
  try {
    const counts = await deps.commands.countFolders({ mailboxId: row.id, folderIds, receivedFrom: from?.getTime() ?? null }, requestId);
    return new Map(folderIds.flatMap((id) => (counts[id] === undefined ? [] : [[id, counts[id]] as const])));
  } catch (error) {
    if (error instanceof MailError || (error instanceof ApiError && error.code === "service_unavailable")) return new Map();
    throw error;
  }
}

/** What a mailbox needs at least: one connection to listen on, and one to read on. */
const connectionsElsewhere = 2;

/** Once folders are known, a path that is named anew has to be one of them. What was named before may have vanished since. */
async function refuseUnknownPaths(db: ScopedConnection, row: MailboxRow, sync: SyncSettings | undefined): Promise<void> {
  if (sync === undefined) return;
  const { connectionsMax } = row.settings;
  if (typeof connectionsMax === "number" && sync.idlePaths.length > Math.max(0, connectionsMax - connectionsElsewhere)) {
    const detail = `each takes a connection; the mail server allows ${connectionsMax}, of which ${connectionsElsewhere} serve the inbox and the reading`;
    throw invalid({ in: "body", pointer: "#/sync/idlePaths", detail });
  }
  const known = new Set((await listFolders(db, [row.id])).map((folder) => folder.path));
  if (known.size === 0) return;
  const before = namedPaths({ ...defaultSyncSettings, ...row.sync });
  const faults = [...namedPaths(sync)].filter(
    ([pointer, path]) => !known.has(path) && before.get(pointer) !== path && ![...before.values()].includes(path),
  );
  if (faults.length > 0) throw invalid(...faults.map(([pointer]) => ({ in: "body" as const, pointer, detail: "names no folder of this mailbox" })));
}

/** Paths that settings name, by where they name them. */
function namedPaths({ sentPath, roleOverrides, includePaths, idlePaths }: SyncSettings): ReadonlyMap<string, string> {
  return new Map([
    ...(sentPath === null ? [] : [["#/sync/sentPath", sentPath] as const]),
    ...Object.keys(roleOverrides).map((path) => [`#/sync/roleOverrides/${path.replaceAll("~", "~0").replaceAll("/", "~1")}`, path] as const),
    ...includePaths.map((path, index) => [`#/sync/includePaths/${index}`, path] as const),
    ...idlePaths.map((path, index) => [`#/sync/idlePaths/${index}`, path] as const),
  ]);
}
