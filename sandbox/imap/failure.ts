/** What a command's handler throws to answer its tag with NO (refused) or BAD (not understood), with an optional response code (RFC 5530). */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly status: "NO" | "BAD";
  readonly code: string | undefined;

  constructor(status: "NO" | "BAD", message: string, code?: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const bad = (message: string) => new CommandFailure("BAD", message);
export const no = (message: string, code?: string) => new CommandFailure("NO", message, code);
