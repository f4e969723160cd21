/** A node for the tests of its API: it records the calls, and gives fixed answers or throws what a test wants. */

import type { Health, NodeApi } from "../../../src/api/node_api.ts";
import { type ApiServer, serveApi, type ServeApiOptions } from "../../../src/api/server.ts";
import type { WatchLine } from "../../../src/api/shapes.ts";
import { type LogFields, makeLog } from "../../../src/lib/log.ts";
import type { AnyResource } from "../../../src/model/resources/mod.ts";

export const POOL: AnyResource = {
  kind: "IPPool",
  apiVersion: "projectcalico.org/v3",
  metadata: { name: "rack1" },
  spec: {
    cidr: "172.17.8.0/24",
    blockSize: 26,
    ipipMode: "Never",
    vxlanMode: "Never",
    nodeSelector: "all()",
    allowedUses: ["Workload"],
    assignmentMode: "Automatic",
  },
};

/** A node whose every answer is `{called, with}`; `intercept` may answer instead. */
export function fakeNode(intercept: (call: string, args: unknown[]) => unknown = () => undefined) {
  const calls: [string, ...unknown[]][] = [];
  const sinks = new Set<(line: WatchLine) => void>();
  const answer = (name: string) => async (...args: unknown[]) => {
    calls.push([name, ...args]);
    return await intercept(name, args) ?? { called: name, with: args };
  };
  const room = (name: string, methods: string[]) =>
    Object.fromEntries(methods.map((method) => [method, answer(`${name}.${method}`)]));
  const api = {
    resources: {
      ...room("resources", ["list", "get", "apply", "create", "replace", "delete"]),
      watch: (kind: string, filter: unknown, sink: (line: WatchLine) => void) => {
        calls.push(["resources.watch", kind, filter]);
        intercept("resources.watch", [kind, filter, sink]);
        sinks.add(sink);
        return () => sinks.delete(sink);
      },
    },
    workloads: room("workloads", ["attach", "detach", "list"]),
    ipam: room("ipam", ["show", "showBlocks", "showIp", "check", "release", "configure"]),
    bgp: room("bgp", ["peers", "routes", "explain"]),
    policy: room("policy", ["explain", "list", "lint"]),
    confirm: room("confirm", ["apply", "confirm"]),
    status: answer("status"),
    reload: answer("reload"),
  };
  return { api: api as unknown as NodeApi, calls, sinks };
}

/** Runs `body` with a server on a socket in a directory of its own. */
export async function withServer(
  api: NodeApi,
  options: Partial<ServeApiOptions> & { readonly health?: Health },
  body: (socket: string, server: ApiServer, log: [string, string, LogFields][]) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "tortie-api-" });
  const lines: [string, string, LogFields][] = [];
  const log = makeLog((level, message, fields) => lines.push([level, message, fields]));
  const server = await serveApi({ socket: `${dir}/run/tortie.sock`, api, log, ...options });
  try {
    await body(`${dir}/run/tortie.sock`, server, lines);
  } finally {
    await server.close();
    await Deno.remove(dir, { recursive: true });
  }
}

/** Sends bytes as they are and reads until the server closes. */
export async function raw(socket: string, ...pieces: (string | Uint8Array)[]): Promise<string> {
  using conn = await Deno.connect({ transport: "unix", path: socket });
  for (const piece of pieces) {
    let bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
    try {
      while (bytes.length > 0) bytes = bytes.subarray(await conn.write(bytes));
    } catch {
      break; // the server has heard enough; its answer is still there to read
    }
  }
  return await readAll(conn);
}

/** Reads until the other side closes. */
export async function readAll(conn: Deno.Conn): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(65536);
  let text = "";
  for (;;) {
    const read = await conn.read(buffer).catch(() => null);
    if (read === null) return text;
    text += decoder.decode(buffer.subarray(0, read), { stream: true });
  }
}
