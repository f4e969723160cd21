/**
 * Network namespaces: opening one by name, path or process, running a function inside it, and making and deleting the named
 * ones that `ip netns` lists (ip-netns(8), setns(2), namespaces(7)).
 *
 * A thread is inside one namespace at a time, so everything between entering and leaving is synchronous. Sockets keep the
 * namespace that they were made in. Not being able to leave ends the process: nothing that ran on would be where it thinks.
 */

import { NamespaceError } from "../dataplane/ports.ts";
import { EINVAL, errnoText } from "../netlink/errno.ts";
import { checked, cstring, errno, libc } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SHARED = 0x100000;
const MNT_DETACH = 2;

const NETNS_DIR = "/run/netns";
const OWN_NAMESPACE = "/proc/thread-self/ns/net";

/** How many namespaces this thread has entered and not left; a worker has its own copy of this module. */
let depth = 0;

/** An open network namespace; it lives at least until `close`. */
export interface Namespace {
  readonly fd: number;
  /** The inode of nsfs, as text: the same for every way to open the same namespace. */
  readonly id: string;
  /** Whether the thread is there whenever it is in no other: then nothing has to be entered. */
  readonly isHome: boolean;
  close(): void;
}

/**
 * Opens a namespace: a name under /run/netns, a path (it holds a "/"), a decimal process id, or the calling thread's own
 * when left out. Throws `NamespaceError`.
 */
export function openNamespace(namespace = ""): Namespace {
  const path = namespacePath(namespace);
  const fd = libc().open(cstring(path), O_CLOEXEC | O_NONBLOCK, 0);
  if (fd === -1) {
    throw new NamespaceError(`Cannot open the network namespace ${namespace} (${path}): ${errnoText(errno())}`);
  }
  try {
    const isHome = namespace === "" && depth === 0;
    if (!isHome) enter(fd, () => undefined);
    let isOpen = true;
    const close = () => {
      if (isOpen) libc().close(fd);
      isOpen = false;
    };
    return { fd, id: `${Deno.statSync(`/proc/self/fd/${fd}`).ino}`, isHome, close };
  } catch (error) {
    libc().close(fd);
    if (error instanceof NamespaceError) throw new NamespaceError(`${error.message}: ${path}`);
    throw error;
  }
}

/**
 * Runs a synchronous function on this thread inside the namespace and returns what it returns. Processes that it spawns
 * live there. Throws `NamespaceError` when it cannot be entered, TypeError when the function returns a promise.
 */
export function withinNamespace<T>(namespace: Namespace | string, run: () => T): T {
  if (typeof namespace !== "string") return namespace.isHome && depth === 0 ? atOnce(run) : enter(namespace.fd, run);
  const opened = openNamespace(namespace);
  try {
    return enter(opened.fd, run);
  } finally {
    opened.close();
  }
}

/** Makes a named namespace as `ip netns add` does: it stands until deleted. Throws `NamespaceError`. */
export function createNamespace(name: string): void {
  const path = namedPath(name);
  try {
    Deno.mkdirSync(NETNS_DIR, { recursive: true, mode: 0o755 });
    shareDirectory();
    Deno.openSync(path, { write: true, createNew: true, mode: 0o600 }).close();
  } catch (error) {
    throw new NamespaceError(`Cannot create the network namespace ${name}: ${messageOf(error)}`);
  }
  const home = openOwn();
  try {
    checked("unshare the network namespace", libc().unshare(CLONE_NEWNET));
    checked(`bind ${path}`, libc().mount(cstring(OWN_NAMESPACE), cstring(path), cstring("none"), MS_BIND, null));
  } catch (error) {
    Deno.removeSync(path);
    throw new NamespaceError(`Cannot create the network namespace ${name}: ${messageOf(error)}`);
  } finally {
    leave(home);
  }
}

/** Deletes a named namespace as `ip netns del` does; it dies with its last user. Throws `NamespaceError`. */
export function deleteNamespace(name: string): void {
  const path = namedPath(name);
  try {
    Deno.statSync(path);
    // EINVAL: the file is there but nothing is mounted on it, as after a creation that was cut short.
    if (libc().umount2(cstring(path), MNT_DETACH) === -1 && errno() !== EINVAL) throw new Error(errnoText(errno()));
    Deno.removeSync(path);
  } catch (error) {
    throw new NamespaceError(`Cannot delete the network namespace ${name}: ${messageOf(error)}`);
  }
}

function namespacePath(namespace: string): string {
  if (namespace === "") return OWN_NAMESPACE;
  if (namespace.includes("\0")) throw new NamespaceError("Cannot open a network namespace whose name holds a NUL");
  if (namespace.includes("/")) return namespace;
  return /^[0-9]+$/.test(namespace) ? `/proc/${namespace}/ns/net` : namedPath(namespace);
}

function namedPath(name: string): string {
  if (!/^[^/\0]{1,255}$/.test(name) || name === "." || name === "..") {
    throw new NamespaceError(`Cannot use ${JSON.stringify(name)} as the name of a network namespace`);
  }
  return `${NETNS_DIR}/${name}`;
}

/** Makes /run/netns a shared mount, so that names made in one mount namespace are seen and can be deleted in others. */
function shareDirectory(): void {
  const directory = cstring(NETNS_DIR);
  const share = () => libc().mount(cstring(""), directory, cstring("none"), MS_SHARED | MS_REC, null);
  if (share() === 0) return;
  checked(`bind ${NETNS_DIR}`, libc().mount(directory, directory, cstring("none"), MS_BIND | MS_REC, null));
  checked(`share ${NETNS_DIR}`, share());
}

function enter<T>(fd: number, run: () => T): T {
  const before = openOwn();
  if (libc().setns(fd, CLONE_NEWNET) === -1) {
    const reason = errnoText(errno());
    libc().close(before);
    throw new NamespaceError(`Cannot enter the network namespace: ${reason}`);
  }
  depth++;
  try {
    return atOnce(run);
  } finally {
    depth--;
    leave(before);
  }
}

function atOnce<T>(run: () => T): T {
  const result = run();
  if (result instanceof Promise) {
    throw new TypeError("Cannot wait inside a network namespace: it belongs to the thread");
  }
  return result;
}

function openOwn(): number {
  return checked(`open ${OWN_NAMESPACE}`, libc().open(cstring(OWN_NAMESPACE), O_CLOEXEC, 0));
}

function leave(before: number): void {
  if (libc().setns(before, CLONE_NEWNET) === -1) {
    console.error(`tortie: Cannot return to the network namespace of this process: ${errnoText(errno())}; ending it`);
    Deno.exit(70);
  }
  libc().close(before);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
