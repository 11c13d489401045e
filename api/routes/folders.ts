import { z } from "zod";
import { listFolders } from "../../db/folders.ts";
import { findMailbox } from "../../db/mailboxes.ts";
import { notFound } from "../errors.ts";
import { folderSchema, toFolderBody } from "../mailbox-schemas.ts";
import { route } from "../route.ts";
import { idParams } from "../schemas.ts";

export const folderRoutes = [
  route(
    {
      method: "get",
      path: "/v1/mailboxes/{id}/folders",
      operationId: "listFolders",
      summary: "List a mailbox's folders",
      description: "All of them, by path, each with how far its import is.",
      tags: ["Folders"],
      auth: { scope: "mailboxes:read", openToMailboxKeys: true },
      params: idParams("mailbox"),
      response: z.strictObject({ data: z.array(folderSchema), nextCursor: z.null().describe("There is one page only.") }),
    },
    async ({ params, db }) => {
      if ((await findMailbox(db, params.id)) === undefined) throw notFound("mailbox");
      return { data: (await listFolders(db, [params.id])).map(toFolderBody), nextCursor: null };
    },
  ),
];
