/**
 * Reads what `deno test` says at its end, and adds such endings up.
 *
 * The line is `ok | 12 passed (3 steps) | 0 failed | 1 ignored (2s)`; parts that are zero may be missing, and other
 * parts (filtered out, measured) may stand between.
 */

/** How many tests passed, failed, and were skipped. */
export interface Summary {
  passed: number;
  failed: number;
  skipped: number;
}

const LINE = /^(?:ok|FAILED) \| (\d+) passed\b.*$/;

/** Reads the last summary line of a test run's output; undefined if the run ended without one. */
export function parseSummary(output: string): Summary | undefined {
  const line = output.split("\n").map((text) => LINE.exec(text.trim())).findLast((match) => match !== null);
  if (!line) return undefined;
  const count = (word: string) => Number(new RegExp(`\\b(\\d+) ${word}\\b`).exec(line[0])?.[1] ?? 0);
  return { passed: Number(line[1]), failed: count("failed"), skipped: count("ignored") };
}

/** Adds summaries up. */
export function addSummaries(summaries: readonly Summary[]): Summary {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of summaries) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  return total;
}

/** Formats a summary as the last line of a test run. */
export function formatSummary({ passed, failed, skipped }: Summary): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
