/** Escaping of identifiers inside keys: only `%` and `/` are touched, so that names stay readable. */

/** Writes `%` as %25 and `/` as %2f. */
export function escapeName(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2f");
}

/** Reads %2f and %25 back. */
export function unescapeName(text: string): string {
  return text.replaceAll("%2f", "/").replaceAll("%25", "%");
}
