import type { Chance } from "../chaos/random.ts";
import type { Pool } from "./pool.ts";
import type { World } from "./world.ts";

export interface Ingredients {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface Kitchen {
  readonly world: World;
  readonly pool: Pool;
  readonly chance: Chance;
  /** Folders that may be destroyed, with their mailboxes. */
  readonly folders: readonly { readonly id: string; readonly mailboxId: string }[];
  readonly name: () => string;
}

type Recipe = (kitchen: Kitchen) => Ingredients | Promise<Ingredients>;

const lastingMailbox: Recipe = ({ world, chance }) => ({ params: { id: chance.pick(world.own.mailboxes) } });
const looseMailbox: Recipe = ({ pool }) => ({ params: { id: pool.loose("mbx") ?? pool.invented("mbx") } });
const lastingEndpoint: Recipe = ({ pool }) => ({ params: { id: pool.lasting("whe") ?? pool.any("whe") } });
const lastingMessage: Recipe = ({ pool }) => ({ params: { id: pool.lasting("msg") ?? pool.any("msg") } });

/** What a request needs, besides what its schema says, to come through: things that are there, and in the right state. */
export const recipes: Readonly<Record<string, Recipe>> = {
  connectMailbox: async ({ world, name, chance }) =>
    chance.next() < 0.5
      ? { body: { ...(await world.newMailbox()), externalId: name() } }
      : { body: { provider: "memory", email: `${name()}@example.com`, mailbox: name() } },
  testConnection: async ({ world }) => ({ body: await world.newMailbox() }),
  testMailbox: lastingMailbox,
  autodetect: ({ chance }) => ({ body: { email: chance.pick(["ann@gmail.com", "ann@fastmail.com", "ann@gmx.net"]) } }),
  changeMailbox: ({ world, chance, name }) => ({ params: { id: chance.pick(world.own.mailboxes) }, body: { displayName: name() } }),
  disconnectMailbox: looseMailbox,
  syncMailbox: lastingMailbox,
  pauseMailbox: looseMailbox,
  resumeMailbox: lastingMailbox,
  resyncMailbox: looseMailbox,
  reconnectMailbox: lastingMailbox,
  listFolders: lastingMailbox,
  createFolder: ({ world, chance, name }) => ({ params: { id: chance.pick(world.own.mailboxes) }, body: { path: name() } }),
  renameFolder: (kitchen) => ({ ...looseFolder(kitchen), body: { path: kitchen.name() } }),
  deleteFolder: (kitchen) => ({ ...looseFolder(kitchen), query: { force: "true" } }),
  retrySkippedMessages: lastingMailbox,
  getMessage: lastingMessage,
  changeMessage: ({ pool }) => ({ params: { id: pool.lasting("msg") ?? "" }, body: { flags: { add: ["seen"] } } }),
  deleteMessage: ({ pool }) => ({ params: { id: pool.loose("msg") ?? pool.lasting("msg") ?? "" }, query: { whenAway: "queue" } }),
  actOnMessages: ({ pool, chance }) => ({
    body: {
      ids: [...new Set([pool.lasting("msg"), pool.any("msg")].filter((id) => id !== undefined))],
      action: chance.pick([{ type: "setFlags", add: ["seen"] }, { type: "setFlags", remove: ["flagged"] }, { type: "archive" }, { type: "notJunk" }]),
      whenAway: "queue",
    },
  }),
  listContactMessages: ({ chance }) => ({ params: { address: chance.pick(["ann@example.test", "bob@example.test", "Ann@EXAMPLE.test"]) } }),
  getMessageText: lastingMessage,
  getMessageSource: lastingMessage,
  getAttachment: ({ pool }) => ({ params: { id: pool.lasting("msg") ?? "", part: "2" } }),
  exportMailbox: lastingMailbox,
  createWebhookEndpoint: ({ world, name }) => ({ body: { url: world.own.receiver.url, description: name() } }),
  updateWebhookEndpoint: ({ pool, name }) => ({ params: { id: pool.any("whe") }, body: { description: name() } }),
  deleteWebhookEndpoint: ({ pool }) => ({ params: { id: pool.loose("whe") ?? "" } }),
  rotateWebhookSecret: ({ pool }) => ({ params: { id: pool.loose("whe") ?? "" }, body: {} }),
  testWebhookEndpoint: lastingEndpoint,
  replayWebhookEvents: ({ pool }) => ({ params: { id: pool.lasting("whe") ?? "" }, body: { eventId: pool.lasting("evt") } }),
  enableWebhookEndpoint: lastingEndpoint,
  listWebhookDeliveries: lastingEndpoint,
  createAccessKey: ({ name }) => ({ body: { name: name() } }),
  revokeAccessKey: ({ pool }) => ({ params: { id: pool.loose("key") ?? "" } }),
};

/** What destroys is only let loose on what the fuzz itself has made. */
export const destructive: Readonly<Record<string, string>> = {
  disconnectMailbox: "mbx",
  changeMailbox: "mbx",
  pauseMailbox: "mbx",
  resyncMailbox: "mbx",
  deleteMessage: "msg",
  deleteWebhookEndpoint: "whe",
  updateWebhookEndpoint: "whe",
  revokeAccessKey: "key",
  renameFolder: "fld",
  deleteFolder: "fld",
};

function looseFolder({ folders, chance }: Kitchen): Ingredients {
  if (folders.length === 0) return {};
  const { id, mailboxId } = chance.pick(folders);
  return { params: { id: mailboxId, folderId: id } };
}
