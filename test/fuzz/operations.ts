import { createDocument } from "../../api/openapi.ts";
import type { Method, Route } from "../../api/route.ts";
import { routes as allRoutes } from "../../api/routes/index.ts";

/** As much of JSON Schema 2020-12 as the document uses. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly propertyNames?: Schema;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly examples?: readonly unknown[];
}

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: Schema;
}

export interface DocumentedResponse {
  readonly description: string;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

/** One operation as the document tells of it, and the route behind it for who may call. */
export interface Operation {
  readonly id: string;
  readonly method: Method;
  readonly path: string;
  readonly auth: Route["auth"];
  readonly parameters: readonly Parameter[];
  readonly body: Schema | undefined;
  readonly example: unknown;
  readonly responses: Readonly<Record<string, DocumentedResponse>>;
}

export interface Described {
  readonly operations: readonly Operation[];
  readonly components: Readonly<Record<string, Schema>>;
  resolve(schema: Schema): Schema;
}

interface Told extends Omit<Operation, "id" | "method" | "path" | "auth" | "body" | "example"> {
  readonly operationId: string;
  readonly requestBody?: { readonly content: { readonly "application/json": { readonly schema: Schema; readonly example?: unknown } } };
}

/** What the OpenAPI document says, and nothing that only the code knows: the routes only add who may call. */
export function describeOperations(routes: readonly Route[] = allRoutes): Described {
  const document = JSON.parse(JSON.stringify(createDocument(routes))) as {
    readonly paths: Readonly<Record<string, Readonly<Record<Method, Told>>>>;
    readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
  };
  const components = document.components.schemas;
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    (Object.entries(methods) as [Method, Told][]).map(([method, told]): Operation => {
      const route = routes.find((candidate) => candidate.operationId === told.operationId);
      if (route === undefined) throw new Error(`${told.operationId} is described and has no route`);
      const body = told.requestBody?.content["application/json"];
      const { parameters, responses } = told;
      return { id: told.operationId, method, path, auth: route.auth, parameters, body: body?.schema, example: body?.example, responses };
    }),
  );
  return {
    operations,
    components,
    resolve(schema) {
      const name = schema.$ref?.replace("#/components/schemas/", "");
      if (name === undefined) return schema;
      const found = components[name];
      if (found === undefined) throw new Error(`the document does not hold ${schema.$ref}`);
      return found;
    },
  };
}
