import { z } from "zod";
import { listPresets } from "../../providers/index.ts";
import { route } from "../route.ts";

const tags = ["Mailboxes"];

export const presetServerSchema = z.strictObject({
  host: z.string(),
  port: z.int(),
  security: z.enum(["tls", "starttls", "none"]),
  userName: z.enum(["address", "local-part"]).describe("What the server takes as the user name."),
});

export const authKindSchema = z.enum(["password", "app-password", "oauth"]);

const presetSchema = z
  .strictObject({
    name: z.string().describe("For `preset` in `POST /v1/mailboxes`."),
    displayName: z.string(),
    imap: presetServerSchema,
    smtp: presetServerSchema,
    auth: z.array(authKindSchema).describe("How mail programs get in; `oauth` alone means that no password does."),
    helpUrl: z.string().nullable().describe("Where an owner makes an app password or switches IMAP on."),
    domains: z.array(z.string()),
  })
  .meta({ id: "Preset" });

export const presetRoutes = [
  route(
    {
      method: "get",
      path: "/v1/presets",
      operationId: "listPresets",
      summary: "List the mail providers whose servers need not be typed",
      tags,
      auth: { scope: "mailboxes:read", openToMailboxKeys: true, customer: "optional" },
      response: z.strictObject({ data: z.array(presetSchema), nextCursor: z.null() }),
    },
    async () => ({
      data: listPresets().map(({ name, displayName, imap, smtp, auth, helpUrl, domains }) => ({
        name,
        displayName,
        imap: { ...imap },
        smtp: { ...smtp },
        auth: [...auth],
        helpUrl,
        domains: [...domains],
      })),
      nextCursor: null,
    }),
  ),
];
