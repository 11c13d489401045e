import type { NewMessage } from "./imap/store.ts";
export interface Sample extends NewMessage {
  readonly folder: string;
}
export function makeSamples(_options: { now: Date; email: string }): Sample[] {
  return [];
}
