/**
 * Runs inside one namespace: listens on ports, and tries connections that it is told on standard input, one JSON line each;
 * answers on standard output with what came of it. TCP is a connection, UDP a datagram and its echo, ICMP a ping.
 */

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { TextLineStream } from "./text_lines.ts";

/** A connection attempt. */
export interface Attempt {
  readonly id: number;
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly to: string;
  readonly port: number;
  /** Milliseconds without an answer after which it counts as denied. */
  readonly patience: number;
}

/** What came of it. */
export interface Answer {
  readonly id: number;
  readonly isThrough: boolean;
}

const ports = JSON.parse(Deno.args[0] ?? "[]") as number[];
for (const port of ports) {
  // "::" hears both families.
  const listener = Deno.listen({ hostname: "::", port });
  (async () => {
    for await (const connection of listener) connection.close();
  })();
  const socket = createSocket("udp6");
  socket.on("message", (bytes, { address, port }) => socket.send(bytes, port, address));
  socket.bind(port, "::");
  await once(socket, "listening");
}

async function attempt({ protocol, to, port, patience }: Attempt): Promise<boolean> {
  const signal = AbortSignal.timeout(patience);
  switch (protocol) {
    case "tcp":
      try {
        (await Deno.connect({ hostname: to, port, signal })).close();
        return true;
      } catch {
        return false;
      }
    case "udp": {
      const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
      try {
        // An error is an ICMP answer that something refused it.
        const answer = Promise.race([once(socket, "message"), once(signal, "abort").then(() => Promise.reject())]);
        socket.send(new Uint8Array([1]), port, to);
        await answer;
        return true;
      } catch {
        return false;
      } finally {
        socket.close();
      }
    }
    case "icmp": {
      const args = ["-n", "-c", "1", "-W", `${patience / 1000}`, to];
      const { code } = await new Deno.Command("ping", { args, stdout: "null", stderr: "null" }).output();
      return code === 0;
    }
  }
}

const say = (line: unknown) => Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
say("ready");
for await (const line of Deno.stdin.readable.pipeThrough(new TextLineStream())) {
  const wanted = JSON.parse(line) as Attempt;
  attempt(wanted).then((isThrough) => say({ id: wanted.id, isThrough } satisfies Answer));
}
Deno.exit(0);
