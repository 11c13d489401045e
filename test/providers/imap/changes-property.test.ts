import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createMirror } from "../../contract/mirror.ts";
import { honestly, type MisbehavingImap, scriptedFolder } from "../../helpers/misbehaving-imap.ts";
import { inbox, open, serve, without } from "./opened.ts";

const flags = ["\\Answered", "\\Flagged", "\\Seen"];

/** What happens at the server, what is asked of it, and what goes wrong in between. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("arrive" as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("expunge" as const), at: fc.nat(1_000), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("flag" as const), at: fc.nat(1_000), flags: fc.subarray(flags) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("pull" as const),
      what: fc.constantFrom("changes" as const, "history" as const),
      limit: fc.integer({ min: 1, max: 5 }),
      /** Died before the page was stored: the next one begins where this one began. */
      isLost: fc.boolean(),
      /** What the server does while the page is read, at the command of this number. */
      meanwhile: fc.constantFrom("nothing" as const, "arrival" as const, "expunge" as const, "flag" as const, "cut" as const),
      at: fc.nat(2),
    }),
  },
);

/** Does something at the server's n-th command from now on, before it answers. */
function interfere(server: MisbehavingImap, at: number, meanwhile: "nothing" | "arrival" | "expunge" | "flag" | "cut"): void {
  let left = at;
  server.fault = ({ verb }) => {
    if (!["EXAMINE", "UID SEARCH", "UID FETCH"].includes(verb) || left-- > 0) return honestly;
    server.fault = undefined;
    const [first] = server.folder("INBOX").uids;
    if (meanwhile === "arrival") server.append("INBOX");
    if (meanwhile === "expunge" && first !== undefined) server.expunge("INBOX", [first]);
    if (meanwhile === "flag" && first !== undefined) server.setFlags("INBOX", first, ["\\Draft"]);
    return meanwhile === "cut" ? null : honestly;
  };
}

test.each([
  ["a counter of changes", without()],
  ["no extension at all", without("CONDSTORE", "ESEARCH", "IDLE", "UIDPLUS", "LIST-STATUS", "SPECIAL-USE", "LIST-EXTENDED", "ENABLE", "UTF8=ACCEPT")],
])(
  "whatever arrives, goes, changes, breaks or is read twice, every UID is listed once and no cursor runs ahead, with %s [row 45]",
  async (_what, capabilities) => {
    const property = fc.asyncProperty(fc.integer({ min: 0, max: 12 }), fc.array(step, { minLength: 4, maxLength: 30 }), async (before, steps) => {
      const keepsModseq = capabilities.includes("CONDSTORE");
      const server = await serve({ capabilities, folders: [scriptedFolder("INBOX", { modseq: keepsModseq ? 1 : null })] });
      server.append("INBOX", before);
      const folder = server.folder("INBOX");
      const everThere = new Set(folder.uids.map(String));
      const mirror = createMirror(open(server), inbox);
      for (const one of steps) {
        const { uids } = folder;
        if (one.do === "arrive") server.append("INBOX", one.count);
        if (one.do === "expunge" && uids.length > 0) server.expunge("INBOX", uids.slice(one.at % uids.length).slice(0, one.count));
        if (one.do === "flag" && uids.length > 0) server.setFlags("INBOX", uids[one.at % uids.length] as number, one.flags);
        if (one.do === "pull") {
          const kept = {
            ...mirror,
            messages: new Map([...mirror.messages].map(([ref, message]) => [ref, { ...message }])),
            listed: [...mirror.listed],
          };
          interfere(server, one.at, one.meanwhile);
          const isRead = await mirror[one.what === "changes" ? "pullChanges" : "pullHistory"](one.limit).then(
            () => true,
            () => false,
          );
          server.fault = undefined;
          if (one.isLost || !isRead) restore(mirror, kept);
        }
        for (const uid of folder.uids) everThere.add(String(uid));
        expect(Number(mirror.cursor?.modseq ?? 0)).toBeLessThanOrEqual(folder.modseq ?? 0);
        expect(Number(mirror.cursor?.uidNext ?? 0)).toBeLessThanOrEqual(folder.uidNext);
      }
      await mirror.settle(3);
      // Where the server counts no changes, removals show in the next count.
      await mirror.settle(3);
      expect([...mirror.messages.keys()].toSorted((a, b) => Number(a) - Number(b))).toEqual(folder.uids.map(String));
      expect(new Set(mirror.listed).size).toBe(mirror.listed.length);
      expect(mirror.listed.filter((ref) => !everThere.has(ref))).toEqual([]);
      for (const [ref, message] of mirror.messages) expect([ref, message.flags]).toEqual([ref, known(server, Number(ref))]);
      await server[Symbol.asyncDispose]();
    });
    await fc.assert(property, { numRuns: 60, endOnFailure: true });
  },
  180_000,
);

function restore(mirror: ReturnType<typeof createMirror>, kept: ReturnType<typeof createMirror>): void {
  mirror.messages.clear();
  for (const [ref, message] of kept.messages) mirror.messages.set(ref, message);
  mirror.listed.splice(0, mirror.listed.length, ...kept.listed);
  mirror.cursor = kept.cursor;
  mirror.historyCursor = kept.historyCursor;
  mirror.resets = kept.resets;
}

function known(server: MisbehavingImap, uid: number): readonly string[] {
  const { flags: set = [] } = server.folder("INBOX").messages.get(uid) ?? {};
  return set.map((flag) => flag.slice(1).toLowerCase()).toSorted();
}
