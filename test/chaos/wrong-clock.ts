import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Debian's package `faketime`; other systems keep the library elsewhere. */
const libraries = ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/** A time zone that somebody mistook for another. */
export const clockErrorMaxS = 7_200;

export interface WrongClock {
  /** What a process is started with whose wall clock is to be wrong; its monotonic clock stays right, as in life. */
  readonly env: Readonly<Record<string, string>>;
  /** By how much the clock is wrong from now on. */
  set(seconds: number): void;
}

export function wrongClock(dir: string): WrongClock {
  const library = libraries.find((path) => existsSync(path));
  if (library === undefined) throw new Error("clock jumps need libfaketime: install the package faketime");
  const file = join(dir, "clock");
  const set = (seconds: number) => writeFileSync(file, `${seconds < 0 ? "" : "+"}${seconds}s\n`);
  set(0);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_CACHE_DURATION: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
    },
    set,
  };
}
