/**
 * The `Log` seam: structured log lines. A message says what happened in words, the fields hold the values.
 * Secrets never become fields. The node implements it with its logging library; tests collect lines in an array.
 */

/** The values of one log line; errors are passed as `error`. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Levels as in the configuration's `log.level`. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Writes log lines. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log whose lines all carry these fields too. */
  with(fields: LogFields): Log;
}

/** A log that hands every line to `write`. */
export function makeLog(
  write: (level: LogLevel, message: string, fields: LogFields) => void,
  bound: LogFields = {},
): Log {
  const line = (level: LogLevel) => (message: string, fields?: LogFields) =>
    write(level, message, fields ? { ...bound, ...fields } : bound);
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    with: (fields) => makeLog(write, { ...bound, ...fields }),
  };
}

/** A log that drops every line. */
export const silentLog: Log = makeLog(() => {});
