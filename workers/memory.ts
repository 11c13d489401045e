import { setFlagsFromString } from "node:v8";

/** Node's own figure until it became 64 kB. */
const bufferPoolBytes = 8 * 1024;
/** Of each half of a young generation. */
const smallHalfMb = 4;

/**
 * Small buffers are cut from pieces of this size, each of which lives as long as any of its buffers does. The SDK keeps the last answer of every workflow in its
 * cache: a few hundred bytes each, made at different times.
 */
export function cutBuffersFromSmallPieces(): void {
  Buffer.poolSize = bufferPoolBytes;
}

/**
 * Threads that start meanwhile get a small young generation; those that run keep theirs. The thread of workflows fills what it may have and then does
 * too little for V8 to take it back, where the main thread, and those that read sources, need the room for what passes through.
 */
export async function whileThreadsAreSmall<T>(start: () => Promise<T>): Promise<T> {
  const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? "").split(" ")].find((flag) => flag.startsWith(`${flagName}=`));
  setFlagsFromString(`${flagName}=${smallHalfMb}`);
  try {
    return await start();
  } finally {
    // 0 leaves it to V8.
    setFlagsFromString(given ?? `${flagName}=0`);
  }
}

const flagName = "--max-semi-space-size";
