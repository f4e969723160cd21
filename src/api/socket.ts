/**
 * The node's unix socket: private from its first moment, never taken from a living node, taken over from a dead one.
 *
 * Whose the path is, is settled by a lock (flock on PATH.lock, which ends with its process), so two nodes that start at
 * once cannot remove each other's socket. Deno gives a unix socket the mode that the umask leaves and offers no other
 * way; the umask is set for the duration of one synchronous call.
 */

import { ApiError } from "./error.ts";

/** A listening socket; `close` also removes it. */
export interface ListeningSocket {
  readonly listener: Deno.UnixListener;
  close(): void;
}

/** Listens on `path` with mode 0600, making its directory if need be; throws `ApiError` `unavailable`. */
export async function listenPrivately(path: string): Promise<ListeningSocket> {
  const refuse = (reason: string, cause?: unknown) =>
    new ApiError("unavailable", `Cannot listen on ${path}: ${reason}`, { cause });
  let lock: Deno.FsFile | undefined;
  try {
    const dir = path.slice(0, path.lastIndexOf("/"));
    if (dir) Deno.mkdirSync(dir, { recursive: true, mode: 0o755 });
    lock = Deno.openSync(`${path}.lock`, { write: true, create: true, mode: 0o600 });
    if (!lock.tryLockSync(true)) throw refuse("another node listens there; stop it, or set another node.socket");
    await removeStale(path, refuse);
    const listener = listen(path);
    const held = lock;
    return {
      listener,
      close: () => {
        listener.close();
        try {
          Deno.removeSync(path);
        } catch {
          // Somebody else has tidied up.
        }
        held.close();
      },
    };
  } catch (error) {
    lock?.close();
    if (error instanceof ApiError) throw error;
    throw refuse(error instanceof Error ? error.message : String(error), error);
  }
}

async function removeStale(path: string, refuse: (reason: string) => ApiError): Promise<void> {
  let found: Deno.FileInfo;
  try {
    found = Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (!found.isSocket) throw refuse("there is something else that is not a socket; move it away");
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    Deno.removeSync(path);
    return;
  }
  throw refuse("another program listens there; stop it, or set another node.socket");
}

function listen(path: string): Deno.UnixListener {
  const umask = Deno.umask(0o177);
  try {
    return Deno.listen({ transport: "unix", path });
  } finally {
    Deno.umask(umask);
  }
}
