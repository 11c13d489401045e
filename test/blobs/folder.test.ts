import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { folderBlobStore } from "../../blobs/folder.ts";
import { newId } from "../../db/ids.ts";
import { smallDisk } from "../helpers/small-disk.ts";
import { testDirectory } from "../helpers/test-run.ts";
import { describeBlobStore } from "./store.contract.ts";

const dir = testDirectory("blobs");
describeBlobStore("a directory", () => folderBlobStore(dir));

it("spreads files over directories, for its owner's eyes only, and leaves no unfinished ones behind", async () => {
  const own = testDirectory("blobs");
  const store = folderBlobStore(own);
  const keys = Array.from({ length: 40 }, () => newId("blob"));
  await Promise.all(keys.slice(20).map((key) => store.put(key, [Buffer.from(key)] as unknown as AsyncIterable<Buffer>)));
  await store.putAll(keys.slice(0, 20).map((key) => ({ key, bytes: Buffer.from(key) })));
  const files = readdirSync(own, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(own, name)).isFile());
  expect(files.map((name) => name.split("/").at(-1)).toSorted()).toEqual(keys.toSorted());
  expect(files.every((name) => /^[0-9a-f]{2}\/blb_\w+$/.test(name))).toBe(true);
  expect(files.every((name) => (statSync(join(own, name)).mode & 0o077) === 0)).toBe(true);
});

it("leaves no unfinished files of several when the disk is full, and says so", async () => {
  const disk = smallDisk(join(testDirectory("blobs"), "disk"), "1m");
  const store = folderBlobStore(disk);
  const blobs = Array.from({ length: 20 }, () => ({ key: newId("blob"), bytes: Buffer.alloc(100_000, 1) }));
  await expect(store.putAll(blobs)).rejects.toThrow("ENOSPC");
  expect(readdirSync(disk, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  expect(await Promise.all(blobs.map(({ key }) => store.head(key)))).toEqual(blobs.map(() => undefined));
});
