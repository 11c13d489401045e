import { z } from "zod";
import { type FolderRow, listFolders } from "../../db/folders.ts";
import { findMailbox } from "../../db/mailboxes.ts";
import type { ScopedConnection } from "../../db/scope.ts";
import { catalogue, MailError, type MailErrorCode } from "../../domain/errors.ts";
import type { FolderId, MailboxId } from "../../domain/ids.ts";
import { awayProblem } from "../act-on-messages.ts";
import type { ApiDeps } from "../deps.ts";
import { invalid, notFound } from "../errors.ts";
import { folderSchema, toFolderBody } from "../mailbox-schemas.ts";
import { Reply, route } from "../route.ts";
import { idParams, idSchema } from "../schemas.ts";

const tags = ["Folders"];
const writing = { scope: "messages:write", openToMailboxKeys: true } as const;
const mailProblems = Object.keys(catalogue) as MailErrorCode[];
const folderParams = z.strictObject({ id: idSchema("mailbox"), folderId: idSchema("folder") });

/** In full, from the top, as the listing of folders shows paths. What LIST takes for wildcards makes folders that many programs cannot show. */
const pathSchema = z
  .string()
  .min(1)
  .max(1_000)
  .regex(/^[^\p{Cc}%*]+$/u, "no control characters, % or *")
  .transform((path) => path.normalize("NFC"))
  .describe("In full, from the top, with the mailbox's own delimiter between names.");

export const folderRoutes = [
  route(
    {
      method: "get",
      path: "/v1/mailboxes/{id}/folders",
      operationId: "listFolders",
      summary: "List a mailbox's folders",
      description: "All of them, by path, each with how far its import is.",
      tags,
      auth: { scope: "mailboxes:read", openToMailboxKeys: true },
      params: idParams("mailbox"),
      response: z.strictObject({ data: z.array(folderSchema), nextCursor: z.null().describe("There is one page only.") }),
    },
    async ({ params, db }) => {
      if ((await findMailbox(db, params.id)) === undefined) throw notFound("mailbox");
      return { data: (await listFolders(db, [params.id])).map(toFolderBody), nextCursor: null };
    },
  ),

  route(
    {
      method: "post",
      path: "/v1/mailboxes/{id}/folders",
      operationId: "createFolder",
      summary: "Create a folder at the mail server",
      tags,
      auth: writing,
      status: 201,
      params: idParams("mailbox"),
      body: z.strictObject({ path: pathSchema }),
      example: { path: "Customers/Example Ltd" },
      response: folderSchema,
      problems: ["service_unavailable"],
      mailProblems,
    },
    async ({ params, body, deps, db, audit, requestId }) => {
      const { path, folders } = await prepare(deps, db, params.id, body.path);
      if (folders.some((folder) => folder.path === path)) throw new MailError("folder_exists", { doing: "creating a folder" });
      await audit(deps.db, { action: "folder.created", target: params.id, mailboxId: params.id });
      await deps.commands.changeFolder(params.id, { type: "create", path }, requestId);
      const folder = (await listFolders(db, [params.id])).find((row) => row.path === path);
      // Some servers put every folder below the inbox, whatever was asked for.
      if (folder === undefined) throw new MailError("write_refused", { doing: "creating a folder: the server made it elsewhere" });
      return new Reply(201, toFolderBody(folder), { Location: `/v1/mailboxes/${params.id}/folders` });
    },
  ),

  route(
    {
      method: "patch",
      path: "/v1/mailboxes/{id}/folders/{folderId}",
      operationId: "renameFolder",
      summary: "Rename or move a folder at the mail server",
      description: "With every folder below it. The folder keeps its id, its messages theirs. Folders with a role are refused.",
      tags,
      auth: writing,
      params: folderParams,
      body: z.strictObject({ path: pathSchema }),
      example: { path: "Customers/Former" },
      response: folderSchema,
      problems: ["service_unavailable"],
      mailProblems,
    },
    async ({ params, body, deps, db, audit, requestId }) => {
      const folder = await getFolder(db, params);
      const { path } = await prepare(deps, db, params.id, body.path);
      if (folder.delimiter !== "" && path.startsWith(`${folder.path}${folder.delimiter}`)) throw badPath("not below the folder itself");
      refuseSpecial(folder);
      if (path !== folder.path) {
        await audit(deps.db, { action: "folder.renamed", target: folder.id, mailboxId: params.id });
        await deps.commands.changeFolder(params.id, { type: "rename", folderId: folder.id, path }, requestId);
      } else await audit(deps.db, { action: "folder.renamed", target: folder.id, mailboxId: params.id, details: { isSame: true } });
      return toFolderBody(await getFolder(db, params));
    },
  ),

  route(
    {
      method: "delete",
      path: "/v1/mailboxes/{id}/folders/{folderId}",
      operationId: "deleteFolder",
      summary: "Delete a folder at the mail server",
      description:
        "Refused for folders with a role, and, without `force=true`, for folders that hold messages or folders: those go with it, for good.",
      tags,
      auth: writing,
      params: folderParams,
      query: z.strictObject({ force: z.enum(["true", "false"]).default("false") }),
      problems: ["service_unavailable"],
      mailProblems,
    },
    async ({ params, query, deps, db, audit, requestId }) => {
      const folder = await getFolder(db, params);
      refuseSpecial(folder);
      await prepare(deps, db, params.id, undefined);
      const force = query.force === "true";
      await audit(deps.db, { action: "folder.deleted", target: folder.id, mailboxId: params.id, details: { force } });
      await deps.commands.changeFolder(params.id, { type: "delete", folderId: folder.id, force }, requestId);
      return undefined;
    },
  ),
];

async function getFolder(db: ScopedConnection, params: { readonly id: MailboxId; readonly folderId: FolderId }): Promise<FolderRow> {
  if ((await findMailbox(db, params.id)) === undefined) throw notFound("folder");
  const folder = (await listFolders(db, [params.id])).find((row) => row.id === params.folderId);
  if (folder === undefined) throw notFound("folder");
  return folder;
}

function refuseSpecial({ role, path }: FolderRow): void {
  if (role !== "none" || path.toUpperCase() === "INBOX") throw new MailError("special_folder", { doing: "changing a folder" });
}

/** The mailbox's folders, and the wanted path if the mailbox can have one like it. Throws why the mailbox cannot be written to now. */
async function prepare(deps: ApiDeps, db: ScopedConnection, mailboxId: MailboxId, wanted: string | undefined) {
  const mailbox = await findMailbox(db, mailboxId);
  if (mailbox === undefined) throw notFound("mailbox");
  const folders = await listFolders(db, [mailboxId]);
  const path = wanted ?? "";
  if (wanted !== undefined) {
    const delimiter = folders.find((folder) => folder.delimiter !== "")?.delimiter ?? "";
    const parts = delimiter === "" ? [path] : path.split(delimiter);
    if (parts.some((part) => part.trim() === "")) throw badPath(`a name between every two "${delimiter}"`);
    if (parts.some((part) => Buffer.byteLength(part) > 200)) throw badPath("names of at most 200 bytes");
    if (path.toUpperCase() === "INBOX") throw badPath("not INBOX, which every mailbox has");
  }
  const away = awayProblem(deps, mailbox);
  if (away !== undefined) throw new MailError(away.code, { doing: "changing a folder", fix: away.fix, serverSaid: away.serverSaid ?? undefined });
  return { folders, path };
}

function badPath(detail: string) {
  return invalid({ in: "body", pointer: "#/path", detail });
}
