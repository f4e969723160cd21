/**
 * Bundles the program: main.ts and every worker file become one folder of minified, code-split JavaScript.
 *
 * Code splitting keeps each dynamic `import()` a file of its own, so a light verb loads a few kilobytes. A worker is
 * named in the source by `new URL("./worker.ts", import.meta.url)`; the bundler leaves that text as it stands although
 * the chunk that holds it has moved, so each worker is made an entry and the text is rewritten to where it landed.
 * In: the sources and the lock file. Out: a folder with main.js at its top. The same inputs give the same bytes,
 * wherever the checkout lies.
 */
import { dirname, join, relative, resolve } from "node:path";
import { renameIn, stableNames } from "./stable_names.ts";

/** A source file that some `new URL("./x.ts", import.meta.url)` names: `literal` is the text, `path` the file meant. */
export interface UrlReference {
  literal: string;
  path: string;
}

/** What one bundling made: the folder, its files (relative, sorted), and the workers' files among them. */
export interface Bundle {
  folder: string;
  files: string[];
  workers: string[];
}

const URL_OF_SOURCE = /new\s+URL\(\s*(["'`])(\.{1,2}\/[^"'`]+\.ts)\1\s*,\s*import\.meta\.url\s*,?\s*\)/g;

/** Finds the TypeScript files that `source`, standing at `path`, names by URL. */
export function urlReferences(path: string, source: string): UrlReference[] {
  return [...source.matchAll(URL_OF_SOURCE)].map((match) => {
    const literal = match[2] ?? "";
    return { literal, path: resolve(dirname(path), literal) };
  });
}

/** Rewrites each URL of a source file in the chunk at `chunk` to the bundled file; throws on one it does not know. */
export function rewriteUrls(chunk: string, code: string, bundled: ReadonlyMap<string, string>): string {
  return code.replaceAll(URL_OF_SOURCE, (_text, _quote: string, literal: string) => {
    const target = bundled.get(literal);
    if (target === undefined) throw new Error(`Cannot bundle ${chunk}: nothing was made of ${literal}`);
    const path = relative(dirname(chunk), target);
    return `new URL(${JSON.stringify(path.startsWith(".") ? path : `./${path}`)},import.meta.url)`;
  });
}

/** Lists the files under `folder`, relative to it and sorted by code unit. */
export function filesUnder(folder: string): string[] {
  const found: string[] = [];
  const walk = (path: string) => {
    for (const entry of Deno.readDirSync(path)) {
      const child = join(path, entry.name);
      if (entry.isDirectory) walk(child);
      else if (entry.isFile) found.push(relative(folder, child));
    }
  };
  walk(folder);
  return found.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

function findWorkers(root: string): Map<string, string> {
  const workers = new Map<string, string>();
  const sources = filesUnder(join(root, "src")).filter((name) => name.endsWith(".ts"));
  for (const name of sources) {
    const path = join(root, "src", name);
    for (const reference of urlReferences(path, Deno.readTextFileSync(path))) {
      const known = workers.get(reference.literal);
      if (known !== undefined && known !== reference.path) {
        throw new Error(
          `Cannot bundle ${path}: ${reference.literal} means ${reference.path} here and ${known} elsewhere; ` +
            "give one of the two files another name",
        );
      }
      workers.set(reference.literal, reference.path);
    }
  }
  return workers;
}

/** Bundles the checkout at `root` into `folder`, which is emptied first; throws with the bundler's words on failure. */
export function bundle(root: string, folder: string): Bundle {
  const workers = findWorkers(root);
  const entries = [...new Set(workers.values())].map((path) => relative(root, path)).sort();
  Deno.mkdirSync(folder, { recursive: true });
  Deno.removeSync(folder, { recursive: true });
  const { success, stderr } = new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "--frozen",
      "--platform=deno",
      "--code-splitting",
      "--minify",
      "--outdir",
      folder,
      "main.ts",
      ...entries,
    ],
    cwd: root,
    env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).outputSync();
  if (!success) throw new Error(`Cannot bundle ${root}: ${new TextDecoder().decode(stderr).trim()}`);

  const outputs = new Map<string, string>();
  for (const [literal, path] of workers) outputs.set(literal, relative(root, path).replace(/\.ts$/, ".js"));
  const made = new Map(filesUnder(folder).map((name) => [name, Deno.readTextFileSync(join(folder, name))]));
  for (const output of ["main.js", ...outputs.values()]) {
    if (!made.has(output)) throw new Error(`Cannot bundle ${root}: the bundler made no ${output}`);
  }
  const names = stableNames(made);
  for (const [name, code] of made) {
    Deno.removeSync(join(folder, name));
    const lasting = names.get(name) ?? name;
    Deno.writeTextFileSync(join(folder, lasting), renameIn(rewriteUrls(lasting, code, outputs), names));
  }
  return { folder, files: filesUnder(folder), workers: [...new Set(outputs.values())].sort() };
}
