/**
 * Serves the node's API on its unix socket: one request a connection, every wait and every byte of a client bounded.
 *
 *   accept -> head (headMs, 16 KB) -> body (bodyMs, maxBody) -> dispatch (requestMs) -> answer (writeMs) -> close
 *
 * A client that is slow, silent, gone or sends nonsense costs one connection for at most these times and is told why if
 * it still listens. Watches stream JSON lines until either side ends; one that does not read is cut off.
 */

import type { Log } from "../lib/log.ts";
import { within } from "./deadline.ts";
import { ApiError, errorBody, STATUS_OF } from "./error.ts";
import { ConnReader, contentLength, type Head, HttpError, writeAll } from "./http1.ts";
import type { Health, NodeApi } from "./node_api.ts";
import { refusalOf } from "./refusal.ts";
import { type Answer, dispatch } from "./routes.ts";
import { listenPrivately } from "./socket.ts";
import { streamLines } from "./stream.ts";

/** What a client may cost; times in milliseconds, sizes in bytes. */
export interface ApiLimits {
  readonly connections: number;
  readonly maxBody: number;
  /** All bodies that are being read or worked on, together. */
  readonly maxBodies: number;
  readonly headMs: number;
  readonly bodyMs: number;
  readonly requestMs: number;
  readonly writeMs: number;
  /** What may wait for a watcher to read it. */
  readonly maxBacklog: number;
}

const LIMITS: ApiLimits = {
  connections: 256,
  maxBody: 8 * 1024 * 1024,
  maxBodies: 64 * 1024 * 1024,
  headMs: 5_000,
  bodyMs: 30_000,
  requestMs: 120_000,
  writeMs: 10_000,
  maxBacklog: 64 * 1024 * 1024,
};

/** How the API is served. */
export interface ServeApiOptions {
  readonly socket: string;
  readonly api: NodeApi;
  readonly log: Log;
  readonly health?: Health;
  readonly limits?: Partial<ApiLimits>;
}

/** The API being served. */
export interface ApiServer {
  /** Stops listening, removes the socket and ends every connection. */
  close(): Promise<void>;
}

const WELL: Health = { liveness: () => null, readiness: () => null };

/** Serves the API until it is closed; throws `ApiError` `unavailable` when the socket is taken or cannot be made. */
export async function serveApi(options: ServeApiOptions): Promise<ApiServer> {
  const limits = { ...LIMITS, ...options.limits };
  const socket = await listenPrivately(options.socket);
  const open = new Map<Deno.Conn, Promise<void>>();
  const bodies: Bodies = { size: 0 };
  let isClosed = false;

  const accept = async () => {
    while (!isClosed) {
      let conn: Deno.Conn;
      try {
        conn = await socket.listener.accept();
      } catch (error) {
        if (isClosed) return;
        options.log.warn("API: cannot accept a connection", { error });
        await new Promise((resolve) => setTimeout(resolve, 100)); // out of descriptors: some will be closed
        continue;
      }
      const isBusy = open.size >= limits.connections;
      const served = serve(conn, isBusy, bodies, options, limits).catch((error) => {
        options.log.debug("API: a client went away", { error });
      }).finally(() => {
        open.delete(conn);
        tryClose(conn);
      });
      open.set(conn, served);
    }
  };
  const accepting = accept();
  return {
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      socket.close();
      for (const conn of open.keys()) tryClose(conn);
      await accepting;
      // Calls that still run (an attachment that waits for the kernel) end by themselves.
      await within(1000, "end of all calls", Promise.all(open.values())).catch(() => {});
    },
  };
}

/** The bytes that the bodies of all running calls take. */
interface Bodies {
  size: number;
}

async function serve(
  conn: Deno.Conn,
  isBusy: boolean,
  bodies: Bodies,
  options: ServeApiOptions,
  limits: ApiLimits,
): Promise<void> {
  if (isBusy) {
    const busy = new ApiError("busy", `${limits.connections} calls are running`, { hint: "try again" });
    return await within(limits.writeMs, "busy", reply(conn, STATUS_OF.busy, errorBody(busy)));
  }
  let answer: Answer;
  let reserved = 0;
  const reserve = (length: number) => {
    if (bodies.size + length > limits.maxBodies) {
      throw new ApiError("busy", `the bodies of other calls take ${bodies.size} bytes`, { hint: "try again" });
    }
    bodies.size += reserved = length;
  };
  try {
    const read = await readHead(conn, limits);
    if (!read) return;
    answer = await answerTo(conn, { ...read, reserve }, options, limits);
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal.code === "internal") options.log.error("API: a call failed", { error });
    return await within(limits.writeMs, "answer", reply(conn, STATUS_OF[refusal.code], errorBody(refusal)));
  } finally {
    bodies.size -= reserved;
  }
  if ("stream" in answer) return await streamLines(conn, answer.stream, limits);
  const write = "json" in answer
    ? reply(conn, 200, JSON.stringify(answer.json) + "\n")
    : reply(conn, answer.status, answer.text, "text/plain");
  await within(limits.writeMs, "answer", write);
}

async function readHead(
  conn: Deno.Conn,
  limits: ApiLimits,
): Promise<{ head: Head; reader: ConnReader } | undefined> {
  const reader = new ConnReader(conn);
  const head = await within(limits.headMs, "request's head", asRefusal(reader.head()));
  return head && { head, reader };
}

/** A request of which the head was read; `reserve` asks for the room that its body takes. */
interface OpenRequest {
  readonly head: Head;
  readonly reader: ConnReader;
  readonly reserve: (length: number) => void;
}

async function answerTo(
  conn: Deno.Conn,
  request: OpenRequest,
  { api, health = WELL }: ServeApiOptions,
  limits: ApiLimits,
): Promise<Answer> {
  const [method, target, version] = request.head.start;
  if (!/^HTTP\/1\.[01]$/.test(version)) throw new ApiError("invalid", `${JSON.stringify(version)} is not HTTP/1.1`);
  const readBody = () => readJson(conn, request, limits);
  const answer = dispatch(api, health, { method, target, readBody });
  return await within(limits.requestMs, "call", answer, "timeout");
}

async function readJson(
  conn: Deno.Conn,
  { head, reader, reserve }: OpenRequest,
  limits: ApiLimits,
): Promise<unknown> {
  if (head.fields.has("transfer-encoding")) throw new ApiError("length", "send the body with a Content-Length");
  const length = await asRefusal(Promise.resolve().then(() => contentLength(head.fields))) ?? 0;
  if (length === 0) return undefined;
  if (length > limits.maxBody) {
    throw new ApiError("too-large", `the body has ${length} bytes; ${limits.maxBody} are allowed`);
  }
  reserve(length);
  if (head.fields.get("expect")?.toLowerCase() === "100-continue") {
    await writeAll(conn, new TextEncoder().encode("HTTP/1.1 100 Continue\r\n\r\n"));
  }
  const bytes = await within(limits.bodyMs, "request's body", asRefusal(reader.body(length)));
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ApiError("invalid", `the body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/** What is wrong with the client's HTTP, as a refusal. */
async function asRefusal<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof HttpError)) throw error;
    throw new ApiError(error.kind === "too-large" ? "too-large" : "invalid", error.message, { cause: error });
  }
}

async function reply(conn: Deno.Conn, status: number, body: string, type = "application/json"): Promise<void> {
  const bytes = new TextEncoder().encode(body);
  const head = `HTTP/1.1 ${status} ${status < 400 ? "OK" : "Refused"}\r\nContent-Type: ${type}\r\n` +
    `Content-Length: ${bytes.length}\r\nConnection: close\r\n\r\n`;
  await writeAll(conn, new TextEncoder().encode(head));
  await writeAll(conn, bytes);
}

function tryClose(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // It is closed.
  }
}
