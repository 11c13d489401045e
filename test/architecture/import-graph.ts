import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative, sep } from "node:path";

/** One import, re-export or dynamic import as it stands in a file. */
export interface Import {
  readonly from: string;
  /** The path from the root for our own files, the specifier as written for everything else. */
  readonly to: string;
  readonly isOwn: boolean;
  /** Erased before the code runs: `import type`. Inline `type` modifiers still load the module, so they do not count. */
  readonly isTypeOnly: boolean;
}

export const root = join(import.meta.dirname, "../..");

const skipped = new Set(["node_modules", "build", "docs", ".git", ".everpost", ".github"]);

/** Every source file, by its path from the root. */
export function listSources(folder = root): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : listSources(path);
    return /\.(ts|js)$/.test(entry.name) && !entry.name.endsWith(".d.ts") ? [relative(root, path).split(sep).join("/")] : [];
  });
}

const statement = /^(?:import|export)\s+(type\s)?[^;"'`]*?\sfrom\s+"([^"]+)"/gm;
const sideEffect = /^import\s+"([^"]+)"/gm;
const dynamic = /\b(?:import|require|require\.resolve|import\.meta\.resolve)\(\s*"([^"]+)"/g;

/** The imports of one source text. Biome's formatting puts each statement at the beginning of a line, which is what tells it from prose. */
export function importsOf(file: string, source: string): readonly Import[] {
  const found: { readonly specifier: string; readonly isTypeOnly: boolean }[] = [
    ...[...source.matchAll(statement)].map(([, type, specifier = ""]) => ({ specifier, isTypeOnly: type !== undefined })),
    ...[...source.matchAll(sideEffect)].map(([, specifier = ""]) => ({ specifier, isTypeOnly: false })),
    ...[...source.matchAll(dynamic)].map(([, specifier = ""]) => ({ specifier, isTypeOnly: false })),
  ];
  return found.map(({ specifier, isTypeOnly }) => {
    const isOwn = specifier.startsWith(".");
    return {
      from: file,
      to: isOwn
        ? normalize(join(dirname(file), specifier))
            .split(sep)
            .join("/")
        : specifier,
      isOwn,
      isTypeOnly,
    };
  });
}

/** The whole graph, read from the working tree. */
export function readImports(): readonly Import[] {
  return listSources().flatMap((file) => importsOf(file, readFileSync(join(root, file), "utf8")));
}

/** `@scope/name` or `name` of a specifier that leads into a package. */
export function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

/** A cycle of files, or undefined if there is none. */
export function findCycle(imports: readonly Import[]): readonly string[] | undefined {
  const next = Map.groupBy(
    imports.filter(({ isOwn }) => isOwn),
    ({ from }) => from,
  );
  const state = new Map<string, "open" | "done">();
  const path: string[] = [];
  const visit = (file: string): readonly string[] | undefined => {
    if (state.get(file) === "done") return undefined;
    if (state.get(file) === "open") return [...path.slice(path.indexOf(file)), file];
    state.set(file, "open");
    path.push(file);
    for (const { to } of next.get(file) ?? []) {
      const cycle = visit(to);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    state.set(file, "done");
    return undefined;
  };
  for (const file of next.keys()) {
    const cycle = visit(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
