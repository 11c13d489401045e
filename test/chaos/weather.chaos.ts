import { eachStorm } from "./each-storm.ts";
import { clockFaults, diskFaults, networkFaults } from "./faults.ts";
import { runSeed } from "./random.ts";

eachStorm([
  {
    name: "connections cut and stalled, and answers to commits lost, between every pair",
    strikes: 60,
    kinds: networkFaults,
    mailboxes: 20,
    history: 10_000,
    workers: 2,
    deliverEveryMs: 100,
    pauseMaxMs: 2_000,
    seed: runSeed + 20,
  },
  {
    name: "kills and cuts without a cached workflow",
    strikes: 30,
    mailboxes: 10,
    history: 5_000,
    workers: 2,
    settings: { EVERPOST_WORKER_CACHED_WORKFLOWS: "0" },
    deliverEveryMs: 150,
    pauseMaxMs: 3_000,
    seed: runSeed + 30,
  },
  {
    name: "full disks, with whole sources kept",
    strikes: 8,
    kinds: diskFaults,
    mailboxes: 5,
    history: 1_000,
    workers: 1,
    smallDisks: true,
    connect: { sync: { content: "full" } },
    deliverEveryMs: 100,
    pauseMaxMs: 3_000,
    seed: runSeed + 40,
  },
  {
    name: "clocks that jump by hours",
    strikes: 15,
    kinds: [...clockFaults, "kill a worker"],
    mailboxes: 10,
    history: 5_000,
    workers: 2,
    wrongClocks: true,
    deliverEveryMs: 100,
    pauseMaxMs: 3_000,
    seed: runSeed + 50,
  },
]);
