import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { derivedId, newId } from "../../db/ids.ts";
import { reseal, seal, unseal } from "../../db/secrets.ts";
import { isId } from "../../domain/ids.ts";

const [first, second] = [
  { name: "a", bytes: randomBytes(32) },
  { name: "b", bytes: randomBytes(32) },
];
const secret = { password: "correct horse" };

describe("a sealed secret", () => {
  it("opens with the ring that sealed it, and shows nothing before", () => {
    const sealed = seal([first], "mbx_1", secret);
    expect(unseal([first], "mbx_1", sealed)).toEqual(secret);
    expect(JSON.stringify(sealed)).not.toContain("horse");
    expect(Buffer.from(sealed.content, "base64").toString("latin1")).not.toContain("horse");
    expect(seal([first], "mbx_1", secret).content).not.toBe(sealed.content);
  });

  it("does not open in another row, with another key, or when it was tampered with", () => {
    const sealed = seal([first], "mbx_1", secret);
    const tampered = Buffer.from(sealed.content, "base64");
    tampered[20] = (tampered[20] ?? 0) ^ 1;
    expect(() => unseal([first], "mbx_2", sealed)).toThrow(/cannot be decrypted/);
    expect(() => unseal([second], "mbx_1", sealed)).toThrow(/cannot be decrypted/);
    expect(() => unseal([{ ...first, bytes: second.bytes }], "mbx_1", sealed)).toThrow(/cannot be decrypted/);
    expect(() => unseal([first], "mbx_1", { ...sealed, content: tampered.toString("base64") })).toThrow(/cannot be decrypted/);
  });

  it("moves to the ring's first key and back, its content untouched", () => {
    const sealed = seal([first], "mbx_1", secret);
    const moved = reseal([second, first], "mbx_1", sealed);
    expect(moved).toMatchObject({ key: "b", content: sealed.content });
    expect(moved && unseal([second], "mbx_1", moved)).toEqual(secret);
    expect(reseal([first, second], "mbx_1", sealed)).toBeUndefined();
  });
});

describe("ids", () => {
  it("are of their kind, distinct, and sort by when they were made", () => {
    const ids = Array.from({ length: 1_000 }, (_, n) => newId("mailbox", 1_000_000_000_000 + n));
    expect(new Set(ids).size).toBe(1_000);
    expect(ids.toSorted()).toEqual(ids);
    expect(ids.every((id) => isId("mailbox", id) && !isId("message", id))).toBe(true);
  });

  it("that are derived are the same for the same words, and not for words that only join to the same text", () => {
    expect(derivedId("folder", "a", "b")).toBe(derivedId("folder", "a", "b"));
    expect(derivedId("folder", "a", "b")).not.toBe(derivedId("folder", "ab"));
    expect(isId("folder", derivedId("folder", "a"))).toBe(true);
  });
});
