import type { ImapFlow } from "imapflow";
import { MailError } from "../../domain/errors.ts";
import type { ConnectionReport, MailProvider, OpenOptions, ProviderDefinition } from "../provider.ts";
import { createFolder, deleteFolder, renameFolder } from "./change-folders.ts";
import { pullChanges } from "./changes.ts";
import type { Account } from "./connection.ts";
import { copy } from "./copy.ts";
import { countMessages } from "./count.ts";
import { fetchAgain } from "./fetch-again.ts";
import { listFolders } from "./folders.ts";
import { type Listings, pullHistory } from "./history.ts";
import { markFolder } from "./landed.ts";
import { type Call, createLane, isLost, type Lane } from "./lane.ts";
import { createLoan, type Loan } from "./loan.ts";
import { move } from "./move.ts";
import { openPart } from "./part.ts";
import { remove } from "./remove.ts";
import { setFlags } from "./set-flags.ts";
import { connectSchema, type ImapCredentials, type ImapSettings, merge, namedHosts, split } from "./settings.ts";
import { testSending } from "./smtp.ts";
import { openSource } from "./source.ts";
import { fetchSources } from "./sources.ts";
import { checkAllScopes, checkSelected } from "./status.ts";
import { fetchTexts } from "./texts.ts";
import { verify } from "./verify.ts";
import { watch } from "./watch.ts";

/** Any mailbox that a password opens by IMAP (RFC 3501, RFC 9051), and that sends by SMTP. */
export const imap: ProviderDefinition<ImapSettings, ImapCredentials> = { kind: "imap", connectSchema, split, merge, namedHosts, open, test };

/** From this many connections on, the import gets one of its own: one watches, one reads what is new, one imports. */
const connectionsForImport = 3;

function open(settings: ImapSettings, credentials: ImapCredentials, options: OpenOptions): MailProvider {
  const account: Account = { settings, credentials, ...options };
  const live = createLane(account);
  const importing = settings.connectionsMax >= connectionsForImport ? createLane(account) : live;
  const listings: Listings = new Map();
  /** By the folder that is watched. */
  const loans = new Map<string, Loan>();
  /** Does the work on the connection that watches the folder, or, if that cannot be spared or is lost under it, otherwise. */
  const onLoan = async <T>(path: string, call: Call, work: (client: ImapFlow) => Promise<T>, otherwise: () => Promise<T>): Promise<T> => {
    const borrowed = loans.get(path)?.borrow(call, work);
    if (borrowed === undefined) return otherwise();
    try {
      return await borrowed;
    } catch (error) {
      if (!isLost(error)) throw error;
      return otherwise();
    }
  };
  const read = <T>(path: string, lane: () => Lane, call: Call, work: (client: ImapFlow) => Promise<T>): Promise<T> =>
    onLoan(path, call, work, () => lane().run(call, work));
  const freer = () => (importing.pending() < live.pending() ? importing : live);
  return {
    // A watch is a connection of its own: with only one allowed, changes are asked for.
    get capabilities() {
      const stableIds = [live, importing].some((lane) => lane.offers("OBJECTID") || lane.offers("X-GM-EXT-1"));
      return { push: settings.connectionsMax > 1, stableIds, connectionsMax: settings.connectionsMax };
    },
    verify: (signal) => live.run({ doing: "signing in by IMAP", signal }, (client) => verify(client, account)),
    listFolders: (signal) => live.run({ doing: "listing folders", signal }, (client) => listFolders(client, account.roleOverrides)),
    checkScopes: async (cursors, signal) => {
      const [first] = cursors;
      const checkAll = () => checkAllScopes(live, cursors, signal);
      if (first === undefined || cursors.size > 1 || loans.get(first[0])?.hasJustRead() !== true) return checkAll();
      return onLoan(first[0], { doing: "asking whether folders changed", signal }, (client) => checkSelected(client, ...first), checkAll);
    },
    pullChanges: (scope, cursor, { signal, ...page }) =>
      read(
        scope.path,
        () => live,
        { doing: "reading a folder's changes", signal },
        (client) => pullChanges(client, scope, cursor, page),
      ),
    pullHistory: (scope, cursor, { signal, isBrief = false, ...page }) =>
      (isBrief ? live : importing).run({ doing: "importing a folder", signal }, (client) => pullHistory(client, listings, scope, cursor, page)),
    countMessages: (scope, receivedFrom, signal) =>
      freer().run({ doing: "counting a folder", signal }, (client) => countMessages(client, scope, receivedFrom)),
    fetchMessages: (scope, cursor, refs, signal) =>
      freer().run({ doing: "reading messages again", signal }, (client) => fetchAgain(client, scope, cursor, refs)),
    fetchTexts: (scope, messages, { bytesMax, isBackground = false, signal }) =>
      isBackground
        ? importing.run({ doing: "reading texts", signal }, (client) => fetchTexts(client, scope, messages, bytesMax))
        : read(scope.path, freer, { doing: "reading texts", signal }, (client) => fetchTexts(client, scope, messages, bytesMax)),
    openSource: (scope, ref, signal) => openSource(freer(), scope, ref, signal),
    fetchSources: (scope, refs, signal) => freer().run({ doing: "reading sources", signal }, (client) => fetchSources(client, scope, refs)),
    openPart: (scope, ref, part, signal) => openPart(freer(), scope, ref, part, signal),
    markFolder: (path, signal) => freer().run({ doing: "looking where a folder ends", signal }, (client) => markFolder(client, path)),
    setFlags: (scope, refs, change, signal) =>
      freer().run({ doing: "setting flags", signal, isWrite: true }, (client) => setFlags(client, scope, refs, change)),
    move: (scope, messages, target, signal) =>
      freer().run({ doing: "moving messages", signal, isWrite: true }, (client) => move(client, scope, messages, target)),
    copy: (scope, messages, target, signal) =>
      freer().run({ doing: "copying messages", signal, isWrite: true }, (client) => copy(client, scope, messages, target)),
    remove: (scope, refs, signal) => freer().run({ doing: "deleting messages", signal, isWrite: true }, (client) => remove(client, scope, refs)),
    createFolder: (path, signal) => live.run({ doing: "creating a folder", signal, isWrite: true }, (client) => createFolder(client, path)),
    renameFolder: (path, to, signal) => live.run({ doing: "renaming a folder", signal, isWrite: true }, (client) => renameFolder(client, path, to)),
    deleteFolder: (path, options, signal) =>
      live.run({ doing: "deleting a folder", signal, isWrite: true }, (client) => deleteFolder(client, path, options)),
    watch(watchOptions) {
      const loan = createLoan(account);
      loans.set(watchOptions.scope.path, loan);
      return watch(account, watchOptions, loan);
    },
    async yieldConnections() {
      await Promise.all([live.rest(), importing.rest()]);
    },
    isUsable: () => live.isUsable() && importing.isUsable(),
    async close() {
      await Promise.all([live.close(), importing.close()]);
    },
  };
}

async function test(settings: ImapSettings, credentials: ImapCredentials, options: OpenOptions, signal?: AbortSignal): Promise<ConnectionReport> {
  const provider = open(settings, credentials, options);
  try {
    const [receiving, sending] = await Promise.all([
      orMailError(provider.verify(signal)),
      settings.smtp === null ? undefined : orMailError(testSending({ settings, credentials, ...options }, signal)),
    ]);
    return { receiving, sending };
  } finally {
    await provider.close();
  }
}

async function orMailError<T>(report: Promise<T>): Promise<T | MailError> {
  try {
    return await report;
  } catch (error) {
    if (error instanceof MailError) return error;
    throw error;
  }
}
