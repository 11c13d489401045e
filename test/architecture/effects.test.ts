import { expect, test } from "vitest";
import { listEffects } from "../chaos/effects.ts";
import { elsewhere, toured } from "../chaos/proofs.ts";

test("every place with an effect is reached by the tour of crash points, or named with the reason why not", () => {
  expect(listEffects()).toEqual([...toured, ...Object.keys(elsewhere)].sort());
});

test("no place is both reached and excused", () => {
  expect(toured.filter((place) => place in elsewhere)).toEqual([]);
});

test("effects of every kind are found in the source", () => {
  expect(listEffects()).toEqual(
    expect.arrayContaining([
      "db/store-page.ts storeHistoryPage",
      "db/relay.ts markRelayAsleep",
      "activities/message-actions.ts attempt",
      "activities/change-folder.ts changeAtServer",
      "activities/webhooks.ts createDrain",
      "activities/remove-blobs.ts removeBlobs",
      "blobs/vault.ts putContent",
      "api/routes/webhooks.ts createWebhookEndpoint",
    ]),
  );
});
