import type { Readable } from "node:stream";
import type { BlobKey } from "../domain/ids.ts";

/** Part of a blob's bytes, both ends included. */
export interface BlobRange {
  readonly first: number;
  readonly last: number;
}

/** A blob that is in memory as a whole. */
export interface WholeBlob {
  readonly key: BlobKey;
  readonly bytes: Buffer;
}

/**
 * Where kept content lies: bytes under keys that we make. What they mean, whose they are and what opens them is in the database; a store knows nothing
 * of it. A key is written once and never again, so a blob is there whole or not at all.
 */
export interface BlobStore {
  /** Resolves when the bytes would survive a power cut; until then, nobody sees the key. Throws what `bytes` throws, and leaves nothing behind. */
  put(key: BlobKey, bytes: AsyncIterable<Buffer>, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** As `put` of each, for less than that costs. What throws may leave some of them behind, each whole. */
  putAll(blobs: readonly WholeBlob[], options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Throws BlobMissing. */
  open(key: BlobKey, range?: BlobRange): Promise<Readable>;
  head(key: BlobKey): Promise<{ readonly sizeBytes: number } | undefined>;
  /** Removing what is not there is no failure: a removal may be repeated. */
  remove(key: BlobKey): Promise<void>;
}

/** The store has no such blob, although the database says so: the store was restored, replaced or cleaned by somebody else. */
export class BlobMissing extends Error {
  override readonly name = "BlobMissing";

  constructor(key: BlobKey) {
    super(`the blob store has no ${key}`);
  }
}
