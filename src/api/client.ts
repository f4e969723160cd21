/**
 * The client of the node's API, for the command line and the CNI plugin: HTTP/1.1 over the unix socket, one connection
 * a call, nothing imported that would make a short-lived program start slowly (no `node:`, no schema library; `fetch`
 * through a client for unix sockets would add 10 ms).
 *
 * Errors are `ApiError`s whose message can be shown as it is; a call that was refused because the node is busy is tried
 * again, because nothing was done.
 */

import { ApiError, isApiErrorCode } from "./error.ts";
import { ConnReader, contentLength, type Head, HttpError, writeAll } from "./http1.ts";
import type { ApiClient } from "./node_api.ts";
import type { MonitorLine, ResourceEvent, ResourceFilter, WatchLine, WriteChoice } from "./shapes.ts";

/** The largest answer, in bytes. */
const MAX_ANSWER = 1024 * 1024 * 1024;
/** How long a busy node is asked again, and the pause between, in milliseconds. */
const BUSY_MS = 10_000, PAUSE_MS = 50;

type Query = Readonly<Record<string, string | boolean | number | undefined>>;

/** The API of the node that listens on the socket; nothing is connected before the first call. */
export function connectApi(socket: string): ApiClient {
  // The shapes are the server's: both ends are the same program, so answers are not checked again.
  const call = async <T>(method: string, path: readonly string[], query: Query = {}, body?: unknown): Promise<T> =>
    await roundTrip(socket, method, pathText(path) + queryText(query), body) as T;
  const write = (verb: string) => (resource: unknown, choice: WriteChoice = {}) =>
    call<never>("POST", ["resources", verb], { dryRun: choice.dryRun }, resource);
  return {
    resources: {
      list: (kind, filter = {}) => call("GET", ["resources", kind], { ...filter }),
      get: ({ kind, name, namespace }) => call("GET", ["resources", kind, name], { namespace }),
      apply: write("apply"),
      create: write("create"),
      replace: write("replace"),
      delete: ({ kind, name, namespace }, { dryRun } = {}) =>
        call("DELETE", ["resources", kind, name], { namespace, dryRun }),
      watch: (kind, filter = {}) => watch(socket, kind, filter),
    },
    workloads: {
      attach: (request) => call("POST", ["workloads"], {}, request),
      detach: (name) => call("DELETE", ["workloads", name]),
      list: () => call("GET", ["workloads"]),
    },
    ipam: {
      show: () => call("GET", ["ipam", "pools"]),
      showBlocks: () => call("GET", ["ipam", "blocks"]),
      showIp: (ip) => call("GET", ["ipam", "addresses", ip]),
      check: () => call("GET", ["ipam", "check"]),
      release: (ip) => call("DELETE", ["ipam", "addresses", ip]),
      configure: (change) => call("PATCH", ["ipam", "settings"], {}, change),
    },
    bgp: {
      peers: () => call("GET", ["bgp", "peers"]),
      routes: (query = {}) => call("GET", ["bgp", "routes"], { ...query }),
      explain: (prefix) => call("GET", ["bgp", "explain"], { prefix }),
      monitor: () => lines<MonitorLine>(socket, pathText(["bgp", "monitor"])),
    },
    policy: {
      explain: (query) => call("GET", ["policy", "explain"], { ...query }),
      list: ({ hits } = {}) => call("GET", ["policy", "list"], { hits }),
      lint: () => call("GET", ["policy", "lint"]),
    },
    confirm: {
      apply: (request) => call("POST", ["confirm", "apply"], {}, request),
      confirm: () => call("POST", ["confirm"]),
    },
    status: () => call("GET", ["status"]),
    reload: () => call("POST", ["reload"]),
  };
}

function pathText(path: readonly string[]): string {
  // An empty name would make another path of this one.
  if (path.includes("")) throw new ApiError("invalid", "the name is empty");
  return `/v1/${path.map(encodeURIComponent).join("/")}`;
}

function queryText(query: Query): string {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`]
  );
  return given.length > 0 ? `?${given.join("&")}` : "";
}

async function roundTrip(socket: string, method: string, target: string, body: unknown): Promise<unknown> {
  const deadline = performance.now() + BUSY_MS;
  for (;;) {
    const conn = await dial(socket, deadline);
    try {
      const { head, reader } = await send(conn, method, target, body);
      const length = contentLength(head.fields);
      const bytes = length === undefined ? await reader.rest(MAX_ANSWER) : await reader.body(length);
      const text = new TextDecoder().decode(bytes);
      const status = Number(head.start[1]);
      if (status === 200) return JSON.parse(text);
      const error = refusal(status, text);
      if (error.code !== "busy" || performance.now() > deadline) throw error;
    } catch (error) {
      if (error instanceof ApiError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new ApiError("unreachable", `The node at ${socket} ended the call: ${reason}; see its log`, {
        cause: error,
      });
    } finally {
      conn.close();
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

async function* watch(socket: string, kind: string, filter: ResourceFilter): AsyncGenerator<ResourceEvent> {
  const target = pathText(["resources", kind]) + queryText({ ...filter, watch: true });
  for await (const line of lines<WatchLine>(socket, target)) {
    if (line.type !== "synced" && line.type !== "unavailable") yield line;
  }
}

/** The lines of a stream, until the node ends it. */
async function* lines<T>(socket: string, target: string): AsyncGenerator<T> {
  const conn = await dial(socket, performance.now() + BUSY_MS);
  try {
    const { head, reader } = await send(conn, "GET", target, undefined);
    const status = Number(head.start[1]);
    if (status !== 200) throw refusal(status, new TextDecoder().decode(await reader.rest(MAX_ANSWER)));
    for (;;) {
      const text = await reader.line(MAX_ANSWER);
      if (text === undefined) return;
      yield JSON.parse(text) as T;
    }
  } finally {
    conn.close();
  }
}

/** Connects; a full queue of connections is waited for. */
async function dial(socket: string, deadline: number): Promise<Deno.Conn> {
  for (;;) {
    try {
      return await Deno.connect({ transport: "unix", path: socket });
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock) || performance.now() > deadline) throw noNode(socket, error);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

function noNode(socket: string, error: unknown): ApiError {
  if (error instanceof Deno.errors.PermissionDenied) {
    return new ApiError("permission", `Cannot reach the node at ${socket}: permission denied: run this as root`, {
      cause: error,
    });
  }
  const isAbsent = error instanceof Deno.errors.NotFound || error instanceof Deno.errors.ConnectionRefused;
  const reason = isAbsent ? "is `tortie run` running?" : error instanceof Error ? error.message : String(error);
  return new ApiError("unreachable", `Cannot reach the node at ${socket}: ${reason}`, { cause: error });
}

async function send(
  conn: Deno.Conn,
  method: string,
  target: string,
  body: unknown,
): Promise<{ head: Head; reader: ConnReader }> {
  const bytes = new TextEncoder().encode(body === undefined ? "" : JSON.stringify(body));
  const fields = body === undefined ? "" : `Content-Type: application/json\r\nContent-Length: ${bytes.length}\r\n`;
  const head = new TextEncoder().encode(`${method} ${target} HTTP/1.1\r\nHost: tortie\r\n${fields}\r\n`);
  // A node that refuses a body answers before it has read it all; the answer says more than the failed write.
  const written = writeAll(conn, head).then(() => writeAll(conn, bytes)).catch((error: unknown) => error);
  const reader = new ConnReader(conn);
  const answer = await reader.head();
  if (answer) return { head: answer, reader };
  const failure = await written;
  throw failure instanceof Error ? failure : new HttpError("closed", "the connection ended without an answer");
}

function refusal(status: number, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as { error: { code?: unknown; message?: unknown; hint?: unknown } };
    const hint = typeof error.hint === "string" ? error.hint : undefined;
    const message = `${error.message}${hint === undefined ? "" : `; ${hint}`}`;
    return new ApiError(
      isApiErrorCode(error.code) ? error.code : "internal",
      message,
      hint === undefined ? {} : { hint },
    );
  } catch {
    return new ApiError("internal", `The node answered ${status}: ${text.slice(0, 200)}`);
  }
}
