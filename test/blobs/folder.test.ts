import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { folderBlobStore } from "../../blobs/folder.ts";
import { newId } from "../../db/ids.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { describeBlobStore } from "./store.contract.ts";

const dir = testDirectory("blobs");
describeBlobStore("a directory", () => folderBlobStore(dir));

it("spreads files over directories, for its owner's eyes only, and leaves no unfinished ones behind", async () => {
  const own = testDirectory("blobs");
  const store = folderBlobStore(own);
  const keys = Array.from({ length: 20 }, () => newId("blob"));
  await Promise.all(keys.map((key) => store.put(key, [Buffer.from(key)] as unknown as AsyncIterable<Buffer>)));
  const files = readdirSync(own, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(own, name)).isFile());
  expect(files.map((name) => name.split("/").at(-1)).toSorted()).toEqual(keys.toSorted());
  expect(files.every((name) => /^[0-9a-f]{2}\/blb_\w+$/.test(name))).toBe(true);
  expect(files.every((name) => (statSync(join(own, name)).mode & 0o077) === 0)).toBe(true);
});
