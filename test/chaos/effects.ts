import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/*
 * What of our code has effects that outlive a process, and what such a place is called. Read from the source, by its lines: the same names are given to
 * what stands there and to what was on the stack when something happened.
 */

const root = resolve(import.meta.dirname, "../..");

/** Where effects begin. What the provider does within itself is asked for by one of these. */
const folders = ["activities", "api", "blobs", "db", "sessions", "webhooks"];
/** Programs for operators, run by hand while nothing else runs, and the schema. */
const programs = /^db\/(migrations\/.*|migrate|rotate-keys)\.ts$/;

const effects = [
  /\.(insertInto|updateTable|deleteFrom)\(/,
  /\b(insert into \w|delete from \w|update \w+( as)?( \w+)? set\b)/,
  /\.transaction\(\)|\binTransaction\(/,
  /\bsignals\.\w+\(/,
  /\bcommands\.(connect|command|disconnect|settingsChanged|carryOutActions|changeFolder|wakeRelay)\(/,
  /\bprovider\.(setFlags|move|copy|remove|createFolder|renameFolder|deleteFolder)\(/,
  /\bdeliverer\.deliver\(/,
  /\bblobs\.remove\(|\bputContents?\(|\bstore\.put(All)?\(/,
];

/** A function of a file, a method of an object that one returns, or a route by its operation. */
const names = [
  /^(?:export )?(?:async )?(?:function\*?|const) (\w+)/,
  /^ {4}(?:async )?(\w+)(?:\((?!.*=> \{$).*\{$|: \()/,
  /^ {6}operationId: "(\w+)"/,
];

/** Every place with an effect, as `file name`. */
export function listEffects(): readonly string[] {
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => `${folder}/${file}`),
  );
  const found = files
    .filter((file) => !programs.test(file))
    .flatMap((file) => linesOf(file).flatMap((line, index) => (isEffect(line) ? [placeAt(file, index + 1)] : [])));
  return [...new Set(found)].sort();
}

function isEffect(line: string): boolean {
  return !/^\s*(\*|\/\/|\/\*)/.test(line) && effects.some((effect) => effect.test(line));
}

/** What stands at this line of a file. */
export function placeAt(file: string, line: number): string {
  const lines = linesOf(file);
  for (let index = Math.min(line, lines.length) - 1; index >= 0; index -= 1) {
    for (const pattern of names) {
      const name = pattern.exec(lines[index] ?? "")?.[1];
      if (name !== undefined && !words.has(name)) return `${file} ${name}`;
    }
  }
  return file;
}

/** What is followed by a bracket and is no method. */
const words = new Set(["if", "for", "while", "switch", "return", "await", "throw", "catch"]);

const read = new Map<string, readonly string[]>();

function linesOf(file: string): readonly string[] {
  const known = read.get(file) ?? readFileSync(join(root, file), "utf8").split("\n");
  read.set(file, known);
  return known;
}
