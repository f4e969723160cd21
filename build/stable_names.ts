/**
 * Names for the bundle's chunks that depend on nothing but the code in them.
 *
 * The bundler puts a hash into each chunk's name, and the hash covers the path of the package cache as seen from the
 * checkout: two checkouts of one commit get two bundles. So each chunk is renamed to what it holds (`version.js`), and
 * chunks of one stem are numbered in the order of their code's SHA-256, taken with the hashed names masked out.
 */
import { createHash } from "node:crypto";

const HASHED = /^(.+)-[A-Z0-9]{8}\.js$/;
const HASHED_IN_CODE = /[\w.]+(?:-[\w.]+)*-[A-Z0-9]{8}\.js/g;

/** Maps each hashed file name in `files` (name to code) to its lasting one; the other names stay. */
export function stableNames(files: ReadonlyMap<string, string>): Map<string, string> {
  const byStem = new Map<string, { name: string; key: string }[]>();
  for (const [name, code] of files) {
    const stem = HASHED.exec(name)?.[1];
    if (stem === undefined) continue;
    const masked = code.replaceAll(HASHED_IN_CODE, (found) => found.replace(/-[A-Z0-9]{8}\.js$/, ".js"));
    const key = createHash("sha256").update(masked).digest("hex");
    byStem.set(stem, [...byStem.get(stem) ?? [], { name, key }]);
  }
  const names = new Map<string, string>();
  for (const [stem, chunks] of byStem) {
    chunks.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    chunks.forEach(({ name }, index) => {
      const isFree = chunks.length === 1 && !files.has(`${stem}.js`);
      names.set(name, isFree ? `${stem}.js` : `${stem}-${index + 1}.js`);
    });
  }
  return names;
}

/** Rewrites every hashed name that `code` imports to its lasting one. */
export function renameIn(code: string, names: ReadonlyMap<string, string>): string {
  return code.replaceAll(HASHED_IN_CODE, (found) => names.get(found) ?? found);
}
