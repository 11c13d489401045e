import { expect, test } from "vitest";
import { readStartSettings } from "../../embedded/settings.ts";

test("keeps everything in .everpost of the checkout unless told otherwise", () => {
  const settings = readStartSettings({}, "/srv/everpost");
  expect(settings).toMatchObject({ dataDir: "/srv/everpost/.everpost", apiPort: 3000, databaseUrl: undefined, temporalAddress: undefined });
});

test("takes an empty variable for one that is not set", () => {
  expect(readStartSettings({ DATABASE_URL: "", EVERPOST_API_PORT: "" }, "/srv")).toMatchObject({ databaseUrl: undefined, apiPort: 3000 });
});

test.each([
  [{ EVERPOST_API_PORT: "http" }, "EVERPOST_API_PORT"],
  [{ EVERPOST_API_PORT: "0" }, "EVERPOST_API_PORT"],
  [{ EVERPOST_POSTGRES_PORT: "65536" }, "EVERPOST_POSTGRES_PORT"],
  [{ EVERPOST_SANDBOX: "perhaps" }, "EVERPOST_SANDBOX"],
  [{ EVERPOST_API_PORT: "7233" }, "EVERPOST_API_PORT and EVERPOST_TEMPORAL_PORT are both 7233"],
])("refuses %j and names the setting", (env, named) => {
  expect(() => readStartSettings(env, "/srv")).toThrow(named);
});

test("can go without the sandbox", () => {
  expect(readStartSettings({ EVERPOST_SANDBOX: "false" }, "/srv").sandbox).toBeUndefined();
});
