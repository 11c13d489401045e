import type { Request } from "express";

/** What a request's log line and problems need, gathered on the way. */
export interface RequestNotes {
  readonly requestId: string;
  /** The route's pattern and not the path: logs are searched by it, and a path may hold what should not be logged. */
  routePath?: string;
  keyId?: string;
  customerId?: string;
}

const notes = new WeakMap<Request, RequestNotes>();

/** Begins a request's notes; the first thing that is done with it. */
export function beginNotes(request: Request, requestId: string): RequestNotes {
  const begun: RequestNotes = { requestId };
  notes.set(request, begun);
  return begun;
}

/** The notes of a request that was begun. */
export function notesOf(request: Request): RequestNotes {
  const found = notes.get(request);
  if (found === undefined) throw new Error("the request has no notes");
  return found;
}
