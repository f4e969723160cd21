/**
 * `tortie version`: the program's version, the form it runs in, and the versions of what it runs on.
 *
 * It is the lightest verb, and what the installer and the build run to see that an executable works.
 */
import config from "../../deno.json" with { type: "json" };
import { type Packaging, packaging } from "./self.ts";

/** What `tortie version -o json` shows; `build` is the packed file's content hash, null in the other forms. */
export interface Version {
  version: string;
  packaging: Packaging;
  build: string | null;
  deno: string;
  v8: string;
  target: string;
}

/** Reads the versions of this program and of its runtime. */
export function version(): Version {
  const form = packaging();
  return {
    version: config.version,
    packaging: form,
    // The packed program lies in a folder that is named by its hash.
    build: form === "packed" ? Deno.execPath().split("/").at(-2) ?? null : null,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    target: Deno.build.target,
  };
}

const WORDS: Record<Packaging, string> = {
  source: "from source",
  packed: "packed: self-extracting",
  compiled: "compiled: deno compile",
};

/** Formats a version as one line of text. */
export function formatVersion(shown: Version): string {
  const build = shown.build === null ? "" : ` ${shown.build.slice(0, 16)}`;
  return `tortie ${shown.version} (${
    WORDS[shown.packaging]
  }${build}) Deno ${shown.deno}, V8 ${shown.v8}, ${shown.target}`;
}
