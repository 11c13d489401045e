import { mailboxSuite } from "./mailbox.suite.ts";

mailboxSuite({});
