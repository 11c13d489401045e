import { type ProxyLink, startProxy, type TcpProxy } from "../helpers/tcp-proxy.ts";

/** A way to PostgreSQL that can lose the answer to a commit: it was done, and who asked for it never hears so. */
export interface CommitProxy extends TcpProxy {
  /** The next so many commits, on whatever connection, are passed on, and their connections break before the answer. */
  loseCommits(count: number): void;
  /** How many answers were lost so far. */
  readonly lost: number;
}

/** The simple query `commit` as it goes over the wire (PostgreSQL's protocol, message Query). */
const commit = Buffer.from("Q\0\0\0\x0bcommit\0", "latin1");
const nothing = Buffer.alloc(0);

export async function startCommitProxy(targetPort: number): Promise<CommitProxy> {
  const losing = new WeakSet<ProxyLink>();
  let toLose = 0;
  let lost = 0;
  const proxy = await startProxy(targetPort, {
    fromClient(bytes, link) {
      if (toLose > 0 && bytes.includes(commit)) {
        toLose -= 1;
        losing.add(link);
      }
      return bytes;
    },
    fromServer(bytes, link) {
      if (!losing.delete(link)) return bytes;
      // The server has answered, so the commit is done.
      lost += 1;
      link.cut();
      return nothing;
    },
  });
  const loseCommits = (count: number) => {
    toLose += count;
  };
  return Object.defineProperties({ loseCommits }, { ...Object.getOwnPropertyDescriptors(proxy), lost: { get: () => lost } }) as CommitProxy;
}
