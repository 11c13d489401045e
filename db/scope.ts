import {
  AliasNode,
  AndNode,
  BinaryOperationNode,
  ColumnNode,
  type DeleteQueryNode,
  IdentifierNode,
  type KyselyPlugin,
  type OperationNode,
  OperationNodeTransformer,
  OperatorNode,
  ReferenceNode,
  type SelectQueryNode,
  TableNode,
  type UpdateQueryNode,
  ValueNode,
  WhereNode,
} from "kysely";
import type { CustomerId, MailboxId } from "../domain/ids.ts";
import type { Connection } from "./database.ts";

/** Whose things a request may see. An administrator who acts for nobody in particular has no scope: see `unscoped`. */
export interface Scope {
  readonly customerId: CustomerId;
  /** Set for access keys that are bound to one mailbox. */
  readonly mailboxId: MailboxId | null;
}

/** The column that holds the mailbox's id, per tenant table; undefined where rows belong to no mailbox. */
const tenantTables: Readonly<Record<string, { readonly mailbox: string | undefined }>> = {
  access_keys: { mailbox: "mailbox_id" },
  audit_log: { mailbox: "mailbox_id" },
  mailboxes: { mailbox: "id" },
  credentials: { mailbox: "mailbox_id" },
  folders: { mailbox: "mailbox_id" },
  messages: { mailbox: "mailbox_id" },
  threads: { mailbox: "mailbox_id" },
  message_locations: { mailbox: "mailbox_id" },
  skipped_messages: { mailbox: "mailbox_id" },
  message_texts: { mailbox: "mailbox_id" },
  message_blobs: { mailbox: "mailbox_id" },
  events: { mailbox: "mailbox_id" },
  webhook_endpoints: { mailbox: undefined },
  webhook_deliveries: { mailbox: "mailbox_id" },
  connection_tests: { mailbox: "mailbox_id" },
  message_actions: { mailbox: "mailbox_id" },
  message_action_items: { mailbox: "mailbox_id" },
};

declare const scopedBrand: unique symbol;
/** A connection on which every select, update and delete of a tenant table is limited to one scope. Only `scopedTo` makes one. */
export type ScopedConnection = Connection & { readonly [scopedBrand]: true };

/**
 * The one place where tenants are kept apart: the connection that is handed to everything that serves a request. A query that forgets its
 * customer cannot be written on it; what an insert puts in is the scope's by the repository's own hand.
 */
export function scopedTo(db: Connection, scope: Scope): ScopedConnection {
  return db.withPlugin(new ScopePlugin(scope)) as unknown as ScopedConnection;
}

class ScopePlugin implements KyselyPlugin {
  readonly #transformer: ScopeTransformer;

  constructor(scope: Scope) {
    this.#transformer = new ScopeTransformer(scope);
  }

  transformQuery: KyselyPlugin["transformQuery"] = ({ node, queryId }) => this.#transformer.transformNode(node, queryId);
  transformResult: KyselyPlugin["transformResult"] = async ({ result }) => result;
}

class ScopeTransformer extends OperationNodeTransformer {
  readonly #scope: Scope;

  constructor(scope: Scope) {
    super();
    this.#scope = scope;
  }

  protected override transformSelectQuery(...args: Parameters<OperationNodeTransformer["transformSelectQuery"]>): SelectQueryNode {
    const query = super.transformSelectQuery(...args);
    const joined = query.joins?.map((join) => join.table) ?? [];
    return this.#limit(query, [...(query.from?.froms ?? []), ...joined]);
  }

  protected override transformUpdateQuery(...args: Parameters<OperationNodeTransformer["transformUpdateQuery"]>): UpdateQueryNode {
    const query = super.transformUpdateQuery(...args);
    return this.#limit(query, [query.table, ...(query.from?.froms ?? [])]);
  }

  protected override transformDeleteQuery(...args: Parameters<OperationNodeTransformer["transformDeleteQuery"]>): DeleteQueryNode {
    const query = super.transformDeleteQuery(...args);
    return this.#limit(query, query.from.froms);
  }

  #limit<Query extends { readonly where?: WhereNode }>(query: Query, tables: readonly (OperationNode | undefined)[]): Query {
    const conditions = tables.flatMap((table) => (table === undefined ? [] : this.#conditionsFor(table)));
    const where = conditions.reduce<OperationNode | undefined>(
      (all, condition) => (all === undefined ? condition : AndNode.create(all, condition)),
      query.where?.where,
    );
    return where === undefined ? query : { ...query, where: WhereNode.create(where) };
  }

  #conditionsFor(node: OperationNode): OperationNode[] {
    const { name, reference } = tableOf(node);
    const columns = name === undefined ? undefined : tenantTables[name];
    if (columns === undefined || reference === undefined) return [];
    const conditions = [equals(reference, "customer_id", this.#scope.customerId)];
    if (this.#scope.mailboxId !== null && columns.mailbox !== undefined) {
      conditions.push(equals(reference, columns.mailbox, this.#scope.mailboxId));
    }
    return conditions;
  }
}

/** The table's own name, and the name under which this query refers to it. */
function tableOf(node: OperationNode): { readonly name: string | undefined; readonly reference: TableNode | undefined } {
  if (TableNode.is(node)) return { name: node.table.identifier.name, reference: node };
  if (AliasNode.is(node) && TableNode.is(node.node) && IdentifierNode.is(node.alias)) {
    return { name: node.node.table.identifier.name, reference: TableNode.create(node.alias.name) };
  }
  return { name: undefined, reference: undefined };
}

function equals(table: TableNode, column: string, value: string): OperationNode {
  return BinaryOperationNode.create(ReferenceNode.create(ColumnNode.create(column), table), OperatorNode.create("="), ValueNode.create(value));
}
