import { relative, resolve } from "node:path";
import { z } from "zod";
import { StartError } from "./processes.ts";

const port = (preset: number) => z.coerce.number().int().min(1).max(65_535).default(preset);

/** What `npm start` adds to the settings of config.ts, and where its defaults differ. */
export const environment = z.object({
  EVERPOST_DATA_DIR: z.string().default(".everpost"),
  EVERPOST_API_PORT: port(3000),
  EVERPOST_POSTGRES_PORT: port(54320),
  EVERPOST_TEMPORAL_PORT: port(7233),
  EVERPOST_TEMPORAL_UI_PORT: port(8233),
  EVERPOST_SANDBOX: z
    .enum(["true", "false", "1", "0"])
    .default("true")
    .transform((text) => text === "true" || text === "1"),
  EVERPOST_SANDBOX_IMAP_PORT: port(3143),
  EVERPOST_SANDBOX_SMTP_PORT: port(3025),
  EVERPOST_ENCRYPTION_KEYS: z.string().optional(),
  EVERPOST_ALLOW_PRIVATE_NETWORKS: z.string().default("127.0.0.0/8,::1/128"),
  DATABASE_URL: z.string().optional(),
  TEMPORAL_ADDRESS: z.string().optional(),
  TEMPORAL_NAMESPACE: z.string().default("mail"),
});

/** What `npm start` reads from the environment itself; the rest is passed on to its parts, which read it through config.ts. */
export interface StartSettings {
  /** Absolute. */
  readonly dataDir: string;
  /** The same, short enough to read in a terminal. */
  readonly dataDirShown: string;
  readonly apiPort: number;
  readonly postgresPort: number;
  readonly temporalPort: number;
  readonly temporalUiPort: number;
  /** Undefined where the sandbox is switched off. */
  readonly sandbox: { readonly imapPort: number; readonly smtpPort: number } | undefined;
  readonly encryptionKeys: string | undefined;
  readonly allowPrivateNetworks: string;
  /** Set where an own PostgreSQL replaces the embedded one. */
  readonly databaseUrl: string | undefined;
  /** Set where an own cluster replaces the embedded server. */
  readonly temporalAddress: string | undefined;
  readonly temporalNamespace: string;
}

export function readStartSettings(env: Readonly<Record<string, string | undefined>>, root: string): StartSettings {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    throw new StartError(parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "));
  }
  const e = parsed.data;
  refuseDoublePorts(e);
  const dataDir = resolve(root, e.EVERPOST_DATA_DIR);
  const short = relative(process.cwd(), dataDir);
  return {
    dataDir,
    dataDirShown: short.startsWith("..") ? dataDir : short,
    apiPort: e.EVERPOST_API_PORT,
    postgresPort: e.EVERPOST_POSTGRES_PORT,
    temporalPort: e.EVERPOST_TEMPORAL_PORT,
    temporalUiPort: e.EVERPOST_TEMPORAL_UI_PORT,
    sandbox: e.EVERPOST_SANDBOX ? { imapPort: e.EVERPOST_SANDBOX_IMAP_PORT, smtpPort: e.EVERPOST_SANDBOX_SMTP_PORT } : undefined,
    encryptionKeys: e.EVERPOST_ENCRYPTION_KEYS,
    allowPrivateNetworks: e.EVERPOST_ALLOW_PRIVATE_NETWORKS,
    databaseUrl: e.DATABASE_URL,
    temporalAddress: e.TEMPORAL_ADDRESS,
    temporalNamespace: e.TEMPORAL_NAMESPACE,
  };
}

function refuseDoublePorts(e: z.infer<typeof environment>): void {
  const taken = new Map<number, string>();
  for (const [name, value] of Object.entries(e)) {
    if (!name.endsWith("_PORT") || typeof value !== "number") continue;
    const other = taken.get(value);
    if (other !== undefined) throw new StartError(`${other} and ${name} are both ${value}: each part needs a port of its own`);
    taken.set(value, name);
  }
}
