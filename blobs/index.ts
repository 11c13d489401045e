import { folderBlobStore } from "./folder.ts";
import { type S3Settings, s3BlobStore } from "./s3.ts";
import type { BlobStore } from "./store.ts";

export interface BlobSettings {
  readonly dir: string;
  /** Set, it takes the place of the directory. */
  readonly s3: S3Settings | undefined;
}

/** The store that the settings name: the only place that knows which there are. */
export function openBlobStore({ dir, s3 }: BlobSettings): BlobStore {
  return s3 === undefined ? folderBlobStore(dir) : s3BlobStore(s3);
}
