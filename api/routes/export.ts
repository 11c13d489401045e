import { Readable } from "node:stream";
import { z } from "zod";
import { findExportStart } from "../../db/export.ts";
import { listFolders } from "../../db/folders.ts";
import { findWorkMailbox } from "../../db/mailbox-state.ts";
import { findMailbox } from "../../db/mailboxes.ts";
import { catalogue, type MailErrorCode } from "../../domain/errors.ts";
import { invalid, notFound } from "../errors.ts";
import { endOfArchive, maildirEntry } from "../export/maildir.ts";
import { mboxEntry } from "../export/mbox.ts";
import { type ExportedSource, exportSources } from "../export/sources.ts";
import { answered, route } from "../route.ts";
import { idParams, idSchema } from "../schemas.ts";
import { downloadHeaders, sendStream } from "../send-content.ts";

const formats = {
  mbox: { contentType: "application/mbox", extension: "mbox" },
  maildir: { contentType: "application/x-tar", extension: "tar" },
} as const;

export const exportRoutes = [
  route(
    {
      method: "get",
      path: "/v1/mailboxes/{id}/export",
      operationId: "exportMailbox",
      summary: "Export a mailbox",
      description: [
        "Every message once, oldest first, as its server has it to the byte: as one mbox file (RFC 4155, quoted as mboxrd), or as a Maildir++ in a tar archive.",
        "It comes from what is kept, or else from the server, as fast as it is taken.",
        "A download that broke off is resumed with `cursor`, the id of the message to begin with. In an mbox it stands in the last line that begins with `From `: " +
          "cut the file before that line and append what the resumed export gives. In a Maildir it is in the name of the last file: unpack the second archive over the first.",
        "The trailer `Everpost-Missing` counts messages that were not to be had: gone meanwhile, or refused by the server.",
      ].join("\n\n"),
      tags: ["Mailboxes"],
      auth: { scope: "messages:read", openToMailboxKeys: true },
      params: idParams("mailbox"),
      query: z.strictObject({
        format: z.enum(["mbox", "maildir"]).default("mbox"),
        folderId: idSchema("folder").optional().describe("Only what lies in this folder, which is one of the mailbox's."),
        cursor: idSchema("message").optional().describe("Begins with this message."),
      }),
      contentType: Object.values(formats).map(({ contentType }) => contentType),
      problems: ["service_unavailable"],
      mailProblems: Object.keys(catalogue) as MailErrorCode[],
    },
    async ({ params, query, db, deps, request, response }): Promise<typeof answered> => {
      if ((await findMailbox(db, params.id)) === undefined) throw notFound("mailbox");
      const folders = await listFolders(db, [params.id]);
      if (query.folderId !== undefined && !folders.some(({ id }) => id === query.folderId)) {
        throw invalid({ in: "query", pointer: "#/folderId", detail: "is no folder of this mailbox" });
      }
      const start = query.cursor === undefined ? undefined : await findExportStart(db, params.id, query.cursor);
      if (query.cursor !== undefined && start === undefined) {
        throw invalid({ in: "query", pointer: "#/cursor", detail: "is no message of this mailbox; leave it out to begin anew" });
      }
      const { contentType, extension } = formats[query.format];
      let missing = 0;
      const onOpen = () => {
        const headers = { ...downloadHeaders({ contentType, fileName: `${params.id}.${extension}` }), Trailer: "Everpost-Missing" };
        for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      };
      if (request.method === "HEAD") {
        onOpen();
        response.end();
        return answered;
      }
      const delimiters = new Map(folders.map(({ path, delimiter }) => [path, delimiter]));
      await deps.streams.use(async () => {
        const mailbox = await findWorkMailbox(deps.db, params.id);
        if (mailbox === undefined) throw notFound("mailbox");
        await sendStream(
          response,
          (signal, take) =>
            deps.sessions.use(mailbox, (provider) => {
              const options = { folderId: query.folderId, start, signal };
              const sources = exportSources(deps, { id: params.id, provider }, options, () => {
                missing += 1;
              });
              return take(Readable.from(write(query.format, sources, delimiters), { objectMode: false }));
            }),
          onOpen,
          () => response.addTrailers({ "Everpost-Missing": String(missing) }),
        );
      });
      return answered;
    },
  ),
];

async function* write(
  format: keyof typeof formats,
  sources: AsyncIterable<ExportedSource>,
  delimiters: ReadonlyMap<string, string>,
): AsyncGenerator<Buffer> {
  for await (const { message, sizeBytes, stream } of sources) {
    if (format === "mbox") yield* mboxEntry(message, stream);
    else yield* maildirEntry({ ...message, delimiter: delimiters.get(message.path) ?? "/" }, { sizeBytes, stream });
  }
  if (format === "maildir") yield endOfArchive;
}
