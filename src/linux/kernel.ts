/**
 * The Linux kernel behind the dataplane ports: one network namespace, its sockets, and the four ports over them.
 *
 * Requests go over one socket and are answered inside the call, so they never mix. A dump steps aside while it runs, so it
 * has a socket of its own, and dumps take turns on it. Sockets stay in the namespace they were made in, wherever the thread is.
 */

import type { Kernel, KernelEvent } from "../dataplane/ports.ts";
import { dump, type DumpSink, type Request } from "../netlink/request.ts";
import { type FibRequests, makeFib, makeRawRoutes, type RawRoutes } from "./fib.ts";
import { makeLinks, type Requests } from "./links.ts";
import { watchKernel, type WatchOptions } from "./monitor.ts";
import { type Namespace, openNamespace } from "./namespace.ts";
import { makeNeighbours } from "./neighbours.ts";
import { type NetlinkSocket, openNetlink } from "./netlink_socket.ts";
import { makePause } from "./pause.ts";
import { makeRules, type Rules } from "./rules.ts";
import { makeSysctl } from "./sysctl.ts";

/** A kernel's namespace through all ports, and what only this kernel has. */
export interface LinuxKernel extends Kernel {
  readonly rules: Rules;
  readonly routes: RawRoutes;
  /** For `withinNamespace`, and for sockets of other kinds. */
  readonly namespace: Namespace;
  /** `unechoed` is an RTPROT_*: what was asked for through this very kernel's ports is not reported of such routes. */
  watch(sink: (event: KernelEvent) => void, options?: KernelWatchOptions): () => void;
  open(namespace: string): Promise<LinuxKernel>;
}

/** What to report of a kernel. */
export interface KernelWatchOptions extends Omit<WatchOptions, "echoes"> {
  readonly unechoed?: number;
}

const namespaces = new WeakMap<Kernel, Namespace>();

/**
 * Opens a namespace (as `openNamespace` takes it; the calling thread's own when left out). Throws `NamespaceError` when
 * there is none, `SyscallError` when no socket can be had.
 */
export function openKernel(namespace = ""): LinuxKernel {
  const opened = openNamespace(namespace);
  try {
    return makeKernel(opened, openNetlink({ namespace: opened }));
  } catch (error) {
    opened.close();
    throw error;
  }
}

function makeKernel(namespace: Namespace, socket: NetlinkSocket): LinuxKernel {
  const stops = new Set<() => void>();
  const dumps = makeDumps(namespace);
  const requests: Requests & FibRequests = {
    exchange: socket,
    namespaceOf,
    dump: dumps.dump,
    async table(request, decode) {
      let rows: NonNullable<ReturnType<typeof decode>>[] = [];
      await dumps.dump(request, {
        restart: () => void (rows = []),
        visit: (_type, bytes, from, to) => {
          const row = decode(bytes.subarray(from, to));
          if (row !== undefined && row !== null) rows.push(row);
        },
      });
      return rows;
    },
  };
  const routes = makeRawRoutes(requests);
  let isClosed = false;
  const kernel: LinuxKernel = {
    links: makeLinks(requests),
    fib: makeFib(requests, routes),
    neighbours: makeNeighbours(requests),
    sysctl: makeSysctl(namespace),
    rules: makeRules(requests),
    routes,
    namespace,
    id: namespace.id,
    watch(sink, { unechoed, ...options } = {}) {
      const echoes = unechoed === undefined ? undefined : { protocol: unechoed, port: socket.port };
      const stopWatch = watchKernel(namespace, sink, { ...options, echoes });
      const stop = () => {
        stops.delete(stop);
        stopWatch();
      };
      stops.add(stop);
      return stop;
    },
    open: (name) => Promise.try(() => openKernel(name)),
    close() {
      if (isClosed) return;
      isClosed = true;
      for (const stop of stops) stop();
      dumps.close();
      socket.close();
      namespace.close();
    },
  };
  namespaces.set(kernel, namespace);
  return kernel;
}

/** Dumps one after the other over a socket that is opened with the first. */
function makeDumps(namespace: Namespace): { dump(request: Request, sink: DumpSink): Promise<void>; close(): void } {
  let socket: NetlinkSocket | undefined;
  let previous: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  return {
    dump(request, sink) {
      const turn = previous.then(() => {
        if (isClosed) throw new Error(`Cannot ${request.operation}: the kernel was closed`);
        return dump(socket ??= openNetlink({ namespace }), request, sink, makePause());
      });
      previous = turn.catch(() => {
        // A dump that was not read to its end keeps its socket busy.
        socket?.close();
        socket = undefined;
      });
      return turn;
    },
    close() {
      isClosed = true;
      void previous.then(() => socket?.close());
    },
  };
}

function namespaceOf(kernel: Kernel): Namespace {
  const namespace = namespaces.get(kernel);
  if (!namespace) throw new TypeError("Cannot use a kernel of another kind as a namespace");
  return namespace;
}
