/**
 * Runs inside one namespace: echoes on ports, and tries connections that it is told on standard input, one JSON line each;
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

/** Connections to hold open: a byte goes out on each every 100 ms, and its echo counts. */
export interface Hold {
  readonly id: number;
  readonly protocol: "hold";
  readonly to: string;
  readonly port: number;
  readonly count: number;
}

/** How held connections fare: milliseconds since each one's last echo, by port. */
export interface Report {
  readonly id: number;
  readonly silence: Readonly<Record<number, readonly number[]>>;
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
    for await (const connection of listener) connection.readable.pipeTo(connection.writable).catch(() => {});
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

const echoes = new Map<number, number[]>();

/** Opens the connections and keeps them busy; resolves once each has had an echo. */
async function hold({ to, port, count }: Hold): Promise<void> {
  const times: number[] = new Array(count).fill(0);
  echoes.set(port, times);
  await Promise.all(times.map(async (_, i) => {
    const connection = await Deno.connect({ hostname: to, port });
    connection.setNoDelay(true);
    const first = Promise.withResolvers<void>();
    (async () => {
      for await (const _bytes of connection.readable) {
        times[i] = performance.now();
        first.resolve();
      }
    })().catch(() => {});
    const writer = connection.writable.getWriter();
    setInterval(() => void writer.write(new Uint8Array([1])).catch(() => {}), 100);
    await first.promise;
  }));
}

function report(): Report["silence"] {
  const now = performance.now();
  return Object.fromEntries([...echoes].map(([port, times]) => [port, times.map((time) => now - time)]));
}

const say = (line: unknown) => Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
say("ready");
for await (const line of Deno.stdin.readable.pipeThrough(new TextLineStream())) {
  const wanted = JSON.parse(line) as Attempt | Hold | { readonly id: number };
  if ("count" in wanted) hold(wanted).then(() => say({ id: wanted.id, isThrough: true } satisfies Answer));
  else if (!("to" in wanted)) say({ id: wanted.id, silence: report() } satisfies Report);
  else attempt(wanted).then((isThrough) => say({ id: wanted.id, isThrough } satisfies Answer));
}
Deno.exit(0);
