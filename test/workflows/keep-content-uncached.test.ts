import "../helpers/uncached.ts";
import "./keep-content.test.ts";
