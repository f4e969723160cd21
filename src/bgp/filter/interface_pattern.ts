/** Interface name patterns as BIRD matches them: `*` for any text, `?` for one character, all else literal. */

const compiled = new Map<string, RegExp>();

/** Whether the whole name matches the pattern. */
export function matchesInterface(pattern: string, name: string): boolean {
  let regex = compiled.get(pattern);
  if (!regex) {
    const text = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
    compiled.set(pattern, regex = new RegExp(`^${text}$`, "s"));
  }
  return regex.test(name);
}
