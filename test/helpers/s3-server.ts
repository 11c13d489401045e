import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { buildWithGo, cacheDir, madeOnce } from "../../embedded/go-build.ts";
import { StartError } from "../../embedded/processes.ts";
import { root } from "../architecture/import-graph.ts";

export interface S3Server extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
}

export interface S3ServerOptions {
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** tools/s3: the S3 server that rclone ships, in memory, which refuses what is not signed with the key. It ends with the process that started it. */
export async function startS3Server({ bucket, accessKeyId, secretAccessKey }: S3ServerOptions): Promise<S3Server> {
  const child = spawn(await findProgram(), [bucket, accessKeyId, secretAccessKey], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const said = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  if (said.done === true) throw new Error("tools/s3 ended before it listened");
  return {
    endpoint: said.value,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await exited;
    },
  };
}

async function findProgram(): Promise<string> {
  const sources = createHash("sha256");
  for (const file of ["main.go", "go.mod", "go.sum"]) sources.update(readFileSync(join(root, "tools/s3", file)));
  const dir = join(cacheDir(process.env), `s3-${sources.digest("hex").slice(0, 12)}`);
  const program = join(dir, "s3");
  if (existsSync(program)) return program;
  return madeOnce(process.env, console.log, async () => {
    if (existsSync(program)) return program;
    const work = `${dir}.${process.pid}`;
    rmSync(work, { recursive: true, force: true });
    mkdirSync(work, { recursive: true });
    await buildWithGo({ module: "tools/s3", what: "an S3 server for the tests", packages: ["."], outDir: work }, process.env, console.log).catch(
      (error: Error) => {
        throw new StartError(
          `The tests of the S3 blob store need tools/s3 built, and that failed: ${error.message}. It takes Go 1.26 (https://go.dev/dl) and a way to the Go module proxy`,
        );
      },
    );
    renameSync(work, dir);
    return program;
  });
}
