import { loadConfigOrExit } from "../config.ts";
import { createAccessKey } from "../db/access-keys.ts";
import { openDatabase } from "../db/database.ts";
import { keyScopes } from "../domain/access.ts";

/** Prints a new administrator key, the first of an installation that `npm start` did not make. Whoever may run this has the database anyway. */
const db = openDatabase(loadConfigOrExit(process.env).database);
try {
  const { key } = await createAccessKey(db, { customerId: null, role: "administrator", name: "made on the command line", scopes: keyScopes });
  console.log(key);
} finally {
  await db.destroy();
}
