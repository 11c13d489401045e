import type { Connection } from "@temporalio/client";
import { msToTs } from "@temporalio/common/lib/time.js";
import { searchAttributes } from "../workflows/names.ts";
import { StartError } from "./processes.ts";
import { searchAttributeKinds } from "./temporal.ts";

/** Makes sure that a cluster has our namespace and search attributes: makes what is missing where that is allowed, and else says with which command. */
export async function prepareNamespace(connection: Connection, namespace: string): Promise<readonly string[]> {
  const made: string[] = [];
  if (!(await hasNamespace(connection, namespace))) {
    await orSay(
      connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: msToTs(retentionMs) }),
      `Temporal has no namespace ${namespace}`,
      `temporal operator namespace create --namespace ${namespace} --retention 72h`,
    );
    made.push(`namespace ${namespace}`);
  }
  const missing = await missingSearchAttributes(connection, namespace);
  if (missing.length > 0) {
    await orSay(
      connection.operatorService.addSearchAttributes({
        namespace,
        searchAttributes: Object.fromEntries(missing.map(({ name, kind }) => [name, kind === "Keyword" ? indexedKeyword : indexedDatetime])),
      }),
      `namespace ${namespace} lacks the search attributes ${missing.map(({ name }) => name).join(", ")}`,
      `temporal operator search-attribute create --namespace ${namespace} ${missing.map(({ name, kind }) => `--name ${name} --type ${kind}`).join(" ")}`,
    );
    made.push(...missing.map(({ name }) => `search attribute ${name}`));
  }
  return made;
}

/** Three days: enough to look at what a mailbox did over a weekend, while closed runs of continue-as-new do not pile up. */
const retentionMs = 259_200_000;

/** IndexedValueType of Temporal's API. */
const indexedKeyword = 2;
const indexedDatetime = 6;

async function hasNamespace(connection: Connection, namespace: string): Promise<boolean> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
    return true;
  } catch (error) {
    if ((error as { code?: number }).code === grpcNotFound) return false;
    throw error;
  }
}

const grpcNotFound = 5;

async function missingSearchAttributes(connection: Connection, namespace: string) {
  // A namespace that was made a moment ago is not known to every part of the server yet.
  const { customAttributes } = await untilKnown(() => connection.operatorService.listSearchAttributes({ namespace }));
  return Object.values(searchAttributes)
    .filter(({ name }) => customAttributes[name] === undefined)
    .map(({ name, type }) => ({ name, kind: searchAttributeKinds[type] }));
}

async function untilKnown<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask();
    } catch (error) {
      if ((error as { code?: number }).code !== grpcNotFound || attempt === 40) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

async function orSay(work: Promise<unknown>, fault: string, remedy: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    if ((error as { code?: number }).code === grpcAlreadyExists) return;
    throw new StartError(`${fault}, and making it failed (${error instanceof Error ? error.message : String(error)}); run: ${remedy}`);
  }
}

const grpcAlreadyExists = 6;
