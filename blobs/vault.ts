import { createHash, hash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import type { BlobKey } from "../domain/ids.ts";
import { openSealed, sealBytes, sealedRange, sealStream } from "./seal-stream.ts";
import type { BlobRange, BlobStore } from "./store.ts";

/** What has to be remembered of a content to get it back. */
export interface VaultEntry {
  readonly key: BlobKey;
  readonly sizeBytes: number;
  readonly sha256: Buffer;
  /** Opens this blob and no other; to be sealed in its turn before it is stored. */
  readonly dataKey: Buffer;
}

/** The content is longer than whoever asked for it wants to keep. */
export class ContentTooLarge extends Error {
  override readonly name = "ContentTooLarge";
}

/** Stores content sealed, under a key of its own. Sizes and ranges are those of the content. */
export async function putContent(
  store: BlobStore,
  key: BlobKey,
  content: AsyncIterable<Buffer>,
  options: { readonly sizeBytesMax?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<VaultEntry> {
  const dataKey = randomBytes(32);
  const digest = createHash("sha256");
  let sizeBytes = 0;
  async function* measured(): AsyncGenerator<Buffer> {
    for await (const piece of content) {
      digest.update(piece);
      sizeBytes += piece.length;
      if (options.sizeBytesMax !== undefined && sizeBytes > options.sizeBytesMax) {
        throw new ContentTooLarge(`more than ${options.sizeBytesMax} bytes`);
      }
      yield piece;
    }
  }
  await store.put(key, sealStream(measured(), dataKey, key), { signal: options.signal });
  return { key, sizeBytes, sha256: digest.digest(), dataKey };
}

/** The same of contents that are in memory: many at a time cost less than one after the other. */
export async function putContents(
  store: BlobStore,
  contents: readonly { readonly key: BlobKey; readonly content: Buffer }[],
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<readonly VaultEntry[]> {
  const entries = contents.map(({ key, content }) => {
    return { key, sizeBytes: content.length, sha256: hash("sha256", content, "buffer"), dataKey: randomBytes(32) };
  });
  const sealed = contents.map(({ key, content }, index) => ({ key, bytes: sealBytes(content, (entries[index] as VaultEntry).dataKey, key) }));
  await store.putAll(sealed, options);
  return entries;
}

/** Throws BlobMissing. */
export async function openContent(
  store: BlobStore,
  { key, sizeBytes, dataKey }: Pick<VaultEntry, "key" | "sizeBytes" | "dataKey">,
  range?: BlobRange,
): Promise<Readable> {
  const wanted = sealedRange(sizeBytes, range);
  const sealed = await store.open(key, wanted.sealed);
  return Readable.from(openSealed(sealed, { key: dataKey, name: key, sizeBytes }, wanted), { objectMode: false });
}
