import { z } from "zod";
import { type CustomerRow, createCustomer, findCustomer, listCustomers } from "../../db/customers.ts";
import { notFound } from "../errors.ts";
import { Reply, route } from "../route.ts";
import { idParams, idSchema, instantOut, nameSchema, pageOf, pageQuery, toPageBody, toPageRequest } from "../schemas.ts";

const customerSchema = z
  .strictObject({ id: idSchema("customer"), name: z.string(), createdAt: instantOut })
  .meta({ id: "Customer", description: "A tenant: nobody else sees what it owns." });

const auth = { role: "administrator" } as const;
const tags = ["Customers"];

export const customerRoutes = [
  route(
    {
      method: "get",
      path: "/v1/customers",
      operationId: "listCustomers",
      summary: "List the customers",
      tags,
      auth,
      query: z.strictObject(pageQuery),
      response: pageOf(customerSchema),
    },
    async ({ query, deps }) => toPageBody("customers", await listCustomers(deps.db, toPageRequest("customers", query)), toBody),
  ),

  route(
    {
      method: "post",
      path: "/v1/customers",
      operationId: "createCustomer",
      summary: "Create a customer",
      tags,
      auth,
      status: 201,
      body: z.strictObject({ name: nameSchema }),
      example: { name: "Example Ltd" },
      response: customerSchema,
    },
    async ({ body, deps, audit, keep }) => {
      return deps.db.transaction().execute(async (trx) => {
        const created = await createCustomer(trx, body);
        await audit(trx, { action: "customer.created", target: created.id, customerId: created.id, details: { name: created.name } });
        return keep(trx, new Reply(201, toBody(created), { Location: `/v1/customers/${created.id}` }));
      });
    },
  ),

  route(
    {
      method: "get",
      path: "/v1/customers/{id}",
      operationId: "getCustomer",
      summary: "Get a customer",
      tags,
      auth,
      params: idParams("customer"),
      response: customerSchema,
    },
    async ({ params, deps }) => {
      const row = await findCustomer(deps.db, params.id);
      if (row === undefined) throw notFound("customer");
      return toBody(row);
    },
  ),
];

function toBody(row: CustomerRow): z.input<typeof customerSchema> {
  return { id: row.id, name: row.name, createdAt: row.created_at.toISOString() };
}
