import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { defaultSyncSettings } from "../../domain/sync-settings.ts";

const root = new URL("../../", import.meta.url);
const rows = readFileSync(new URL("docs/settings.md", root), "utf8").matchAll(/^\| `(\w+)` \|/gm);

test("the page of settings has a row for each, in their order", () => {
  expect([...rows].map(([, name]) => name)).toEqual(Object.keys(defaultSyncSettings));
});

/** The test that sees what each setting does: the file, and words of its title. A new setting needs one. */
const effects: Readonly<Record<keyof typeof defaultSyncSettings, readonly [file: string, title: string]>> = {
  direction: ["test/activities/sync-settings.test.ts", "neither stores nor tells what goes the other way"],
  folders: ["test/activities/sync-settings.test.ts", "reads what `all`, roles and paths name"],
  includeRoles: ["test/activities/sync-settings.test.ts", "reads what `all`, roles and paths name"],
  includePaths: ["test/activities/sync-settings.test.ts", "reads what `all`, roles and paths name"],
  excludePaths: ["test/activities/sync-settings.test.ts", "purges what lay only in a folder that is removed"],
  frequency: ["test/api/sync-settings.test.ts", "without realtime nobody listens"],
  attachments: ["test/activities/keep-content.test.ts", "is every attachment up to the cap"],
  attachmentBytesMax: ["test/activities/keep-content.test.ts", "is every attachment up to the cap"],
  content: ["test/activities/keep-content.test.ts", "is the source to the byte"],
  ageLimitDays: ["test/activities/sync-settings.test.ts", "imports nothing older"],
  notifyFrom: ["test/activities/sync-settings.test.ts", "set later tells what came since then"],
  pollFloorSeconds: ["test/api/sync-settings.test.ts", "a poll floor"],
  sentPath: ["test/activities/sync-settings.test.ts", "take the folder named by sentPath"],
  roleOverrides: ["test/activities/sync-settings.test.ts", "take the folder named by sentPath"],
  idlePaths: ["test/activities/idle-shard.test.ts", "listens to a folder of idlePaths"],
};

test.each(Object.entries(effects))("%s has an effect that a test sees", (_name, [file, title]) => {
  expect(readFileSync(new URL(file, root), "utf8")).toContain(title);
});
