import { eachStorm } from "./each-storm.ts";
import { partKills } from "./faults.ts";
import { runSeed } from "./random.ts";

eachStorm([
  {
    name: "a worker killed twenty times, during a first sync of 20,000 and live delivery to 50 mailboxes",
    strikes: 20,
    kinds: ["kill a worker"],
    mailboxes: 50,
    history: 20_000,
    workers: 1,
    deliverEveryMs: 50,
    pauseMaxMs: 3_000,
    seed: runSeed,
  },
  {
    name: "a hundred random kills of every part",
    strikes: 100,
    kinds: partKills,
    mailboxes: 20,
    history: 20_000,
    workers: 2,
    deliverEveryMs: 100,
    pauseMaxMs: 3_000,
    seed: runSeed + 10,
  },
]);
