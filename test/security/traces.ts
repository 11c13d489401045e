import type { Client } from "@temporalio/client";
import { sql } from "kysely";
import type { Database } from "../../db/database.ts";

/** One place where something was left: its name, and all of it as text. */
export interface Trace {
  readonly where: string;
  readonly text: string;
}

/** Every row of every table as JSON, bytea in hex. */
export async function databaseTraces(db: Database): Promise<readonly Trace[]> {
  const { rows: tables } = await sql<{ name: string }>`
    select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'
  `.execute(db);
  const traces: Trace[] = [];
  for (const { name } of tables) {
    const { rows } = await sql<{ text: string }>`select to_jsonb(t)::text as text from ${sql.table(name)} t`.execute(db);
    traces.push({ where: `table ${name}`, text: rows.map((row) => row.text).join("\n") });
  }
  return traces;
}

/** All that Temporal keeps or shows of the workflows on these task queues: histories with their payloads, descriptions, current details. */
export async function temporalTraces(client: Client, taskQueuePrefix: string): Promise<readonly Trace[]> {
  const traces: Trace[] = [];
  for await (const { workflowId, runId, taskQueue, type, status } of client.workflow.list()) {
    if (!taskQueue.startsWith(taskQueuePrefix)) continue;
    const handle = client.workflow.getHandle(workflowId, runId);
    const where = `workflow ${type} ${workflowId} ${runId}`;
    traces.push({ where: `${where}, history`, text: readable(await handle.fetchHistory()) });
    traces.push({ where: `${where}, description`, text: readable((await handle.describe()).raw) });
    if (status.name !== "RUNNING") continue;
    const metadata = await handle.query("__temporal_workflow_metadata").catch(() => undefined);
    traces.push({ where: `${where}, current details`, text: JSON.stringify(metadata) ?? "" });
  }
  return traces;
}

/** JSON of a protobuf object with its bytes as the text that they are: payloads are JSON inside JSON otherwise hidden in base64. */
function readable(value: unknown): string {
  return JSON.stringify(value, (_name, member) => {
    if (member instanceof Uint8Array) return Buffer.from(member).toString();
    // Node's Buffer has turned itself into this before a replacer sees it.
    if (member?.type === "Buffer" && Array.isArray(member.data)) return Buffer.from(member.data).toString();
    return typeof member === "bigint" ? String(member) : member;
  });
}

/** Where any of the words stands, in any form in which software writes text: as it is, or in JSON, a URL, base64 or hex. */
export function findTraces(traces: readonly Trace[], words: Readonly<Record<string, string>>): readonly string[] {
  const forms = Object.entries(words).flatMap(([name, word]) => formsOf(word).map((form) => [name, form] as const));
  return traces.flatMap(({ where, text }) =>
    forms.filter(([, form]) => text.includes(form)).map(([name, form]) => `${where} holds ${name}: …${around(text, form)}…`),
  );
}

function formsOf(word: string): readonly string[] {
  const bytes = Buffer.from(word);
  const quoted = JSON.stringify(word).slice(1, -1);
  // In base64 a text looks in three ways, by where in a group of three bytes it begins; what depends on its neighbours is left out.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString("base64")
      .slice(shift === 0 ? 0 : shift + 1, -4),
  );
  return [
    ...new Set([
      word,
      quoted,
      JSON.stringify(quoted).slice(1, -1),
      encodeURIComponent(word),
      bytes.toString("hex"),
      ...base64,
      ...base64.map(urlSafe),
    ]),
  ];
}

function urlSafe(base64: string): string {
  return base64.replaceAll("+", "-").replaceAll("/", "_");
}

function around(text: string, form: string): string {
  const at = text.indexOf(form);
  return text.slice(Math.max(0, at - 80), at + form.length + 40);
}
