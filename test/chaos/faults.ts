import { setTimeout as delay } from "node:timers/promises";
import { signal } from "../../embedded/processes.ts";
import { descendants } from "../helpers/processes.ts";
import { fillDisk } from "../helpers/small-disk.ts";
import type { TcpProxy } from "../helpers/tcp-proxy.ts";
import type { House } from "./house.ts";
import type { Chance } from "./random.ts";
import { clockErrorMaxS } from "./wrong-clock.ts";

export const partKills = ["kill a worker", "kill PostgreSQL", "kill Temporal", "kill the mail server"] as const;
export const networkFaults = [
  "cut PostgreSQL off",
  "cut Temporal off",
  "cut the mail server off",
  "stall PostgreSQL",
  "stall Temporal",
  "stall the mail server",
  "lose answers to commits",
] as const;
export const diskFaults = ["fill PostgreSQL's disk", "fill the blob store's disk"] as const;
export const clockFaults = ["set clocks wrong"] as const;

export type FaultName = (typeof partKills | typeof networkFaults | typeof diskFaults | typeof clockFaults)[number];

/** What does each fault and, where it lasts, ends it. */
export type Faults = Readonly<Record<FaultName, () => Promise<void>>>;

export function faultsOf(house: House, chance: Chance): Faults {
  const { postgres, temporal, dovecot, ways, workers, startWorker } = house;
  const deadFor = () => delay(chance.between(0, 1_500));
  const killPart = async (part: { kill(): Promise<void>; restart(): Promise<unknown> }) => {
    await part.kill();
    await deadFor();
    await part.restart();
  };
  const stall = async (way: TcpProxy) => {
    way.freeze();
    await delay(chance.between(500, 5_000));
    way.thaw();
    // Half of the time the connections stay stalled for good: deadlines must notice.
    if (chance.next() < 0.5) way.cut();
  };
  return {
    "kill a worker": async () => {
      const index = chance.between(0, workers.length - 1);
      await workers[index]?.kill("SIGKILL");
      await deadFor();
      workers[index] = await startWorker();
    },
    "kill PostgreSQL": () => killPart(postgres),
    "kill Temporal": () => killPart(temporal),
    "kill the mail server": async () => {
      const children = descendants(dovecot.now.pid);
      await dovecot.kill();
      for (const pid of children) signal(pid, "SIGKILL");
      await deadFor();
      await dovecot.restart();
    },
    "cut PostgreSQL off": async () => ways.postgres.cut(),
    "cut Temporal off": async () => ways.temporal.cut(),
    "cut the mail server off": async () => ways.imap.cut(),
    "stall PostgreSQL": () => stall(ways.postgres),
    "stall Temporal": () => stall(ways.temporal),
    "stall the mail server": () => stall(ways.imap),
    "lose answers to commits": async () => ways.postgres.loseCommits(chance.between(1, 5)),
    "fill PostgreSQL's disk": async () => {
      const free = fillDisk(needed(house.disks, "a small disk").postgres);
      await delay(chance.between(1_000, 6_000));
      free();
      // Without room for its log it ends at once, or it cannot come back by itself.
      await postgres.restart();
    },
    "fill the blob store's disk": async () => {
      const free = fillDisk(needed(house.disks, "a small disk").blobs);
      await delay(chance.between(1_000, 8_000));
      free();
    },
    "set clocks wrong": async () => {
      const clock = needed(house.clock, "a wrong clock");
      clock.set(chance.between(-clockErrorMaxS, clockErrorMaxS));
      await delay(chance.between(1_000, 6_000));
      clock.set(0);
    },
  };
}

function needed<T>(thing: T | undefined, name: string): T {
  if (thing === undefined) throw new Error(`this house was built without ${name}`);
  return thing;
}
