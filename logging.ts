import { Writable } from "node:stream";
import { type Logger, pino } from "pino";
import type { Config } from "./config.ts";

export type { Logger } from "pino";

/** The process's logger: JSON lines, or readable ones for a terminal. What looks like a secret by its name is blanked at any usual depth. */
export function createLogger(config: Config["log"], base: Readonly<Record<string, unknown>> = {}, destination?: Writable): Logger {
  const target = destination ?? process.stdout;
  return pino(
    { level: config.level, base, redact: { paths: secretPaths, censor: "[redacted]" }, timestamp: pino.stdTimeFunctions.isoTime },
    config.isPretty ? readable(target) : target,
  );
}

/** Names under which secrets go about in this code base, in HTTP headers and in the packages we use. */
const secretNames = [
  "authorization",
  "cookie",
  "password",
  "pass",
  "passwd",
  "secret",
  "secrets",
  "token",
  "accessToken",
  "access_token",
  "refreshToken",
  "refresh_token",
  "clientSecret",
  "client_secret",
  "apiKey",
  "privateKey",
  "credentials",
  "keyRing",
  "sealed",
  "connectionString",
  "DATABASE_URL",
  "EVERPOST_ENCRYPTION_KEYS",
];

/** pino matches a path, not a name, so each name is given for the depths at which log calls put things. */
const secretPaths = secretNames.flatMap((name) => ["", "*.", "*.*.", "*.*.*."].map((depth) => `${depth}${name}`));

/** `12:03:44 info  message key=value`, errors with their stack below, indented. Nothing in it can move a cursor, or look like a line of its own. */
function readable(target: Writable): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      target.write(
        String(chunk)
          .split("\n")
          .filter((line) => line !== "")
          .map(readableLine)
          .join(""),
        done,
      );
    },
  });
}

function readableLine(line: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const label = pino.levels.labels[Number(level)] ?? "";
  const members = Object.entries(rest).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const stack = typeof err === "object" && err !== null && "stack" in err ? String(err.stack).split("\n") : [];
  const first = [String(time).slice(11, 19), label.padEnd(5), msg ?? "", ...members].join(" ");
  return [first, ...stack.map((part) => `  ${part}`)].map((part) => `${forTerminal(part)}\n`).join("");
}

/** What moves cursors, colours text, ends lines or turns the direction of writing is shown by its number. */
function forTerminal(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
