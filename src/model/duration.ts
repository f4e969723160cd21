/** Go's duration text ("2m0s", "1.5h", "300ms"), in which Calico writes times. */

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  "µs": 1e-6,
  "μs": 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
};

/** Reads a duration; seconds, or undefined when the text is none. */
export function parseDuration(text: string): number | undefined {
  if (text === "0") return 0;
  const body = text.replace(/^[-+]/, "");
  if (!/^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$/.test(body)) return undefined;
  let seconds = 0;
  for (const [, amount, unit] of body.matchAll(/([0-9.]+)([a-zµμ]+)/g)) {
    seconds += Number(amount) * (UNITS[unit ?? ""] ?? 0);
  }
  return text.startsWith("-") ? -seconds : seconds;
}
