/**
 * Loaded before the entry point of every child (`node --import`): when the parent is gone, even by SIGKILL, its IPC channel closes, and the
 * child is asked to drain as by SIGTERM. Without a parent nothing would restart, stop or even show it.
 */
process.once("disconnect", () => {
  // Whoever drains has less than a minute; what hangs must not hold ports that the next start needs.
  setTimeout(() => process.exit(1), 60_000).unref();
  // Some programs listen for this themselves.
  if (process.listenerCount("disconnect") === 0) process.kill(process.pid, "SIGTERM");
});

// A listener makes the channel keep the process alive; ending when there is nothing left to do must stay possible.
process.channel?.unref();
