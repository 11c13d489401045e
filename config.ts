import { hostname } from "node:os";
import { z } from "zod";

/** A whole number from a text setting, within bounds that the error names. */
const wholeNumber = (min: number, max: number, preset: number) => z.coerce.number().int().min(min).max(max).default(preset);

const flag = (preset: boolean) =>
  z
    .enum(["true", "false", "1", "0"])
    .transform((text) => text === "true" || text === "1")
    .default(preset);

const list = z
  .string()
  .default("")
  .transform((text) =>
    text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== ""),
  );

/** One AES-256 key with the name that marks what it sealed: `name:base64`. */
const keyRing = z
  .string({ error: 'at least one key, `name:base64` of 32 bytes; make one with `echo "k1:$(openssl rand -base64 32)"`' })
  .transform((text, context) => {
    const keys = text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
    return keys.map((item) => {
      const [name = "", encoded = ""] = item.split(":");
      const bytes = Buffer.from(encoded, "base64");
      if (!/^[a-z0-9_-]{1,32}$/i.test(name) || bytes.length !== 32) {
        context.addIssue({ code: "custom", message: "each key is `name:base64`, 32 bytes; make one with `openssl rand -base64 32`" });
      }
      return { name, bytes };
    });
  })
  .refine((keys) => keys.length > 0, "at least one key is needed, the first one seals: `name:base64` of 32 bytes");

/** Which task queues a worker process serves; `all` is for small installations. */
export const workerRoles = ["mail", "providers", "bulk", "content", "idle", "webhooks"] as const;
export type WorkerRole = (typeof workerRoles)[number];

const roles = z
  .string()
  .default("all")
  .transform((text, context): readonly WorkerRole[] => {
    if (text === "all") return workerRoles;
    const names = text.split(",").map((item) => item.trim());
    const unknown = names.filter((name) => !workerRoles.includes(name as WorkerRole));
    if (unknown.length > 0)
      context.addIssue({ code: "custom", message: `unknown role ${unknown.join(", ")}; known are ${workerRoles.join(", ")} and all` });
    return workerRoles.filter((role) => names.includes(role));
  });

/** Every setting of API and workers, as text: what docs/configuration.md is checked against. */
export const environment = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/, error: "a PostgreSQL URL: postgres://user:password@host:5432/database" }),
  EVERPOST_DATABASE_POOL: wholeNumber(2, 200, 10),
  EVERPOST_DATABASE_STATEMENT_SECONDS: wholeNumber(1, 3_600, 60),
  EVERPOST_ENCRYPTION_KEYS: keyRing,
  TEMPORAL_ADDRESS: z.string().default("127.0.0.1:7233"),
  TEMPORAL_NAMESPACE: z.string().default("mail"),
  EVERPOST_TASK_QUEUE_PREFIX: z
    .string()
    .regex(/^[a-z0-9-]*$/)
    .default(""),
  EVERPOST_API_HOST: z.string().default("127.0.0.1"),
  EVERPOST_API_PORT: wholeNumber(0, 65_535, 3000),
  EVERPOST_API_CONNECTIONS_MAX: wholeNumber(10, 100_000, 12_000),
  EVERPOST_API_EVENT_STREAMS_MAX: wholeNumber(1, 100_000, 10_000),
  EVERPOST_API_STREAMS_MAX: wholeNumber(1, 10_000, 100),
  EVERPOST_WORKER_ROLES: roles,
  EVERPOST_WORKER_CACHED_WORKFLOWS: wholeNumber(0, 100_000, 1_000),
  EVERPOST_WORKER_ACTIVATE_PATCHES: flag(true),
  EVERPOST_METRICS_ADDRESS: z.string().optional(),
  EVERPOST_IDLE_CONNECTIONS_PER_SHARD: wholeNumber(1, 2_000, 500),
  EVERPOST_POLL_FLOOR_SECONDS: wholeNumber(60, 86_400, 3_600),
  EVERPOST_STATUS_POLL_SECONDS: wholeNumber(1, 3_600, 120),
  EVERPOST_MOVE_GRACE_SECONDS: wholeNumber(1, 86_400, 60),
  EVERPOST_PAGE_SIZE: wholeNumber(1, 5_000, 500),
  EVERPOST_BLOB_DIR: z.string().default(".everpost/blobs"),
  EVERPOST_BLOB_S3_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "a bucket's name: lower-case letters, digits, dots and hyphens")
    .optional(),
  EVERPOST_BLOB_S3_ENDPOINT: z.url({ protocol: /^https?$/, error: "a URL: https://s3.eu-central-1.amazonaws.com" }).optional(),
  EVERPOST_BLOB_S3_REGION: z.string().default("us-east-1"),
  EVERPOST_BLOB_S3_PREFIX: z
    .string()
    .regex(/^[\w./-]*$/, "letters, digits, and ./-_ between them")
    .default(""),
  EVERPOST_BLOB_S3_ACCESS_KEY_ID: z.string().optional(),
  EVERPOST_BLOB_S3_SECRET_ACCESS_KEY: z.string().optional(),
  EVERPOST_ALLOW_PRIVATE_NETWORKS: list,
  EVERPOST_RATE_LIMIT_PER_MINUTE: wholeNumber(1, 1_000_000, 6_000),
  EVERPOST_LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"),
  EVERPOST_LOG_PRETTY: flag(false),
});

export interface Config {
  readonly database: { readonly url: string; readonly poolMax: number; readonly statementMaxMs: number };
  /** The first key seals; every key opens. */
  readonly keyRing: readonly { readonly name: string; readonly bytes: Buffer }[];
  readonly temporal: { readonly address: string; readonly namespace: string; readonly taskQueuePrefix: string };
  readonly api: {
    readonly host: string;
    readonly port: number;
    readonly rateLimitPerMinute: number;
    /** Connections that are open at once, of whatever kind. */
    readonly connectionsMax: number;
    /** Clients that follow the stream of events. */
    readonly eventStreamsMax: number;
    /** Downloads under way. */
    readonly streamsMax: number;
  };
  readonly worker: {
    readonly roles: readonly WorkerRole[];
    readonly cachedWorkflowsMax: number;
    /** False while workers of an earlier release still run, which could not follow what new workflow code adds. */
    readonly activatesPatches: boolean;
    readonly metricsAddress: string | undefined;
    readonly identity: string;
  };
  readonly sync: {
    readonly idleConnectionsPerShard: number;
    /** However well push works, each mailbox is read in full this often. */
    readonly pollFloorMs: number;
    /** How often folders without an IDLE connection of their own are asked by STATUS. */
    readonly statusPollMs: number;
    /** How long a message that left a folder may be on its way to another, where no quiet look proves that it is gone. */
    readonly graceMs: number;
    readonly pageSize: number;
  };
  /** Where kept content lies: in a directory that all processes see, or in a bucket. */
  readonly blobs: {
    readonly dir: string;
    readonly s3:
      | {
          readonly endpoint: string;
          readonly region: string;
          readonly bucket: string;
          readonly prefix: string;
          readonly accessKeyId: string;
          readonly secretAccessKey: string;
        }
      | undefined;
  };
  /** Networks in CIDR form that webhook targets and mail servers may lie in although they are private. */
  readonly allowPrivateNetworks: readonly string[];
  readonly log: { readonly level: string; readonly isPretty: boolean };
}

/** A setting that is missing or wrong, named, with what it should be: printed as it stands when a start fails. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** The only reader of the environment. Throws a ConfigError that names every wrong setting at once. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
    throw new ConfigError(`The configuration is not complete:\n${lines.join("\n")}\nSee docs/configuration.md for every setting.`);
  }
  const e = parsed.data;
  return Object.freeze({
    database: { url: e.DATABASE_URL, poolMax: e.EVERPOST_DATABASE_POOL, statementMaxMs: e.EVERPOST_DATABASE_STATEMENT_SECONDS * 1000 },
    keyRing: e.EVERPOST_ENCRYPTION_KEYS,
    temporal: { address: e.TEMPORAL_ADDRESS, namespace: e.TEMPORAL_NAMESPACE, taskQueuePrefix: e.EVERPOST_TASK_QUEUE_PREFIX },
    api: {
      host: e.EVERPOST_API_HOST,
      port: e.EVERPOST_API_PORT,
      rateLimitPerMinute: e.EVERPOST_RATE_LIMIT_PER_MINUTE,
      connectionsMax: e.EVERPOST_API_CONNECTIONS_MAX,
      eventStreamsMax: e.EVERPOST_API_EVENT_STREAMS_MAX,
      streamsMax: e.EVERPOST_API_STREAMS_MAX,
    },
    worker: {
      roles: e.EVERPOST_WORKER_ROLES,
      cachedWorkflowsMax: e.EVERPOST_WORKER_CACHED_WORKFLOWS,
      activatesPatches: e.EVERPOST_WORKER_ACTIVATE_PATCHES,
      metricsAddress: e.EVERPOST_METRICS_ADDRESS,
      identity: `${e.EVERPOST_WORKER_ROLES.join("+")}@${hostname()}:${process.pid}`,
    },
    sync: {
      idleConnectionsPerShard: e.EVERPOST_IDLE_CONNECTIONS_PER_SHARD,
      pollFloorMs: e.EVERPOST_POLL_FLOOR_SECONDS * 1000,
      statusPollMs: e.EVERPOST_STATUS_POLL_SECONDS * 1000,
      graceMs: e.EVERPOST_MOVE_GRACE_SECONDS * 1000,
      pageSize: e.EVERPOST_PAGE_SIZE,
    },
    blobs: { dir: e.EVERPOST_BLOB_DIR, s3: s3Settings(e) },
    allowPrivateNetworks: e.EVERPOST_ALLOW_PRIVATE_NETWORKS,
    log: { level: e.EVERPOST_LOG_LEVEL, isPretty: e.EVERPOST_LOG_PRETTY },
  });
}

function s3Settings(e: z.output<typeof environment>): Config["blobs"]["s3"] {
  const { EVERPOST_BLOB_S3_BUCKET: bucket, EVERPOST_BLOB_S3_REGION: region, EVERPOST_BLOB_S3_PREFIX: prefix } = e;
  if (bucket === undefined) return undefined;
  const accessKeyId = e.EVERPOST_BLOB_S3_ACCESS_KEY_ID;
  const secretAccessKey = e.EVERPOST_BLOB_S3_SECRET_ACCESS_KEY;
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new ConfigError(
      "The configuration is not complete:\n  EVERPOST_BLOB_S3_BUCKET needs EVERPOST_BLOB_S3_ACCESS_KEY_ID and EVERPOST_BLOB_S3_SECRET_ACCESS_KEY as well.",
    );
  }
  const endpoint = e.EVERPOST_BLOB_S3_ENDPOINT ?? `https://s3.${region}.amazonaws.com`;
  return { endpoint, region, bucket, prefix, accessKeyId, secretAccessKey };
}

/** For programs that a person starts: what is wrong with the settings is printed as it stands, without a stack. */
export function loadConfigOrExit(env: Readonly<Record<string, string | undefined>>): Config {
  try {
    return loadConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}
