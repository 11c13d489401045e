import { imap } from "./imap/index.ts";
import { type Preset, presets } from "./imap/presets.ts";
import { memory } from "./memory/index.ts";
import type { ProviderDefinition } from "./provider.ts";

/** Every provider there is: the only place that lists them. */
const definitions: readonly ProviderDefinition[] = [imap, memory];

export const providerKinds = definitions.map((definition) => definition.kind);

/** The definition of a kind; throws for a kind that is not in the list. */
export function getProvider(kind: string): ProviderDefinition {
  const found = definitions.find((definition) => definition.kind === kind);
  if (found === undefined) throw new Error(`no provider "${kind}"; known are ${providerKinds.join(", ")}`);
  return found;
}

export function listProviders(): readonly ProviderDefinition[] {
  return definitions;
}

/** Well-known mail servers, for those who would rather name their provider than its hosts. */
export function listPresets(): readonly Preset[] {
  return presets;
}

export { type DetectedServer, type DetectedSettings, detectSettings } from "./imap/autodetect.ts";
