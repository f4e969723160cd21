/**
 * A watch on a connection: JSON lines from the node to the client until either ends.
 *
 * The node's side never waits for the client: lines queue, and a client that does not read for `writeMs`, or lets more
 * than `maxBacklog` characters wait, is cut off (it may ask again and gets the listing anew).
 */

import { within } from "./deadline.ts";
import { writeAll } from "./http1.ts";
import type { MonitorLine, WatchLine } from "./shapes.ts";

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/jsonl\r\nConnection: close\r\n\r\n";
/** Lines are joined into writes of about this many characters. */
const CHUNK = 64 * 1024;

/** Streams what `start` hands to its sink; returns when the client is gone or cut off, throws when it is too slow. */
export async function streamLines(
  conn: Deno.Conn,
  start: (sink: (line: WatchLine | MonitorLine) => void) => () => void,
  limits: { readonly writeMs: number; readonly maxBacklog: number },
): Promise<void> {
  const encoder = new TextEncoder();
  const chunks: string[] = [];
  let last = "", size = 0, isOver = false;
  let wake = () => {};
  const end = () => {
    isOver = true;
    wake();
  };
  const stop = start((line) => {
    if (isOver) return;
    last += JSON.stringify(line) + "\n";
    if (last.length >= CHUNK) {
      chunks.push(last);
      size += last.length;
      last = "";
    }
    if (size > limits.maxBacklog) end();
    wake();
  });
  const gone = clientGone(conn).then(end);
  const write = (text: string) => within(limits.writeMs, "watcher's reading", writeAll(conn, encoder.encode(text)));
  try {
    await write(HEAD);
    for (let next = 0; !isOver;) {
      const chunk = chunks[next];
      if (chunk !== undefined) {
        size -= chunk.length;
        chunks[next++] = "";
        await write(chunk);
      } else if (last !== "") {
        const text = last;
        last = "";
        chunks.length = next = 0;
        await write(text);
      } else {
        await new Promise<void>((resolve) => wake = resolve);
      }
    }
  } finally {
    isOver = true;
    stop();
    conn.close();
    await gone;
  }
}

/** Resolves when the client has closed; what it still sends is read and dropped. */
async function clientGone(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(1024);
  try {
    while (await conn.read(buffer) !== null);
  } catch {
    // Closed from our side.
  }
}
