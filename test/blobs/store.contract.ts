import { createHash, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { BlobMissing, type BlobStore } from "../../blobs/store.ts";
import { openContent, putContent, putContents } from "../../blobs/vault.ts";
import { newId } from "../../db/ids.ts";

/** What every blob store must do. Run once per store. */
export function describeBlobStore(name: string, open: () => BlobStore): void {
  describe(`${name} keeps blobs`, () => {
    it.each([0, 1, 65_536, 5_000_000, 8 * 1024 * 1024, 20_000_003])("of %d bytes to the byte, whole or in part", async (size) => {
      const store = open();
      const key = newId("blob");
      const bytes = randomBytes(size);
      expect(await store.head(key)).toBeUndefined();
      await store.put(key, pieces(bytes));
      expect(await store.head(key)).toEqual({ sizeBytes: size });
      expect(Buffer.concat(await (await store.open(key)).toArray()).equals(bytes)).toBe(true);
      if (size < 100) return;
      const part = await store.open(key, { first: size - 70, last: size - 21 });
      expect(Buffer.concat(await part.toArray()).equals(bytes.subarray(size - 70, size - 20))).toBe(true);
      await store.remove(key);
      expect(await store.head(key)).toBeUndefined();
    });

    it("many at once, each to the byte, and none twice", async () => {
      const store = open();
      const contents = [0, 1, 65_536, 65_537, 200_000, ...Array.from({ length: 60 }, (_, n) => 1_000 + n)].map((size) => {
        return { key: newId("blob"), content: randomBytes(size) };
      });
      const entries = await putContents(store, contents);
      for (const [index, { key, content }] of contents.entries()) {
        const entry = entries[index];
        expect(entry).toMatchObject({ key, sizeBytes: content.length });
        expect(Buffer.concat(await (await openContent(store, entry as NonNullable<typeof entry>)).toArray()).equals(content)).toBe(true);
        expect(entry).toMatchObject({ sha256: createHash("sha256").update(content).digest() });
      }
      await expect(putContents(store, [])).resolves.toEqual([]);
      await expect(putContents(store, contents, { signal: AbortSignal.abort() })).rejects.toThrow();
    });

    it("says that it has no such blob, and removes it all the same", async () => {
      const store = open();
      const key = newId("blob");
      await expect(store.open(key)).rejects.toBeInstanceOf(BlobMissing);
      await expect(store.remove(key)).resolves.toBeUndefined();
    });

    it.each([100, 30_000_000])("and nothing of one whose bytes broke off after %d", async (size) => {
      const store = open();
      const key = newId("blob");
      async function* breaking() {
        yield* pieces(randomBytes(size));
        throw new Error("the connection broke");
      }
      await expect(store.put(key, breaking())).rejects.toThrow("the connection broke");
      expect(await store.head(key)).toBeUndefined();
    });

    it("sealed, so that whoever reads the store learns nothing and changes nothing unseen", async () => {
      const store = open();
      const secret = Buffer.from("the merger is off. ".repeat(20_000));
      const entry = await putContent(store, newId("blob"), pieces(secret));
      expect(entry.sizeBytes).toBe(secret.length);
      const sealed = Buffer.concat(await (await store.open(entry.key)).toArray());
      expect(sealed.includes("merger")).toBe(false);
      expect(Buffer.concat(await (await openContent(store, entry)).toArray()).equals(secret)).toBe(true);
      for (const [first, last] of [
        [0, 0],
        [65_535, 65_536],
        [131_072, 200_000],
        [secret.length - 1, secret.length - 1],
      ] as const) {
        const part = Buffer.concat(await (await openContent(store, entry, { first, last })).toArray());
        expect(part.equals(secret.subarray(first, last + 1)), `${first}-${last}`).toBe(true);
      }
      const forgeries = [
        Buffer.concat([sealed.subarray(0, 70), Buffer.from([(sealed[70] ?? 0) ^ 1]), sealed.subarray(71)]),
        sealed.subarray(0, 65_552 * 2),
        Buffer.concat([sealed.subarray(65_552, 65_552 * 2), sealed.subarray(0, 65_552), sealed.subarray(65_552 * 2)]),
      ];
      for (const forged of forgeries) {
        const key = newId("blob");
        await store.put(key, pieces(forged));
        const moved = await openContent(store, { ...entry, key });
        await expect(moved.toArray()).rejects.toThrow();
        await store.remove(entry.key);
        await store.put(entry.key, pieces(forged));
        const opened = await openContent(store, entry);
        await expect(opened.toArray()).rejects.toThrow();
      }
    });
  });
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += 300_001) yield bytes.subarray(start, start + 300_001);
}
