/** YAML for people; a file of its own, so that only who prints YAML loads the library, from source and bundled alike. */

import { stringify } from "yaml";

/** Formats a value as a YAML document. */
export function formatYaml(value: unknown): string {
  return stringify(value);
}
