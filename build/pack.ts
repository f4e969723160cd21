/**
 * Packs the bundle together with the `deno` program into one self-extracting file: build/stub.sh, then a tar in gzip.
 *
 * It stands in for `deno compile` where the runtime base (`denort`) cannot be had. Only what every Debian has is needed
 * to unpack it: sh, tar, gzip and coreutils. The name of the unpacked folder is the SHA-256 of MANIFEST, which lists the
 * SHA-256 of every file, so equal inputs give an equal name, and the whole can be verified. The file itself is equal
 * too, byte for byte, with one version of tar and gzip: the entries are sorted and carry neither owner nor time.
 */
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { filesUnder } from "./bundle.ts";

/** What is packed: the `deno` program's path, the bundle's folder, and the words for the stub's first line. */
export interface PackInput {
  program: string;
  bundle: string;
  stub: string;
  version: string;
  target: string;
}

/** Formats a list of hashes as `sha256sum --check` reads it. */
export function formatManifest(hashes: ReadonlyMap<string, string>): string {
  return [...hashes].map(([name, hash]) => `${hash}  ${name}\n`).join("");
}

/** Fills the `@NAME@` places of the stub and appends nothing; throws if a place has no value. */
export function fillStub(stub: string, values: Readonly<Record<string, string>>): string {
  return stub.replaceAll(/@([A-Z_]+)@/g, (_place, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`Cannot fill the stub: no value for ${name}`);
    return value;
  });
}

/** Reads the content hash that the packed file at `path` carries; undefined if it is not a packed file. */
export function packedHash(path: string): string | undefined {
  try {
    using file = Deno.openSync(path);
    const head = new Uint8Array(4096);
    const length = file.readSync(head) ?? 0;
    const text = new TextDecoder().decode(head.subarray(0, length));
    return text.startsWith("#!/bin/sh\n# tortie ") ? /^hash=([0-9a-f]{64})$/m.exec(text)?.[1] : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function sha256(bytes: Uint8Array<ArrayBuffer> | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Writes the packed file to `output`, atomically; returns its content hash and whether the file had to be written. */
export function pack(input: PackInput, output: string): { hash: string; isChanged: boolean } {
  Deno.mkdirSync(dirname(output), { recursive: true });
  const staging = Deno.makeTempDirSync({ dir: dirname(output), prefix: ".pack-" });
  try {
    const tree = join(staging, "tree");
    Deno.mkdirSync(join(tree, "app"), { recursive: true });
    Deno.copyFileSync(input.program, join(tree, "tortie"));
    Deno.chmodSync(join(tree, "tortie"), 0o700);
    for (const name of filesUnder(input.bundle)) {
      Deno.mkdirSync(dirname(join(tree, "app", name)), { recursive: true });
      Deno.writeTextFileSync(join(tree, "app", name), deferImports(Deno.readTextFileSync(join(input.bundle, name))));
    }
    const names = filesUnder(tree);
    const manifest = formatManifest(new Map(names.map((name) => [name, sha256(Deno.readFileSync(join(tree, name)))])));
    const hash = sha256(manifest);

    const bytes = names.reduce((sum, name) => sum + Deno.statSync(join(tree, name)).size, 0);
    const head = fillStub(input.stub, {
      VERSION: input.version,
      TARGET: input.target,
      HASH: hash,
      PAYLOAD_LINE: String(input.stub.split("\n").length),
      NEEDS_MB: String(Math.ceil(bytes / 1e6) + 5),
    });
    if (packedHash(output) === hash && startsWith(output, head)) return { hash, isChanged: false };

    Deno.writeTextFileSync(join(tree, "MANIFEST"), manifest);
    const packed = join(staging, "packed");
    Deno.writeTextFileSync(packed, head);
    runShell(
      'tar --create --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode="u+rwX,go-rwx" ' +
        '--directory "$1" MANIFEST app tortie | gzip --no-name -6 >>"$2"',
      [tree, packed],
    );
    Deno.chmodSync(packed, 0o755);
    Deno.renameSync(packed, output);
    return { hash, isChanged: true };
  } finally {
    Deno.removeSync(staging, { recursive: true });
  }
}

/**
 * Makes each dynamic import one whose name is computed. Deno reads the files of all those it can see the name of before
 * the first line runs, so a light verb would pay for the heaviest.
 */
export function deferImports(code: string): string {
  return code.replaceAll(/\bimport\(("\.{1,2}\/[^"\\]+")\)/g, "import(import.meta.resolve($1))");
}

function startsWith(path: string, head: string): boolean {
  const wanted = new TextEncoder().encode(head);
  using file = Deno.openSync(path);
  const found = new Uint8Array(wanted.length);
  const length = file.readSync(found) ?? 0;
  return length === wanted.length && found.every((byte, index) => byte === wanted[index]);
}

function runShell(script: string, args: string[]): void {
  const { success, stderr } = new Deno.Command("bash", {
    args: ["-euo", "pipefail", "-c", script, "pack", ...args],
    env: { LC_ALL: "C" },
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!success) throw new Error(`Cannot pack: ${new TextDecoder().decode(stderr).trim()}`);
}
