import { Readable } from "node:stream";
import { AwsClient } from "aws4fetch";
import type { BlobKey } from "../domain/ids.ts";
import { BlobMissing, type BlobStore } from "./store.ts";

export interface S3Settings {
  /** `https://s3.eu-central-1.amazonaws.com`, or any server that speaks the same. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Put in front of every key, so that several installations share a bucket. */
  readonly prefix: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** S3 wants lengths before bytes: what is longer than one part is uploaded in several, one in memory at a time. The smallest S3 takes is 5 MiB. */
const partBytes = 8 * 1024 * 1024;
/** Whole blobs on their way at once. */
const putsMax = 16;
/** Five hundred megabytes over a slow line, part by part. */
const requestTimeoutMs = 120_000;
/** With pauses that double from 50 ms, for 5xx and 429. */
const retries = 5;

/** Blobs as objects in a bucket of an S3-compatible server, addressed by path, which all of them understand. */
export function s3BlobStore(settings: S3Settings): BlobStore {
  const { accessKeyId, secretAccessKey, region } = settings;
  const client = new AwsClient({ accessKeyId, secretAccessKey, region, service: "s3", retries });
  const bucketUrl = `${settings.endpoint.replace(/\/+$/, "")}/${settings.bucket}`;
  const urlOf = (key: BlobKey, query = "") => `${bucketUrl}/${settings.prefix}${key}${query}`;

  async function ask(doing: string, url: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    const timeout = AbortSignal.timeout(requestTimeoutMs);
    const response = await client.fetch(url, { ...init, signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]) });
    if (response.ok || response.status === 404) return response;
    throw new Error(`the blob store answered ${response.status} to ${doing}: ${codeOf(await response.text())}`);
  }

  async function put(key: BlobKey, body: Buffer, signal: AbortSignal | undefined): Promise<void> {
    const response = await ask("PUT", urlOf(key), { method: "PUT", body: new Uint8Array(body), headers: octets }, signal);
    await drained(response, key);
  }

  async function putInParts(
    key: BlobKey,
    parts: AsyncIterator<Buffer>,
    first: Buffer,
    second: Buffer,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const begun = await ask("CreateMultipartUpload", urlOf(key, "?uploads"), { method: "POST", headers: octets }, signal);
    const uploadId = elementOf(await begun.text(), "UploadId");
    if (uploadId === undefined) throw new Error("the blob store began an upload and did not name it");
    const query = (more = "") => `?${more}uploadId=${encodeURIComponent(uploadId)}`;
    try {
      const etags: string[] = [];
      const upload = async (body: Buffer) => {
        const url = urlOf(key, query(`partNumber=${etags.length + 1}&`));
        const response = await ask("UploadPart", url, { method: "PUT", body: new Uint8Array(body), headers: octets }, signal);
        await drained(response, key);
        etags.push(response.headers.get("ETag") ?? "");
      };
      await upload(first);
      await upload(second);
      for (let next = await parts.next(); next.done !== true; next = await parts.next()) await upload(next.value);
      const list = etags.map((etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escapeXml(etag)}</ETag></Part>`);
      const body = `<CompleteMultipartUpload>${list.join("")}</CompleteMultipartUpload>`;
      const completed = await ask("CompleteMultipartUpload", urlOf(key, query()), { method: "POST", body }, signal);
      // S3 answers 200 before it knows, and puts a failure into the body.
      const answer = await completed.text();
      if (!completed.ok || answer.includes("<Error>")) throw new Error(`the blob store could not put an upload together: ${codeOf(answer)}`);
    } catch (error) {
      await ask("AbortMultipartUpload", urlOf(key, query()), { method: "DELETE" }).catch(() => {});
      throw error;
    }
  }

  return {
    async put(key, bytes, { signal } = {}) {
      const parts = inParts(bytes)[Symbol.asyncIterator]();
      const first = await parts.next();
      const second = first.done === true ? first : await parts.next();
      if (first.done === true || second.done === true) return put(key, first.done === true ? Buffer.alloc(0) : first.value, signal);
      return putInParts(key, parts, first.value, second.value, signal);
    },
    async putAll(blobs, { signal } = {}) {
      for (let at = 0; at < blobs.length; at += putsMax) {
        const puts = await Promise.allSettled(blobs.slice(at, at + putsMax).map(({ key, bytes }) => put(key, bytes, signal)));
        const failed = puts.find((outcome) => outcome.status === "rejected");
        if (failed !== undefined) throw failed.reason;
      }
    },
    async open(key, range) {
      const headers = range === undefined ? {} : { Range: `bytes=${range.first}-${range.last}` };
      const response = await client.fetch(urlOf(key), { headers });
      if (response.status === 404) {
        await response.body?.cancel();
        throw new BlobMissing(key);
      }
      if (!response.ok || response.body === null)
        throw new Error(`the blob store answered ${response.status} to GET: ${codeOf(await response.text())}`);
      // Said by Content-Range and not by the status: rclone's S3 serves ranges with 200.
      if (range !== undefined && response.headers.get("Content-Range")?.startsWith(`bytes ${range.first}-`) !== true) {
        await response.body.cancel();
        throw new Error("the blob store serves no ranges");
      }
      return Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
    },
    async head(key) {
      const response = await ask("HEAD", urlOf(key), { method: "HEAD" });
      return response.status === 404 ? undefined : { sizeBytes: Number(response.headers.get("Content-Length")) };
    },
    async remove(key) {
      const response = await ask("DELETE", urlOf(key), { method: "DELETE" });
      await response.body?.cancel();
    },
  };
}

/** Sealed bytes are of no type. */
const octets = { "Content-Type": "application/octet-stream" };

async function drained(response: Response, key: BlobKey): Promise<void> {
  await response.body?.cancel();
  if (response.status === 404) throw new Error(`the blob store has no bucket for ${key}, or no upload of it`);
}

async function* inParts(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let length = 0;
  for await (const piece of bytes) {
    rest.push(piece);
    length += piece.length;
    if (length < partBytes) continue;
    let whole = Buffer.concat(rest);
    while (whole.length >= partBytes) {
      yield whole.subarray(0, partBytes);
      whole = whole.subarray(partBytes);
    }
    rest = [whole];
    length = whole.length;
  }
  if (length > 0) yield Buffer.concat(rest);
}

/** S3's code of an error, which says what is wrong and names nothing; bodies also quote keys. */
function codeOf(xml: string): string {
  return elementOf(xml, "Code") ?? "no code";
}

function elementOf(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]{1,1024})</${name}>`).exec(xml)?.[1];
  return text?.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
