import { MockActivityEnvironment } from "@temporalio/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mailboxActivities } from "../../activities/mailboxes.ts";
import { createPrecedence } from "../../activities/precedence.ts";
import { saveCredentials } from "../../db/credentials.ts";
import { unseal } from "../../db/secrets.ts";
import { MailError } from "../../domain/errors.ts";
import type { MailboxId } from "../../domain/ids.ts";
import type { ProviderDefinition } from "../../providers/provider.ts";
import { type Engine, startEngine, testKeyRing } from "./engine.ts";

let engine: Engine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(() => engine[Symbol.asyncDispose]());

interface Token {
  readonly refreshToken: string;
}

/** A provider whose refresh tokens may be used once, as an OAuth server with strict rotation has them. */
function rotatingProvider() {
  const used: string[] = [];
  const definition: ProviderDefinition = {
    ...engine.deps.getProvider("memory"),
    async refresh(_settings, credentials) {
      const { refreshToken } = credentials as Token;
      if (used.includes(refreshToken)) throw new MailError("authentication_failed", { doing: "renewing an access token" });
      used.push(refreshToken);
      return { credentials: { refreshToken: `${refreshToken}'` }, expiresAt: new Date(Date.now() + 3_600_000) };
    },
  };
  const activities = mailboxActivities({ ...engine.deps, getProvider: () => definition }, engine.sessions, createPrecedence());
  const refresh = (mailboxId: MailboxId): ReturnType<typeof activities.refreshToken> =>
    new MockActivityEnvironment().run(() => activities.refreshToken({ mailboxId }));
  return { used, refresh };
}

describe("renewing a token", () => {
  it("uses a refresh token once, however many ask, and stores what replaces it with its end", async () => {
    const { used, refresh } = rotatingProvider();
    const { id } = await engine.addMailbox();
    await saveCredentials(engine.db, testKeyRing, { id, customerId: engine.customerId }, { refreshToken: "one" }, new Date(Date.now() + 60_000));

    const answers = await Promise.all([refresh(id), refresh(id), refresh(id)]);
    expect(used).toEqual(["one"]);
    expect(new Set(answers.map((answer) => answer.tokenExpiresAt)).size).toBe(1);
    expect(answers[0]?.tokenExpiresAt).toBeGreaterThan(Date.now() + 3_500_000);

    const { sealed } = await engine.db.selectFrom("credentials").select("sealed").where("mailbox_id", "=", id).executeTakeFirstOrThrow();
    expect(unseal(testKeyRing, id, sealed)).toEqual({ refreshToken: "one'" });
  });

  it("leaves what is stored as it is when the provider refuses", async () => {
    const { used, refresh } = rotatingProvider();
    used.push("revoked");
    const { id } = await engine.addMailbox();
    await saveCredentials(engine.db, testKeyRing, { id, customerId: engine.customerId }, { refreshToken: "revoked" }, new Date());
    await expect(refresh(id)).rejects.toMatchObject({ code: "authentication_failed" });
    const { sealed } = await engine.db.selectFrom("credentials").select("sealed").where("mailbox_id", "=", id).executeTakeFirstOrThrow();
    expect(unseal(testKeyRing, id, sealed)).toEqual({ refreshToken: "revoked" });
  });

  it("does nothing for passwords", async () => {
    const { id } = await engine.addMailbox();
    expect(await engine.run((run) => run.refreshToken({ mailboxId: id }))).toEqual({ tokenExpiresAt: null });
  });
});
