/**
 * Who may import whom: the table of ARCHITECTURE.md as data. A room is a folder, or a file that others may import without the rest of its folder.
 * What is not listed is refused, so a new folder begins with a line here.
 */
export interface Room {
  readonly name: string;
  readonly files: RegExp;
  readonly imports: readonly string[];
  /** Rooms of which only types may be used. */
  readonly typesOf?: readonly string[];
  readonly packages?: readonly string[];
  /** Packages of which only types may be used. */
  readonly typesOfPackages?: readonly string[];
  /** Node's built-in modules: all of them, or these. */
  readonly node?: "all" | readonly string[];
}

/** From the bottom to the top: what others stand on comes first. A file belongs to the first line that matches it. */
export const rooms: readonly Room[] = [
  { name: "domain", files: /^domain\//, imports: [] },
  {
    name: "mime",
    files: /^mime\//,
    imports: ["domain"],
    packages: ["html-to-text", "htmlparser2", "iconv-lite", "mailparser", "sanitize-html", "tinypool"],
  },
  { name: "network", files: /^network\//, imports: ["domain"], packages: ["ipaddr.js"], node: ["node:dns/promises"] },
  { name: "config.ts", files: /^config\.ts$/, imports: [], packages: ["zod"], node: ["node:os"] },
  { name: "logging.ts", files: /^logging\.ts$/, imports: [], typesOf: ["config.ts"], packages: ["pino"], node: ["node:stream"] },
  { name: "ending.ts", files: /^ending\.ts$/, imports: [], typesOf: ["logging.ts"] },
  {
    name: "providers/provider.ts",
    files: /^providers\/provider\.ts$/,
    imports: ["domain"],
    typesOfPackages: ["zod", "node:stream"],
  },
  // What providers share: token refresh, when a provider with OAuth comes.
  { name: "providers/oauth.ts", files: /^providers\/oauth\.ts$/, imports: ["domain"], packages: ["undici", "zod"], node: "all" },
  {
    name: "providers/imap",
    files: /^providers\/imap\//,
    imports: ["domain", "mime", "providers/provider.ts", "providers/oauth.ts"],
    packages: ["fast-xml-parser", "imapflow", "nodemailer", "undici", "zod"],
    node: "all",
  },
  {
    name: "providers/memory",
    files: /^providers\/memory\//,
    imports: ["domain", "mime", "providers/provider.ts"],
    packages: ["zod"],
    node: ["node:stream"],
  },
  { name: "providers/index.ts", files: /^providers\/index\.ts$/, imports: ["providers/provider.ts", "providers/imap", "providers/memory"] },
  // Two programs that read their settings; the repositories get what they need from their callers.
  {
    name: "db programs",
    files: /^db\/(migrate|rotate-keys)\.ts$/,
    imports: ["db", "domain", "config.ts"],
    packages: ["kysely"],
    node: ["node:url"],
  },
  { name: "db", files: /^db\//, imports: ["domain"], packages: ["kysely", "pg"], node: ["node:crypto"] },
  {
    name: "webhooks",
    files: /^webhooks\//,
    imports: ["domain"],
    packages: ["undici"],
    node: ["node:crypto", "node:net", "node:timers/promises", "node:tls"],
  },
  // Bytes under keys. What they mean, and what opens them, is in the database.
  {
    name: "blobs",
    files: /^blobs\//,
    imports: ["domain"],
    packages: ["aws4fetch", "tinypool"],
    node: ["node:crypto", "node:fs", "node:fs/promises", "node:path", "node:stream"],
  },
  // Open mailboxes of a process: the workers' and the API's.
  { name: "sessions", files: /^sessions\//, imports: ["domain", "providers/provider.ts", "db"] },
  {
    name: "activities",
    files: /^activities\//,
    imports: ["domain", "mime", "providers/provider.ts", "providers/index.ts", "db", "webhooks", "blobs", "sessions"],
    packages: ["@temporalio/activity", "@temporalio/common"],
    typesOfPackages: ["pino"],
  },
  { name: "workflows/names.ts", files: /^workflows\/names\.ts$/, imports: ["domain"], packages: ["@temporalio/common"] },
  {
    name: "workflows",
    files: /^workflows\//,
    imports: ["domain", "workflows/names.ts"],
    typesOf: ["activities"],
    packages: ["@temporalio/workflow", "@temporalio/common"],
  },
  {
    name: "workers",
    files: /^workers\//,
    imports: [
      "domain",
      "mime",
      "network",
      "config.ts",
      "logging.ts",
      "ending.ts",
      "providers/index.ts",
      "db",
      "webhooks",
      "blobs",
      "sessions",
      "activities",
      "workflows",
      "workflows/names.ts",
    ],
    packages: ["@temporalio/client", "@temporalio/envconfig", "@temporalio/worker"],
    node: "all",
  },
  {
    name: "api",
    files: /^api\//,
    imports: [
      "domain",
      "mime",
      "network",
      "config.ts",
      "logging.ts",
      "ending.ts",
      "providers/index.ts",
      "db",
      "db programs",
      "webhooks",
      "blobs",
      "sessions",
      "workflows",
      "workflows/names.ts",
    ],
    typesOf: ["providers/provider.ts"],
    packages: [
      "@temporalio/client",
      "@temporalio/common",
      "@temporalio/envconfig",
      "express",
      "helmet",
      "rate-limiter-flexible",
      "swagger-ui-dist",
      "zod",
    ],
    node: "all",
  },
  // A stand-in for other people's servers: it shares nothing with what it is used to try.
  { name: "sandbox", files: /^sandbox\//, imports: [], packages: ["nodemailer", "smtp-server"], node: "all" },
  {
    name: "embedded",
    files: /^embedded\//,
    imports: ["domain", "db", "db programs", "workflows/names.ts"],
    packages: ["@temporalio/client", "@temporalio/common", "@temporalio/envconfig", "pg", "zod"],
    node: "all",
  },
  {
    name: "start.ts",
    files: /^start\.(ts|js)$/,
    imports: ["db", "db programs", "embedded"],
    packages: ["@temporalio/client", "@temporalio/envconfig"],
    node: "all",
  },
  {
    name: "tools",
    files: /^tools\//,
    imports: ["domain", "config.ts", "db", "db programs", "embedded"],
    packages: ["@temporalio/client", "@temporalio/envconfig"],
    node: "all",
  },
];

/** Code that is no part of what is shipped: it may import anything, and nothing that is shipped may import it. */
export const offStage = /^(test|bench)\/|^vitest\.config\.ts$/;

/** The room that a file belongs to: the first line that matches. */
export function roomOf(file: string): Room | undefined {
  return rooms.find(({ files }) => files.test(file));
}
