import { z } from "zod";

/** A host that a customer names; which of them may be connected to is the resolver's to say. */
export const hostSchema = z
  .string()
  .trim()
  .toLowerCase()
  .regex(/^(?=.{1,253}$)[a-z0-9_]([a-z0-9_.:-]*[a-z0-9])?$|^[0-9a-f:]+$/, "a host name or an IP address, without scheme, port or path");
