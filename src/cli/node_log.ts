/**
 * The node's log: lines on standard error, as text for people or JSON for collectors, written at once so that the last
 * line before an end is never lost.
 */

import { configure, getJsonLinesFormatter, getLogger, type LogRecord, type TextFormatter } from "@logtape/logtape";
import { type Log, type LogLevel, makeLog } from "../lib/log.ts";

/** How the log is written; `auto` is text on a terminal and JSON otherwise. */
export interface NodeLogOptions {
  readonly level: LogLevel;
  readonly format: "auto" | "text" | "json";
}

/** Sets up logging for this process and returns the node's log; called once, and again when the settings change. */
export async function startNodeLog({ level, format }: NodeLogOptions): Promise<Log> {
  const isText = format === "text" || format === "auto" && Deno.stderr.isTerminal();
  const formatter = isText ? formatLogLine : getJsonLinesFormatter({ properties: "flatten" });
  const encoder = new TextEncoder();
  const sink = (record: LogRecord) => {
    for (let bytes = encoder.encode(formatter(record)); bytes.length > 0;) {
      bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
    }
  };
  await configure({
    reset: true,
    sinks: { stderr: sink },
    loggers: [
      { category: "tortie", lowestLevel: level === "warn" ? "warning" : level, sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
    ],
  });
  const logger = getLogger("tortie");
  return makeLog((level, message, fields) => {
    // Braces in a message are text here, not places for values: those are in the fields.
    logger[level](message.replaceAll("{", "{{").replaceAll("}", "}}"), plain(fields));
  });
}

/** Errors become their text; everything else goes through as it is. */
function plain(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? value.message : value]),
  );
}

/** A record as text for people: "2026-01-02T03:04:05.678Z INFO  peer is up peer=192.0.2.1 as=64512" and a newline. */
export const formatLogLine: TextFormatter = (record) => {
  const fields = Object.entries(record.properties).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value) ?? String(value);
    return ` ${key}=${/[\s"=]/.test(text) && typeof value === "string" ? JSON.stringify(text) : text}`;
  });
  const level = (record.level === "warning" ? "warn" : record.level).toUpperCase().padEnd(5);
  return `${new Date(record.timestamp).toISOString()} ${level} ${record.message.join("")}${fields.join("")}\n`;
};
