/**
 * Peers in the right host, one for each line on stdin ({address, kind, octets, sentinel}): OPEN, KEEPALIVE, a good route, then the
 * octets of a case in pieces, then the sentinel route. Says {address, notification, isOpen} when the connection has ended or
 * the sentinel is out and nothing has come back.
 */

import { encodeKeepalive } from "../../src/bgp/wire/frame.ts";
import { type Kind, openOf, updateFrom } from "../unit/bgp/malformed/world.ts";
import { octetsOf } from "../unit/bgp/malformed/corpus.ts";
import { lineStream } from "./lines.ts";

interface Order {
  readonly address: string;
  readonly kind: Kind;
  readonly octets: string;
  readonly sentinel: string;
}

const say = (line: unknown) => void Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
const hex = (bytes: Uint8Array) => Array.from(bytes, (octet) => octet.toString(16).padStart(2, "0")).join("");
const PIECE = 97;

async function play({ address, kind, octets, sentinel }: Order, conn: Deno.TcpConn): Promise<void> {
  conn.setNoDelay(true);
  const write = async (bytes: Uint8Array, piece = bytes.length) => {
    for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at, at + piece));
  };
  const buffer = new Uint8Array(1 << 17);
  let end = 0, notification: string | null = null, hasCase = false;
  await write(openOf(kind, "10.0.0.2"));
  const speak = async () => {
    hasCase = true;
    await write(encodeKeepalive());
    await write(updateFrom("bad", kind, ["10.1.0.0/24", "10.9.0.0/24"], true));
    await write(octetsOf(octets), PIECE);
    await write(updateFrom("bad", kind, [sentinel]));
    say({ address, isSent: true });
  };
  for (;;) {
    const count = await conn.read(buffer.subarray(end)).catch(() => null);
    if (count === null) break;
    end += count;
    let at = 0;
    while (end - at >= 19) {
      const length = buffer[at + 16]! << 8 | buffer[at + 17]!;
      if (end - at < length) break;
      const type = buffer[at + 18];
      if (type === 3) notification = hex(buffer.subarray(at + 19, at + length));
      if (type === 4 && !hasCase) void speak().catch(() => {});
      at += length;
    }
    buffer.copyWithin(0, at, end);
    end -= at;
  }
  say({ address, isEnded: true, notification });
}

for await (const line of Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream())) {
  const order = JSON.parse(line) as Order;
  const listener = Deno.listen({ hostname: order.address, port: 179 });
  void listener.accept().then((conn) => {
    listener.close();
    return play(order, conn);
  });
}
