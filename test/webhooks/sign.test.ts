import { describe, expect, it } from "vitest";
import { liveSecrets, newSigningSecret, rotateSecrets, signWebhook } from "../../webhooks/sign.ts";

describe("signWebhook", () => {
  it("gives the signature of the specification's own example", () => {
    // From the reference libraries' test suite (standard-webhooks/standard-webhooks).
    const headers = signWebhook({ id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestampSeconds: 1614265330, body: '{"test": 2432232314}' }, [
      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ]);
    expect(headers).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    });
  });

  it("signs with each secret, separated by spaces, and over UTF-8", () => {
    const secrets = [newSigningSecret(), newSigningSecret()];
    const content = { id: "evt_1", timestampSeconds: 1, body: '{"subject":"Grüße 📬"}' };
    const both = signWebhook(content, secrets)["webhook-signature"]?.split(" ") ?? [];
    expect(both).toEqual(secrets.map((secret) => signWebhook(content, [secret])["webhook-signature"]));
    expect(new Set(both).size).toBe(2);
  });
});

describe("newSigningSecret", () => {
  it("is 32 random bytes in base64 behind its prefix", () => {
    const secret = newSigningSecret();
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(newSigningSecret()).not.toBe(secret);
  });
});

describe("rotateSecrets", () => {
  const now = new Date("2026-01-01T00:00:00Z");
  const tomorrow = new Date("2026-01-02T00:00:00Z");

  it("lets old and new sign until the old one ends", () => {
    const rotated = rotateSecrets([{ secret: "old", expiresAt: null }], "new", tomorrow, now);
    expect(liveSecrets(rotated, now)).toEqual(["new", "old"]);
    expect(liveSecrets(rotated, tomorrow)).toEqual(["new"]);
  });

  it("ends the old one at once if told so, as after a leak", () => {
    expect(rotateSecrets([{ secret: "leaked", expiresAt: null }], "new", now, now)).toEqual([{ secret: "new", expiresAt: null }]);
  });

  it("never lengthens the life of a secret that ends already, and keeps three at most", () => {
    const soon = "2026-01-01T01:00:00.000Z";
    const twice = rotateSecrets(rotateSecrets([{ secret: "a", expiresAt: soon }], "b", tomorrow, now), "c", tomorrow, now);
    expect(twice).toEqual([
      { secret: "c", expiresAt: null },
      { secret: "b", expiresAt: tomorrow.toISOString() },
      { secret: "a", expiresAt: soon },
    ]);
    expect(rotateSecrets(twice, "d", tomorrow, now).map(({ secret }) => secret)).toEqual(["d", "c", "b"]);
  });
});
