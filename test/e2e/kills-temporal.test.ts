import { sql } from "kysely";
import { beforeAll, describe, expect, test } from "vitest";
import type { RunningPart } from "../../embedded/processes.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { createMailUser, dovecot } from "../helpers/dovecot.ts";
import { type OwnPart, startTemporal } from "../helpers/own-parts.ts";
import { until } from "../helpers/wait.ts";
import { type Installation, startInstallation } from "./installation.ts";
import { killDuringFirstSync, killDuringLiveDelivery, type Scene } from "./scenarios.ts";

let installation: Installation;
let scene: Scene;
let server: OwnPart<RunningPart>;

beforeAll(async () => {
  const [database, temporal] = await Promise.all([createTestDatabase(), startTemporal()]);
  server = temporal;
  const { imapPort, lmtpPort } = dovecot();
  const mailServer = { imapPort, lmtpPort };
  installation = await startInstallation(
    { databaseUrl: database.url, temporalAddress: temporal.now.address, mailServer },
    { EVERPOST_PAGE_SIZE: "20" },
  );
  const part = { kill: () => temporal.kill(), restart: async () => void (await temporal.restart()) };
  scene = { installation, mailServer, createMailUser, part };
  return async () => {
    await installation[Symbol.asyncDispose]();
    await database.drop();
  };
});

describe("a Temporal server that is killed", () => {
  test("during a first sync costs nothing and doubles nothing", { timeout: 180_000 }, () => killDuringFirstSync(scene, "Temporal, first sync"));
  test("during live delivery loses nothing and tells nothing twice", { timeout: 180_000 }, () => killDuringLiveDelivery(scene, "Temporal, live"));

  test("is told to whoever asks, and what was asked meanwhile converges", { timeout: 240_000 }, async () => {
    await server.kill();
    const ready = await installation.call("GET", "/readyz");
    expect([ready.status, ready.body.checks.temporal.ok, ready.body.checks.database.ok]).toEqual([503, false, true]);

    const [patient, impatient] = [await createMailUser(), await createMailUser()];
    const request = { body: installation.connectBody(patient), headers: { "Idempotency-Key": "during-the-outage" } };
    const refused = await installation.call("POST", "/v1/mailboxes", request);
    expect([refused.status, refused.body.code]).toEqual([503, "service_unavailable"]);
    expect((await installation.call("POST", "/v1/mailboxes", { body: installation.connectBody(impatient) })).status).toBe(503);

    await server.restart();
    const accepted = await until(async () => {
      const answer = await installation.call("POST", "/v1/mailboxes", request);
      return answer.status === 201 && answer;
    }, "the repeated request to be accepted");
    expect((await installation.call("POST", "/v1/mailboxes", request)).body.id).toBe(accepted.body.id);
    const rows = await installation.db
      .selectFrom("mailboxes")
      .select(["id", "email"])
      .where("email", "in", [patient.email, impatient.email])
      .execute();
    expect(rows.map(({ email }) => email).toSorted()).toEqual([patient.email, impatient.email].toSorted());
    await installation.untilLive(accepted.body.id);

    // Nobody asks again for this one; housekeeping looks for such rows every five minutes, and leaves those alone that are younger than that.
    const forgotten = rows.find(({ email }) => email === impatient.email)?.id ?? "";
    await sql`update mailboxes set created_at = created_at - interval '2 minutes' where id = ${forgotten}`.execute(installation.db);
    await installation.keepHouse();
    await installation.untilLive(forgotten);
    await until(async () => (await installation.call("GET", "/readyz")).status === 200, "readiness");
  });
});
