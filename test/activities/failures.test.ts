import { ApplicationFailure, ApplicationFailureCategory, CancelledFailure } from "@temporalio/common";
import { describe, expect, it } from "vitest";
import { toFailure } from "../../activities/failures.ts";
import { catalogue, MailError, type MailErrorCode } from "../../domain/errors.ts";

const failureOf = (error: unknown): ApplicationFailure => {
  const failure = toFailure(error);
  if (!(failure instanceof ApplicationFailure)) throw new Error("not an ApplicationFailure");
  return failure;
};

describe("a MailError", () => {
  it.each(Object.keys(catalogue) as MailErrorCode[])("%s becomes a failure of its code, retried only if that can help", (code) => {
    const failure = failureOf(new MailError(code, { doing: "testing", serverSaid: "NO", retryAfterMs: 5_000 }));
    expect(failure.type).toBe(code);
    expect(failure.nonRetryable).toBe(catalogue[code].retry === "never");
    expect(failure.details).toEqual([{ serverSaid: "NO", fix: catalogue[code].fix, retryAfterMs: 5_000 }]);
    expect(failure.nextRetryDelay).toBe(5_000);
    expect(failure.category === ApplicationFailureCategory.BENIGN).toBe(catalogue[code].retry !== "few");
  });
});

describe("anything else", () => {
  it("is a fault of ours whose text stays out of the history", () => {
    const failure = failureOf(Object.assign(new Error("duplicate key (email)=(ann@example.test)"), { code: "23505" }));
    expect(failure).toMatchObject({ type: "internal", nonRetryable: false });
    expect(failure.message).toContain("23505");
    expect(failure.message).not.toContain("ann@example.test");
    expect(failure.cause).toBeUndefined();
  });

  it.each([
    ["08006", "connection failure"],
    ["40001", "could not serialize access"],
    ["57P01", "terminating connection due to administrator command"],
  ])("says in words what SQLSTATE %s is about", (code, message) => {
    expect(failureOf(Object.assign(new Error(message), { code })).message).toContain(message);
  });

  it("that is no error at all is named as such", () => {
    expect(failureOf("ann@example.test").message).toBe("something that is not an error was thrown");
  });

  it("that Temporal made already is left as it is", () => {
    const cancelled = new CancelledFailure("stop");
    const failure = ApplicationFailure.create({ type: "x" });
    expect(toFailure(cancelled)).toBe(cancelled);
    expect(toFailure(failure)).toBe(failure);
  });
});
