/**
 * Reads the conformance data (what Calico answered for given inputs) and registers the tests that need it. They are
 * ignored, and say so, where the data is not there.
 */

const FOLDER = new URL("../../../../shared/conformance/", import.meta.url);

/** The parsed file, or undefined when the data is not there. */
export function readConformance<T>(name: string): T | undefined {
  try {
    return JSON.parse(Deno.readTextFileSync(new URL(name, FOLDER))) as T;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Registers a test over a conformance file. */
export function conformanceTest<T>(name: string, file: string, body: (data: T) => void): void {
  const data = readConformance<T>(file);
  if (data === undefined) {
    Deno.test({ name: `${name} (skipped: no conformance data)`, ignore: true, fn: () => {} });
  } else {
    Deno.test(name, () => body(data));
  }
}
