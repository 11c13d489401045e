import { Context } from "@temporalio/activity";
import { openConnectionTest, saveTestReport } from "../db/connection-tests.ts";
import { toTestReport } from "../domain/connection-report.ts";
import type { FolderRole } from "../domain/folder.ts";
import type { ConnectionTestId } from "../domain/ids.ts";
import { type DetectedSettings, detectSettings } from "../providers/index.ts";
import type { ActivityDependencies } from "./dependencies.ts";

/** What the API asks about mail servers that no mailbox is connected to yet. */
export function connectionTestActivities({ db, keyRing, getProvider, resolveHost }: ActivityDependencies) {
  return {
    /** Tries the settings of a stored test and puts the report beside them; a failure of the server is a finding, not a failure of the activity. */
    async testConnection({ testId }: { readonly testId: ConnectionTestId }): Promise<void> {
      const test = await openConnectionTest(db, keyRing, testId);
      if (test === undefined) return;
      const options = { resolveHost, roleOverrides: test.roleOverrides as Readonly<Record<string, FolderRole>> };
      const report = await getProvider(test.provider).test(test.settings, test.credentials, options, Context.current().cancellationSignal);
      await saveTestReport(db, testId, toTestReport(report, new Date().toISOString()));
    },

    async autodetect({ domain }: { readonly domain: string }): Promise<DetectedSettings> {
      return detectSettings({ domain }, { resolveHost });
    },
  };
}
