/**
 * The paths of the node's API: which method and path calls what, which parameters it takes, and the check of its body.
 *
 *   GET    /v1/status                          POST   /v1/reload
 *   GET    /v1/resources/KIND?namespace&name&watch
 *   GET    /v1/resources/KIND/NAME?namespace   DELETE the same, ?dryRun
 *   POST   /v1/resources/{apply,create,replace}?dryRun        body: the resource
 *   GET    /v1/workloads                       POST (attach)  DELETE /v1/workloads/NAME
 *   GET    /v1/ipam/{pools,blocks,check}       GET, DELETE /v1/ipam/addresses/IP       PATCH /v1/ipam/settings
 *   GET    /v1/bgp/peers   /v1/bgp/routes?prefix&received&advertised   /v1/bgp/explain?prefix
 *   GET    /v1/bgp/monitor
 *   GET    /v1/policy/explain?from&to&protocol&port&live     /v1/policy/list?hits     /v1/policy/lint
 *   POST   /v1/confirm/apply                   POST   /v1/confirm
 *   GET    /liveness  /readiness
 */

import { kindOfWord } from "../model/kinds.ts";
import type { ResourceId } from "../model/resource.ts";
import type { AnyResource, Kind } from "../model/resources/mod.ts";
import { anyText, flag, list, map, members, object, optional, text, whole, wrong } from "./checks.ts";
import { ApiError } from "./error.ts";
import type { Health, NodeApi } from "./node_api.ts";
import type { AttachRequest, ConfirmRequest, MonitorLine, ResourceFilter, WatchLine, WriteChoice } from "./shapes.ts";

/** A request whose path was matched. */
interface Call {
  readonly api: NodeApi;
  readonly health: Health;
  /** What the path has in the place of each `*`, decoded. */
  readonly parts: readonly string[];
  readonly query: ReadonlyMap<string, string>;
  /** The parsed body, undefined when there is none. */
  readonly body: unknown;
}

/** What a route gives back: JSON, a text with its own status, or a stream of lines. */
export type Answer =
  | { readonly json: unknown }
  | { readonly text: string; readonly status: number }
  | { readonly stream: (sink: (line: WatchLine | MonitorLine) => void) => () => void };

interface Route {
  readonly method: string;
  readonly path: string;
  readonly query?: readonly string[];
  run(call: Call): Promise<Answer> | Answer;
}

const json = async (value: Promise<unknown>): Promise<Answer> => ({ json: await value ?? null });
const part = ({ parts }: Call) => text(parts.at(-1), "the path's last part");

const ATTACH = members({
  name: text,
  netns: optional(text),
  tap: optional(text),
  interface: optional(text),
  ips: optional(list(text)),
  labels: optional(map(anyText)),
  profiles: optional(list(text)),
  namespace: optional(text),
  endpoint: optional(text),
  pools: optional(list(text)),
  orchestrator: optional(text),
  containerID: optional(text),
});

const SETTINGS = members({
  strictAffinity: optional(flag),
  autoAllocateBlocks: optional(flag),
  maxBlocksPerHost: optional(whole(0, 1_000_000)),
});

const ROUTES: readonly Route[] = [
  { method: "GET", path: "/v1/status", run: ({ api }) => json(api.status()) },
  { method: "POST", path: "/v1/reload", run: ({ api }) => json(api.reload()) },
  { method: "GET", path: "/v1/resources/*", query: ["namespace", "name", "watch"], run: listOrWatch },
  {
    method: "GET",
    path: "/v1/resources/*/*",
    query: ["namespace"],
    run: (call) => json(call.api.resources.get(id(call))),
  },
  {
    method: "DELETE",
    path: "/v1/resources/*/*",
    query: ["namespace", "dryRun"],
    run: (call) => json(call.api.resources.delete(id(call), choice(call))),
  },
  ...(["apply", "create", "replace"] as const).map((verb): Route => ({
    method: "POST",
    path: `/v1/resources/${verb}`,
    query: ["dryRun"],
    run: (call) => json(call.api.resources[verb](resource(call.body), choice(call))),
  })),
  { method: "GET", path: "/v1/workloads", run: ({ api }) => json(api.workloads.list()) },
  { method: "POST", path: "/v1/workloads", run: ({ api, body }) => json(api.workloads.attach(attachRequest(body))) },
  { method: "DELETE", path: "/v1/workloads/*", run: (call) => json(call.api.workloads.detach(part(call))) },
  { method: "GET", path: "/v1/ipam/pools", run: ({ api }) => json(api.ipam.show()) },
  { method: "GET", path: "/v1/ipam/blocks", run: ({ api }) => json(api.ipam.showBlocks()) },
  { method: "GET", path: "/v1/ipam/check", run: ({ api }) => json(api.ipam.check()) },
  { method: "GET", path: "/v1/ipam/addresses/*", run: (call) => json(call.api.ipam.showIp(part(call))) },
  { method: "DELETE", path: "/v1/ipam/addresses/*", run: (call) => json(call.api.ipam.release(part(call))) },
  {
    method: "PATCH",
    path: "/v1/ipam/settings",
    run: ({ api, body }) => json(api.ipam.configure(SETTINGS(body, "body"))),
  },
  { method: "GET", path: "/v1/bgp/peers", run: ({ api }) => json(api.bgp.peers()) },
  {
    method: "GET",
    path: "/v1/bgp/routes",
    query: ["prefix", "received", "advertised"],
    run: ({ api, query }) => json(api.bgp.routes(Object.fromEntries(query))),
  },
  {
    method: "GET",
    path: "/v1/bgp/explain",
    query: ["prefix"],
    run: (call) => json(call.api.bgp.explain(wanted(call, "prefix"))),
  },
  { method: "GET", path: "/v1/bgp/monitor", run: ({ api }) => ({ stream: (sink) => api.bgp.monitor(sink) }) },
  { method: "GET", path: "/v1/policy/explain", query: ["from", "to", "protocol", "port", "live"], run: explainPolicy },
  {
    method: "GET",
    path: "/v1/policy/list",
    query: ["hits"],
    run: (call) => json(call.api.policy.list({ hits: truth(call, "hits") })),
  },
  { method: "GET", path: "/v1/policy/lint", run: ({ api }) => json(api.policy.lint()) },
  { method: "POST", path: "/v1/confirm/apply", run: ({ api, body }) => json(api.confirm.apply(confirmRequest(body))) },
  { method: "POST", path: "/v1/confirm", run: ({ api }) => json(api.confirm.confirm()) },
  { method: "GET", path: "/liveness", run: ({ health }) => healthText(health.liveness()) },
  { method: "GET", path: "/readiness", run: ({ health }) => healthText(health.readiness()) },
];

/** A request as the server read it; `readBody` is called only when the path and the method are known. */
export interface Request {
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  readBody(): Promise<unknown>;
}

/** Finds the route and runs it; throws `ApiError`, or what the node threw. */
export async function dispatch(api: NodeApi, health: Health, request: Request): Promise<Answer> {
  const [path = "", queryText = ""] = split(request.target);
  const parts = path.split("/");
  const matching = ROUTES.filter((route) => matches(route.path.split("/"), parts));
  if (matching.length === 0) throw new ApiError("unknown", `there is no ${JSON.stringify(path)} here`);
  const route = matching.find(({ method }) => method === request.method);
  if (!route) {
    const methods = matching.map(({ method }) => method).join(", ");
    throw new ApiError("method", `${path} does not take ${request.method}; it takes ${methods}`);
  }
  const pattern = route.path.split("/");
  const call: Omit<Call, "body"> = {
    api,
    health,
    parts: parts.filter((_, i) => pattern[i] === "*").map((text) => decode(text)),
    query: parseQuery(queryText, route.query ?? []),
  };
  const body = request.method === "GET" || request.method === "DELETE" ? undefined : await request.readBody();
  return await route.run({ ...call, body });
}

function split(target: string): [string, string] {
  const mark = target.indexOf("?");
  return mark < 0 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  return pattern.length === parts.length &&
    pattern.every((want, i) => want === parts[i] || want === "*" && parts[i] !== "");
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong(`the path's ${JSON.stringify(text)}`, "is not percent-encoded UTF-8");
  }
}

function parseQuery(queryText: string, known: readonly string[]): Map<string, string> {
  const query = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(queryText)) {
    if (!known.includes(name)) {
      throw wrong(
        `the parameter ${JSON.stringify(name)}`,
        `is not known here${known.length ? `; there are ${known.join(", ")}` : ""}`,
      );
    }
    if (query.has(name)) throw wrong(`the parameter ${name}`, "is given twice");
    query.set(name, text(value, `the parameter ${name}`));
  }
  return query;
}

function wanted({ query }: Call, name: string): string {
  const value = query.get(name);
  if (value === undefined) throw wrong(`the parameter ${name}`, "is missing");
  return value;
}

function truth({ query }: Call, name: string): boolean {
  const value = query.get(name) ?? "false";
  if (value !== "true" && value !== "false") throw wrong(`the parameter ${name}`, "is neither true nor false");
  return value === "true";
}

function choice(call: Call): WriteChoice {
  return { dryRun: truth(call, "dryRun") };
}

function kindOf(word: string): Kind {
  const entry = kindOfWord(word);
  if (!entry) throw new ApiError("unknown", `there is no kind ${JSON.stringify(word)}`);
  return entry.kind;
}

function id({ parts: [kind = "", name = ""], query }: Call): ResourceId {
  const namespace = query.get("namespace");
  const named = { kind: kindOf(kind), name: text(name, "the name") };
  return namespace === undefined ? named : { ...named, namespace };
}

function listOrWatch(call: Call): Promise<Answer> | Answer {
  const kind = kindOf(call.parts[0] ?? "");
  const filter: ResourceFilter = { namespace: call.query.get("namespace"), name: call.query.get("name") };
  const { resources } = call.api;
  if (!truth(call, "watch")) return json(resources.list(kind, filter));
  return { stream: (sink) => resources.watch(kind, filter, sink) };
}

/** Only what names the resource is checked here; the whole of it is checked by what writes it. */
function resource(body: unknown, path = "body"): AnyResource {
  const given = object(body, path);
  kindOf(text(given.kind, `${path}.kind`));
  text(object(given.metadata, `${path}.metadata`).name, `${path}.metadata.name`);
  return body as AnyResource;
}

function attachRequest(body: unknown): AttachRequest {
  const request = ATTACH(body, "body");
  const places = [request.netns, request.tap, request.interface].filter((place) => place !== undefined);
  if (places.length !== 1) throw wrong("body", "must have exactly one of netns, tap and interface");
  return request;
}

function explainPolicy(call: Call): Promise<Answer> {
  const port = call.query.get("port");
  if (port !== undefined && !/^[0-9]{1,5}$/.test(port)) throw wrong("the parameter port", "is not a port number");
  const [from, to, protocol] = [wanted(call, "from"), wanted(call, "to"), wanted(call, "protocol")];
  return json(call.api.policy.explain({
    from,
    to,
    protocol,
    ...port === undefined ? {} : { port: whole(0, 65535)(Number(port), "the parameter port") },
    ...truth(call, "live") ? { live: true } : {},
  }));
}

/** The longest time that a change waits to be confirmed, in seconds. */
const LONGEST_CONFIRM = 86_400;

function confirmRequest(body: unknown): ConfirmRequest {
  const { resources, seconds } = object(body, "body");
  return {
    resources: list(resource)(resources, "body.resources"),
    seconds: whole(1, LONGEST_CONFIRM)(seconds, "body.seconds"),
  };
}

function healthText(reason: string | null): Answer {
  return reason === null ? { text: "ok\n", status: 200 } : { text: `${reason}\n`, status: 503 };
}
