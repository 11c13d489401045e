import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { s3BlobStore } from "../../blobs/s3.ts";
import { newId } from "../../db/ids.ts";
import { type S3Server, startS3Server } from "../helpers/s3-server.ts";
import { describeBlobStore } from "./store.contract.ts";

const key = { bucket: "mail", accessKeyId: "AKIDEXAMPLE", secretAccessKey: "a secret/with+odd=characters" };
const settings = { ...key, region: "eu-central-1", prefix: "everpost/" };
let server: S3Server;
beforeAll(async () => {
  server = await startS3Server(key);
}, 600_000);
afterAll(() => server[Symbol.asyncDispose]());

describeBlobStore("a bucket", () => s3BlobStore({ ...settings, endpoint: server.endpoint }));

describe("a bucket", () => {
  it("is one of several installations': each sees its own prefix only", async () => {
    const [ours, theirs] = ["ours/", "theirs/"].map((prefix) => s3BlobStore({ ...settings, prefix, endpoint: server.endpoint })) as [
      ReturnType<typeof s3BlobStore>,
      ReturnType<typeof s3BlobStore>,
    ];
    const blob = newId("blob");
    await ours.put(blob, bytes("ours"));
    expect(await theirs.head(blob)).toBeUndefined();
    await theirs.remove(blob);
    expect(await ours.head(blob)).toEqual({ sizeBytes: 4 });
  });

  it.each([
    ["a wrong secret", { secretAccessKey: "another" }, /answered 403 to PUT: SignatureDoesNotMatch/],
    ["a key that nobody knows", { accessKeyId: "AKIDNOBODY" }, /answered 403 to PUT: InvalidAccessKeyId/],
    ["a bucket that is not there", { bucket: "absent" }, /no bucket/],
  ])("refuses %s in words that say what to mend, and quote no key", async (_name, wrong, message) => {
    const store = s3BlobStore({ ...settings, ...wrong, endpoint: server.endpoint });
    const failure = await store.put(newId("blob"), bytes("x")).catch((error: Error) => error);
    expect(failure).toBeInstanceOf(Error);
    expect((failure as Error).message).toMatch(message);
    expect((failure as Error).message).not.toMatch(/AKID|secret|another/);
  });

  it("that serves no ranges is found out before the wrong bytes are taken for the right ones", async () => {
    await using whole = await answering((_asked, response) => response.end("all of it"));
    const store = s3BlobStore({ ...settings, endpoint: whole.endpoint });
    await expect(store.open(newId("blob"), { first: 2, last: 3 })).rejects.toThrow("serves no ranges");
  });

  it("is asked again by a server that is too busy for a moment", async () => {
    await using busy = await answering((asked, response) => {
      response.statusCode = asked.length < 3 ? 503 : 200;
      response.end();
    });
    await s3BlobStore({ ...settings, endpoint: busy.endpoint }).put(newId("blob"), bytes("x"));
    expect(busy.asked).toEqual(["PUT", "PUT", "PUT"]);
  });
});

async function* bytes(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

/** A server that answers as no S3 should, and remembers what it was asked. */
async function answering(answer: (asked: readonly string[], response: ServerResponse) => void) {
  const asked: string[] = [];
  const bad = createServer((request, response) => {
    asked.push(request.method ?? "");
    request.resume().on("end", () => answer(asked, response));
  });
  await new Promise<void>((listening) => bad.listen(0, "127.0.0.1", listening));
  return {
    asked,
    endpoint: `http://127.0.0.1:${(bad.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      bad.closeAllConnections();
      await new Promise((closed) => bad.close(closed));
    },
  };
}
