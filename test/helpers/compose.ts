import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { root } from "../architecture/import-graph.ts";

export interface ComposeService {
  readonly image?: string;
  readonly build?: string;
  readonly restart?: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly { readonly source: string; readonly target: string }[];
  readonly ports: readonly string[];
  readonly dependsOn: Readonly<Record<string, string>>;
  readonly hasHealthCheck: boolean;
  readonly stopGraceSeconds: number;
}

export interface Compose {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: readonly string[];
}

const text = readFileSync(join(root, "temporal-docker-compose.yml"), "utf8");

/** temporal-docker-compose.yml as an engine reads it, with these variables in its environment. Throws for one that is needed and not there. */
export function readCompose(variables: Readonly<Record<string, string>>): Compose {
  const { services, volumes = {} } = parse(text, { merge: true }) as { services: Record<string, RawService>; volumes?: object };
  return {
    services: Object.fromEntries(Object.entries(services).map(([name, service]) => [name, toService(filledIn(service, variables))])),
    volumes: Object.keys(volumes),
  };
}

/** The service of that name; throws if there is none. */
export function serviceOf({ services }: Compose, name: string): ComposeService {
  const service = services[name];
  if (service === undefined) throw new Error(`temporal-docker-compose.yml has no service ${name}`);
  return service;
}

interface RawService extends Pick<ComposeService, "image" | "build" | "restart" | "command" | "entrypoint"> {
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: object;
  readonly stop_grace_period?: string;
}

function toService({ environment = {}, volumes = [], ports = [], depends_on = {}, healthcheck, stop_grace_period = "10s", ...rest }: RawService) {
  return {
    ...rest,
    environment,
    volumes: volumes.map((volume) => {
      const [source = "", target = ""] = volume.split(":");
      return { source, target };
    }),
    ports,
    dependsOn: Object.fromEntries(Object.entries(depends_on).map(([name, { condition }]) => [name, condition])),
    hasHealthCheck: healthcheck !== undefined,
    stopGraceSeconds: Number(/^(\d+)s$/.exec(stop_grace_period)?.[1]),
  };
}

/** `${NAME:?what it is}` and `${NAME:-what it is otherwise}`, the two forms that are used. */
const reference = /\$\{(\w+):([?-])([^}]*)\}/g;

function filledIn<T>(part: T, variables: Readonly<Record<string, string>>): T {
  const fill = (given: string) =>
    given.replace(reference, (_, name: string, form: string, otherwise: string) => {
      const value = variables[name];
      if (value !== undefined) return value;
      if (form === "?") throw new Error(`${name} is not set: ${otherwise}`);
      return otherwise;
    });
  return JSON.parse(JSON.stringify(part), (_key, value) => (typeof value === "string" ? fill(value) : value)) as T;
}
