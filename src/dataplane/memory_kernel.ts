/**
 * The in-memory kernel: every dataplane port over `MemoryNamespace`, with a fault switch. Tests of whatever sits on the
 * ports run on it; the contract suite holds it to what Linux does.
 *
 * A `MemoryMachine` holds the namespaces; each `handle` on one has faults of its own. Events reach a watcher in a
 * microtask, so a caller never finds itself inside its own sink.
 */

import { type ErrnoName, Faults, refusal } from "./memory_faults.ts";
import { effectiveMetric, type LinkState, MemoryNamespace, routeIdentity } from "./memory_namespace.ts";
import {
  type Address,
  type Fib,
  type Kernel,
  type KernelEvent,
  type Link,
  type Links,
  NamespaceError,
  type Neighbour,
  type Neighbours,
  type Route,
  type RouteChange,
  type Sysctl,
  type VethRequest,
} from "./ports.ts";
import { NetlinkError } from "../netlink/error.ts";

/** A machine with network namespaces that can be opened by name. */
export class MemoryMachine {
  readonly #namespaces = new Map<string, MemoryNamespace>();
  #count = 0;

  /** The namespace of that name, made when there is none. */
  namespace(name: string): MemoryNamespace {
    let namespace = this.#namespaces.get(name);
    if (!namespace) {
      namespace = new MemoryNamespace(`memory:${++this.#count}`);
      this.#namespaces.set(name, namespace);
    }
    return namespace;
  }

  /** Whether there is a namespace of that name (or /run/netns path). */
  find(name: string): MemoryNamespace | undefined {
    return this.#namespaces.get(name) ?? this.#namespaces.get(name.replace(/^\/(var\/)?run\/netns\//, ""));
  }

  /** Ends a namespace with all its links, as when its last process has gone. */
  destroy(name: string): void {
    const namespace = this.#namespaces.get(name);
    this.#namespaces.delete(name);
    for (const state of [...namespace?.links.values() ?? []]) namespace?.removeLink(state);
  }

  /** A kernel as seen from the namespace, which is made when there is none. */
  handle(name: string, faults: Faults = new Faults()): MemoryKernel {
    return new MemoryKernel(this, this.namespace(name), faults);
  }
}

/** One handle on one namespace. */
export class MemoryKernel implements Kernel {
  readonly id: string;
  readonly links: Links;
  readonly fib: Fib;
  readonly neighbours: Neighbours;
  readonly sysctl: Sysctl;
  #isLossy = false;

  constructor(readonly machine: MemoryMachine, readonly namespace: MemoryNamespace, readonly faults: Faults) {
    this.id = namespace.id;
    const run = <T>(operation: string, body: () => T) => this.#run(operation, body);
    this.links = makeLinks(namespace, run);
    this.fib = makeFib(namespace, run, faults);
    this.neighbours = makeNeighbours(namespace, run);
    this.sysctl = makeSysctl(namespace, run);
  }

  async #run<T>(operation: string, body: () => T): Promise<T> {
    await this.faults.delay?.(operation);
    this.faults.check(operation);
    return body();
  }

  watch(sink: (event: KernelEvent) => void): () => void {
    let isOpen = true;
    const deliver = (event: KernelEvent) => queueMicrotask(() => isOpen && sink(event));
    const hear = (event: KernelEvent) => {
      if (this.faults.dropsEvents) {
        this.#isLossy = true;
        return;
      }
      if (this.#isLossy) deliver({ type: "resync" });
      this.#isLossy = false;
      deliver(event);
    };
    this.namespace.sinks.add(hear);
    return () => {
      isOpen = false;
      this.namespace.sinks.delete(hear);
    };
  }

  open(namespace: string): Promise<MemoryKernel> {
    const found = this.machine.find(namespace);
    if (!found) return Promise.reject(new NamespaceError(`Cannot open the namespace ${namespace}: there is none`));
    return Promise.resolve(new MemoryKernel(this.machine, found, this.faults));
  }

  close(): void {}
}

type Run = <T>(operation: string, body: () => T) => Promise<T>;

function makeLinks(namespace: MemoryNamespace, run: Run): Links {
  const expect = (operation: string, index: number): LinkState => {
    const state = namespace.links.get(index);
    if (!state) throw refusal(operation, "ENODEV", "no such device");
    return state;
  };
  const peerIndexed = (state: LinkState): Link =>
    state.peer ? { ...state.link, peerIndex: state.peer.index } : state.link;
  return {
    list: () => run("link list", () => [...namespace.links.values()].map(peerIndexed)),
    get: (which) =>
      run(`link get ${which}`, () => {
        const state = typeof which === "number" ? namespace.links.get(which) : namespace.byName(which);
        return state && peerIndexed(state);
      }),
    createVeth: (request) => {
      const operation = `link add ${request.name} type veth`;
      return run(operation, () => peerIndexed(createVeth(namespace, operation, request)));
    },
    change: (index, change) => {
      const operation = `link set ${index} ${JSON.stringify(change)}`;
      return run(operation, () => {
        const state = expect(operation, index);
        const other = change.name === undefined ? undefined : namespace.byName(change.name);
        if (other && other !== state) throw refusal(operation, "EEXIST", "the name is taken");
        namespace.changeLink(state, change);
      });
    },
    move: (index, to) =>
      run(`link set ${index} netns ${to.id}`, () => moveLink(namespace, expect("link move", index), inMemory(to))),
    delete: (index) =>
      run(`link delete ${index}`, () => {
        const state = namespace.links.get(index);
        if (state) namespace.removeLink(state);
      }),
    addresses: () => run("address list", () => [...namespace.addresses.values()]),
    addAddress: (address) => {
      const operation = `address add ${addressKey(address)}`;
      return run(operation, () => {
        expect(operation, address.index);
        if (!namespace.addresses.has(addressKey(address))) namespace.addAddress(addressKey(address), address);
      });
    },
    removeAddress: (address) =>
      run(`address delete ${addressKey(address)}`, () => namespace.dropAddress(addressKey(address), address)),
  };
}

function addressKey({ index, net }: Address): string {
  return `${index} ${net.ip}/${net.length}`;
}

function inMemory(kernel: Kernel): MemoryNamespace {
  if (!(kernel instanceof MemoryKernel)) throw new TypeError("Cannot mix an in-memory kernel with a real one");
  return kernel.namespace;
}

function createVeth(here: MemoryNamespace, operation: string, request: VethRequest): LinkState {
  const there = request.peerNamespace ? inMemory(request.peerNamespace) : here;
  const isTaken = here.byName(request.name) ?? there.byName(request.peerName);
  if (isTaken || here === there && request.name === request.peerName) {
    throw refusal(operation, "EEXIST", "file exists");
  }
  const mtu = request.mtu ?? 1500;
  const near = here.addLink({ name: request.name, mac: request.mac, mtu, kind: "veth", alias: request.alias ?? "" });
  const peerMac = request.peerMac ?? `02:00:00:00:00:${(near.link.index & 255).toString(16).padStart(2, "0")}`;
  const far = there.addLink({ name: request.peerName, mac: peerMac, mtu, kind: "veth", alias: "" });
  near.peer = { namespace: there, index: far.link.index };
  far.peer = { namespace: here, index: near.link.index };
  return near;
}

function moveLink(from: MemoryNamespace, state: LinkState, to: MemoryNamespace): void {
  const { name, mac, mtu, kind, alias } = state.link;
  if (to.byName(name)) throw refusal(`link set ${name} netns`, "EEXIST", "the name is taken");
  const peer = state.peer;
  delete state.peer;
  from.removeLink(state);
  const moved = to.addLink({ name, mac, mtu, kind, alias });
  if (!peer) return;
  moved.peer = peer;
  const far = peer.namespace.links.get(peer.index);
  if (far) far.peer = { namespace: to, index: moved.link.index };
}

function makeFib(namespace: MemoryNamespace, run: Run, faults: Faults): Fib {
  return {
    list: (filter = {}) =>
      run(
        "route list",
        () =>
          [...namespace.routes.values()].filter((route) =>
            (filter.family ?? route.destination.family) === route.destination.family &&
            (filter.table ?? route.table) === route.table && (filter.protocol ?? route.protocol) === route.protocol
          ),
      ),
    apply: async (changes) => {
      await run("route batch", () => {});
      return changes.map((change) => {
        try {
          const operation = `route ${change.isExclusive ? "add" : change.action} ${change.route.destination}`;
          faults.check(operation);
          applyRoute(namespace, operation, change);
          return undefined;
        } catch (error) {
          if (error instanceof NetlinkError) return error;
          throw error;
        }
      });
    },
  };
}

function applyRoute(namespace: MemoryNamespace, operation: string, change: RouteChange): void {
  const route: Route = { ...change.route, metric: effectiveMetric(change.route) };
  const identity = routeIdentity(route);
  const found = namespace.routes.get(identity);
  if (change.action === "delete") {
    if (found && found.protocol === route.protocol && found.type === route.type) namespace.dropRoute(identity, found);
    return;
  }
  if (found && change.isExclusive) throw refusal(operation, "EEXIST", "file exists");
  const fault = nexthopFault(namespace, route);
  if (fault) throw refusal(operation, ...fault);
  namespace.setRoute(identity, route);
}

function nexthopFault(namespace: MemoryNamespace, route: Route): [ErrnoName, string] | undefined {
  if (route.source && !namespace.owns(route.source)) return ["EINVAL", "invalid prefsrc address"];
  for (const hop of route.nexthops) {
    const state = hop.ifindex === undefined ? undefined : namespace.links.get(hop.ifindex);
    if (hop.ifindex !== undefined && !state) return ["ENODEV", "no such device"];
    if (state && !state.link.isUp) return ["ENETDOWN", "device for nexthop is not up"];
    if (hop.gateway && !hop.isOnlink && hop.ifindex !== undefined && !namespace.reaches(hop.gateway, hop.ifindex)) {
      return ["ENETUNREACH", "nexthop has invalid gateway"];
    }
  }
  return undefined;
}

function makeNeighbours(namespace: MemoryNamespace, run: Run): Neighbours {
  const key = ({ index, ip }: Neighbour) => `${index} ${ip}`;
  return {
    list: () => run("neighbour list", () => [...namespace.neighbours.values()]),
    replace: (neighbour) => {
      const operation = `neighbour replace ${key(neighbour)}`;
      return run(operation, () => {
        const state = namespace.links.get(neighbour.index);
        if (!state) throw refusal(operation, "ENODEV", "no such device");
        if (!state.link.isUp) throw refusal(operation, "ENETDOWN", "network is down");
        namespace.neighbours.set(key(neighbour), neighbour);
        namespace.emit({ type: "neighbour", isGone: false, neighbour });
      });
    },
    delete: (neighbour) =>
      run(`neighbour delete ${key(neighbour)}`, () => {
        const found = namespace.neighbours.get(key(neighbour));
        if (!found) return;
        namespace.neighbours.delete(key(neighbour));
        namespace.emit({ type: "neighbour", isGone: true, neighbour: found });
      }),
  };
}

function makeSysctl(namespace: MemoryNamespace, run: Run): Sysctl {
  return {
    read: (path) => run(`sysctl read ${path}`, () => namespace.sysctls.get(path)),
    write: (path, value) =>
      run(`sysctl write ${path} ${value}`, () => {
        if (!namespace.sysctls.has(path)) throw new Error(`Cannot write the sysctl ${path}: there is none`);
        namespace.sysctls.set(path, value);
        if (path !== "net/ipv4/ip_forward") return;
        for (const name of namespace.sysctls.keys()) {
          if (/^net\/ipv4\/conf\/[^/]+\/forwarding$/.test(name)) namespace.sysctls.set(name, value);
        }
      }),
  };
}
