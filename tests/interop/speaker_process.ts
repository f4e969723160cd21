/**
 * A speaker in a process of its own, so that it can live in a network namespace: JSON lines in (a configuration, a question,
 * the order to stop), JSON lines out (status, answers, log).
 */

import { lineStream } from "./lines.ts";
import { makeLog } from "../../src/lib/log.ts";
import { startSpeaker } from "../../src/speaker/spawn.ts";

const encoder = new TextEncoder();
const say = (line: unknown) => void Deno.stdout.writeSync(encoder.encode(`${JSON.stringify(line)}\n`));

const speaker = startSpeaker({ log: makeLog((level, message, fields) => say({ log: { level, message, fields } })) });
speaker.onStatus((status) => say({ status }));

for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
  const order = JSON.parse(line);
  if (order.config) speaker.configure(order.config);
  if (order.query) {
    speaker.query(order.query).then(
      (answer) => say({ id: order.id, answer }),
      (error) => say({ id: order.id, error: String(error) }),
    );
  }
  if (order.busy) { for (const end = performance.now() + order.busy; performance.now() < end;); }
  if (order.stop) break;
}
await speaker.stop();
