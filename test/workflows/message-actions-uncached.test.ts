import "../helpers/uncached.ts";
import "../api/message-actions.test.ts";
