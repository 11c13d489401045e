import { afterAll, beforeAll, expect, test } from "vitest";
import { rotateKeys } from "../../db/rotate-keys.ts";
import { type Sealed, unseal } from "../../db/secrets.ts";
import { type Api, startApi } from "../api/api.ts";
import { makeThings } from "../api/things.ts";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api[Symbol.asyncDispose]());

const fresh = { name: "fresh", bytes: Buffer.alloc(32, 9) };

test("puts every secret under the first key, once, and leaves what it cannot open as it is", async () => {
  const { id } = await api.newCustomer();
  const [one, two] = [await makeThings(api, id), await makeThings(api, id)];
  const sealedOf = async (mailboxId: string): Promise<Sealed> =>
    (
      await api.db
        .selectFrom("credentials")
        .select("sealed")
        .where("mailbox_id", "=", mailboxId as typeof one.mailboxes)
        .executeTakeFirstOrThrow()
    ).sealed;
  const lost = { ...(await sealedOf(two.mailboxes)), key: "lost" };
  await api.db
    .updateTable("credentials")
    .set({ sealed: JSON.stringify(lost) })
    .where("mailbox_id", "=", two.mailboxes)
    .execute();

  const ring = [fresh, ...api.config.keyRing];
  const first = await rotateKeys(api.db, ring);
  expect(first).toEqual({ resealed: 3, unreadable: [`credentials ${two.mailboxes}`] });
  expect(await rotateKeys(api.db, ring)).toEqual({ resealed: 0, unreadable: [`credentials ${two.mailboxes}`] });
  expect(unseal([fresh], one.mailboxes, await sealedOf(one.mailboxes))).toEqual({ password: "memory" });
  expect(await sealedOf(two.mailboxes)).toEqual(lost);
});
