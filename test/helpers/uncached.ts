// Imported before a file of tests, it has their workers keep no workflow in memory: every task replays the whole history, and whatever is not
// deterministic fails.
process.env.EVERPOST_WORKER_CACHED_WORKFLOWS = "0";
