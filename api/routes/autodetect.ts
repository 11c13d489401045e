import { z } from "zod";
import { domainOf } from "../../domain/address.ts";
import { emailSchema } from "../mailbox-body.ts";
import { route } from "../route.ts";
import { authKindSchema, presetServerSchema } from "./presets.ts";

const sourceSchema = z
  .enum(["domain", "mx", "srv", "autoconfig", "guess"])
  .describe("What it rests on: a table of ours, the domain's mail exchangers, its SRV records, its autoconfig file, or nothing but habit.");

const detectedServerSchema = presetServerSchema.extend({ source: sourceSchema });

const detectedSchema = z
  .strictObject({
    domain: z.string(),
    preset: z.string().nullable().describe("The preset that says it all; null where the servers have to be given."),
    displayName: z.string().nullable(),
    source: sourceSchema,
    imap: detectedServerSchema.nullable(),
    smtp: detectedServerSchema.nullable(),
    auth: z.array(authKindSchema),
    helpUrl: z.string().nullable(),
    alternatives: z.strictObject({ imap: z.array(detectedServerSchema), smtp: z.array(detectedServerSchema) }),
  })
  .meta({ id: "DetectedSettings" });

export const autodetectRoutes = [
  route(
    {
      method: "post",
      path: "/v1/autodetect",
      operationId: "autodetect",
      summary: "Find the mail servers of an address",
      description:
        "By its domain, its mail exchangers, its SRV records (RFC 6186) and its autoconfig file. A suggestion for a person to accept, not a proof.",
      tags: ["Mailboxes"],
      auth: { scope: "mailboxes:read", openToMailboxKeys: true, customer: "optional" },
      isChange: false,
      body: z.strictObject({ email: emailSchema }),
      example: { email: "ann@example.com" },
      response: detectedSchema,
    },
    // Only the domain goes through Temporal, whose histories hold no addresses.
    async ({ body, deps, requestId }) => (await deps.commands.autodetect(domainOf(body.email), requestId)) as z.input<typeof detectedSchema>,
  ),
];
