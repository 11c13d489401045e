import "../helpers/uncached.ts";
import "./webhook-relay.test.ts";
