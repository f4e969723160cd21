/**
 * One process owns a state directory: the directory itself, its mode, and the lock that says whose it is.
 *
 * The lock is the kernel's (flock on `owner.lock`), so it ends with the process however that ends, and is never stale.
 * The file's text (name and pid) only serves the message for the second process; it is never deleted, because deleting
 * a lock file lets two processes lock two different files of the same name.
 */

import { StoreError } from "../store.ts";

/** Who owns the store, as others are told. */
export interface Owner {
  /** The node's name. */
  readonly name: string;
}

/** A state directory that belongs to this process until `release`. */
export interface Claim {
  release(): void;
}

/** Makes the directory (mode 0700) if need be and takes it; throws `StoreError` naming the owner if it is taken. */
export function claimDirectory(dir: string, owner: Owner): Claim {
  const refuse = (reason: string, cause?: unknown) =>
    new StoreError("unavailable", "", `Cannot keep the store in ${dir}: ${reason}`, { cause });
  let lock: Deno.FsFile;
  try {
    prepareDirectory(dir, refuse);
    lock = Deno.openSync(`${dir}/owner.lock`, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw refuse(`${error instanceof Error ? error.message : error}; check node.stateDir`, error);
  }
  try {
    if (!lock.tryLockSync(true)) throw refuse(`${readOwner(lock)} has it open; stop it, or set another node.stateDir`);
    lock.truncateSync(0);
    lock.writeSync(new TextEncoder().encode(JSON.stringify({ name: owner.name, pid: Deno.pid }) + "\n"));
  } catch (error) {
    lock.close();
    // A full disk leaves the text empty, which costs the second process its message and nothing else; still, say so now.
    throw error instanceof StoreError ? error : refuse(`${error instanceof Error ? error.message : error}`, error);
  }
  return { release: () => lock.close() };
}

function prepareDirectory(dir: string, refuse: (reason: string) => StoreError): void {
  const parent = dir.slice(0, Math.max(1, dir.replace(/\/+$/, "").lastIndexOf("/")));
  let existing: Deno.FileInfo | undefined;
  try {
    existing = Deno.statSync(dir);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (!existing) {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
    Deno.chmodSync(dir, 0o700);
    syncDirectory(dir.includes("/") ? parent : ".");
    return;
  }
  if (!existing.isDirectory) throw refuse("it is not a directory");
  if ((existing.mode ?? 0) & 0o077) {
    // An empty directory was made for us. One with other things in it may be shared, and is not ours to close.
    if (existing.uid === Deno.uid() && isEmpty(dir)) Deno.chmodSync(dir, 0o700);
    else if ((existing.mode ?? 0) & 0o022) throw refuse("other users can write there; chmod it to 0700");
  }
}

function isEmpty(dir: string): boolean {
  for (const _ of Deno.readDirSync(dir)) return false;
  return true;
}

/** Makes a new name in the directory survive a power cut. */
function syncDirectory(dir: string): void {
  using file = Deno.openSync(dir, { read: true });
  file.syncSync();
}

function readOwner(lock: Deno.FsFile): string {
  const buffer = new Uint8Array(1024);
  const text = new TextDecoder().decode(buffer.subarray(0, lock.readSync(buffer) ?? 0));
  try {
    const owner: unknown = JSON.parse(text);
    if (owner && typeof owner === "object" && "name" in owner && "pid" in owner) {
      return `node ${JSON.stringify(owner.name)} (pid ${owner.pid})`;
    }
  } catch {
    // The owner has not written its name yet.
  }
  return "another process";
}
