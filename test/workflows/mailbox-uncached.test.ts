import { mailboxSuite } from "./mailbox.suite.ts";

// Every workflow task replays its whole history: whatever is not deterministic fails here.
mailboxSuite({ maxCachedWorkflows: 0 });
