import { writeFile } from "node:fs/promises";
import { createDocument } from "./openapi.ts";
import { routes } from "./routes/index.ts";

/** `npm run build`: the document that is committed, so that a change of the API is seen in its diff. */
await writeFile(new URL("../docs/openapi.json", import.meta.url), `${JSON.stringify(createDocument(routes), null, 2)}\n`);
