import { z } from "zod";

const hostPattern = /^\s*(?=\S{1,253}\s*$)([A-Za-z0-9_]([A-Za-z0-9_.:-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+)\s*$/;

/** A host that a customer names; which of them may be connected to is the resolver's to say. Judged as it is sent, so that the document says the same. */
export const hostSchema = z.string().regex(hostPattern, "a host name or an IP address, without scheme, port or path").trim().toLowerCase();
