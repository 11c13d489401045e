import type { ConnectionTestId } from "../domain/ids.ts";

/** One test of settings that nothing saves: the sealed request and the report are in connection_tests, only the id passes through here. */
export async function connectionTest(_input: { readonly testId: ConnectionTestId }): Promise<void> {}
