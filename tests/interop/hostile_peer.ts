/**
 * Peers that misbehave, each a process of its own in the right host; JSON lines out. The first word is the role:
 *
 *   good ADDRESS          speaks properly, notes when messages come, and keeps what it is told; says so for a line on stdin
 *   stuck ADDRESS         speaks, and reads nothing once the session is up
 *   drip ADDRESS          sends its OPEN and all else one octet a second
 *   silent ADDRESS        takes the connection and says nothing
 *   flap ADDRESS N TIMES  announces N prefixes and withdraws them, that often, and leaves them announced
 *   flood ADDRESS N       opens N connections to the speaker, which does not know us
 *   forge ADDRESS MS      forges resets of the connections between ADDRESS and the speaker for that long
 */

import { libc } from "../../src/linux/libc.ts";

const AS = 64512;
const SPEAKER = "10.77.0.1";
const HEADER = 19;
const [role = "", address = "", ...numbers] = Deno.args;
const [first = 0, second = 0] = numbers.map(Number);
const say = (line: unknown) => void Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
const octets = (text: string) => text.split(".").map(Number);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function message(type: number, body: readonly number[] | Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(HEADER + body.length).fill(0xff, 0, 16);
  out.set([out.length >> 8, out.length & 255, type], 16);
  out.set(body, HEADER);
  return out;
}

const KEEPALIVE = message(4, []);
const open = () =>
  message(1, [
    4,
    AS >> 8,
    AS & 255,
    0,
    3,
    ...octets(address),
    16,
    2,
    14,
    1,
    4,
    0,
    1,
    0,
    1,
    2,
    0,
    65,
    4,
    0,
    0,
    AS >> 8,
    AS & 255,
  ]);

/** The 24 bits of prefix number i: 11.0.0.0/24 and on. */
const prefixOf = (i: number) => [24, 11 + (i >> 16), i >> 8 & 255, i & 255];

async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** Reads whole messages until the end. */
async function readMessages(conn: Deno.Conn, take: (type: number, body: Uint8Array) => boolean | void): Promise<void> {
  const buffer = new Uint8Array(1 << 17);
  let end = 0;
  for (;;) {
    const count = await conn.read(buffer.subarray(end)).catch(() => null);
    if (count === null) return;
    end += count;
    let at = 0;
    while (end - at >= HEADER) {
      const length = buffer[at + 16]! << 8 | buffer[at + 17]!;
      if (end - at < length) break;
      if (take(buffer[at + 18]!, buffer.subarray(at + HEADER, at + length)) === false) return;
      at += length;
    }
    buffer.copyWithin(0, at, end);
    end -= at;
  }
}

async function serve(play: (conn: Deno.TcpConn) => Promise<void>): Promise<void> {
  const listener = Deno.listen({ hostname: address, port: 179 });
  say({ ready: true });
  for await (const conn of listener) void play(conn).catch(() => {}).finally(() => conn.close());
}

/** OPEN and KEEPALIVEs for as long as the connection stands. */
async function converse(conn: Deno.Conn, take: (type: number, body: Uint8Array) => boolean | void): Promise<void> {
  await writeAll(conn, open());
  const timer = setInterval(() => void writeAll(conn, KEEPALIVE).catch(() => clearInterval(timer)), 900);
  await readMessages(conn, (type, body) => {
    if (type === 1) void writeAll(conn, KEEPALIVE).catch(() => {});
    return take(type, body);
  }).finally(() => clearInterval(timer));
}

async function good(): Promise<void> {
  const present = new Uint8Array(1 << 18);
  let sessions = 0, maxGap = 0, last = 0, heard = 0, maxSilence = 0;
  const each = (body: Uint8Array, from: number, to: number, value: number) => {
    for (let at = from; at < to;) {
      const size = body[at]! + 7 >> 3;
      if (body[at] === 24) present[body[at + 1]! - 11 << 16 | body[at + 2]! << 8 | body[at + 3]!] = value;
      at += 1 + size;
    }
  };
  void serve(async (conn) => {
    sessions++;
    last = 0;
    present.fill(0);
    heard = 0;
    await converse(conn, (type, body) => {
      const now = performance.now();
      if (heard !== 0) maxSilence = Math.max(maxSilence, now - heard);
      heard = now;
      if (type === 4) {
        if (last !== 0) maxGap = Math.max(maxGap, now - last);
        last = now;
      } else if (type === 2) {
        const withdrawn = 2 + (body[0]! << 8 | body[1]!);
        each(body, 2, withdrawn, 0);
        each(body, withdrawn + 2 + (body[withdrawn]! << 8 | body[withdrawn + 1]!), body.length, 1);
      }
    });
  });
  for await (const _ of Deno.stdin.readable) {
    say({ sessions, maxGap, maxSilence, prefixes: present.reduce((sum, one) => sum + one, 0) });
  }
}

/** All prefixes in UPDATEs of 900. */
function updates(count: number, round: number, isWithdrawal: boolean): Uint8Array<ArrayBuffer> {
  const attributes = [
    64,
    1,
    1,
    0,
    64,
    2,
    0,
    64,
    3,
    4,
    ...octets(address),
    64,
    5,
    4,
    0,
    0,
    0,
    100,
    192,
    8,
    4,
    0xfc,
    0,
    0,
    round,
  ];
  const parts: Uint8Array[] = [];
  for (let from = 0; from < count; from += 900) {
    const nlri: number[] = [];
    for (let i = from; i < Math.min(count, from + 900); i++) nlri.push(...prefixOf(i));
    const body = isWithdrawal
      ? [nlri.length >> 8, nlri.length & 255, ...nlri, 0, 0]
      : [0, 0, 0, attributes.length, ...attributes, ...nlri];
    parts.push(message(2, body));
  }
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

async function flap(count: number, times: number): Promise<void> {
  const withdrawals = updates(count, 0, true);
  const announcements = Array.from({ length: times }, (_, round) => updates(count, round + 1, false));
  await serve((conn) =>
    converse(conn, (type) => {
      if (type !== 4 || hasFlapped) return;
      hasFlapped = true;
      void (async () => {
        for (const [round, bytes] of announcements.entries()) {
          if (round > 0) await writeAll(conn, withdrawals);
          await writeAll(conn, bytes);
        }
        say({ done: true });
      })().catch((error) => say({ failed: String(error) }));
    })
  );
}
let hasFlapped = false;

async function flood(count: number): Promise<void> {
  let refused = 0;
  const one = async () => {
    try {
      const conn = await Deno.connect({ hostname: SPEAKER, port: 179 });
      try {
        if (await conn.read(new Uint8Array(64)) === null) refused++;
      } finally {
        conn.close();
      }
    } catch {
      refused++;
    }
  };
  for (let at = 0; at < count; at += 50) await Promise.all(Array.from({ length: Math.min(50, count - at) }, one));
  say({ refused });
}

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! << 8 | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An IPv4 packet with a TCP header and nothing else, from our address to the speaker. */
function segment(ports: readonly number[], seq: readonly number[], ack: readonly number[], flags: number): Uint8Array {
  const tcp = [...ports, ...seq, ...ack, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0];
  const sum = checksum(Uint8Array.from([...octets(address), ...octets(SPEAKER), 0, 6, 0, 20, ...tcp]));
  tcp[16] = sum >> 8;
  tcp[17] = sum & 255;
  return Uint8Array.from([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, ...octets(address), ...octets(SPEAKER), ...tcp]);
}

/** Listens in on what the speaker sends to ADDRESS, so that each reset has the sequence number that is expected next. */
async function forge(ms: number): Promise<void> {
  const AF_INET = 2, SOCK_RAW = 3, NONBLOCK = 0o4000, RST = 4, ACK = 16, SYN = 2, FIN = 1;
  const ears = libc().socket(AF_INET, SOCK_RAW | NONBLOCK, 6), mouth = libc().socket(AF_INET, SOCK_RAW, 255);
  const to = Uint8Array.from([AF_INET, 0, 0, 0, ...octets(SPEAKER), ...new Array(8).fill(0)]);
  const packet = new Uint8Array(65536);
  let sent = 0;
  const end = performance.now() + ms;
  say({ ready: true });
  while (performance.now() < end) {
    const count = libc().recv(ears, packet, packet.length, 0);
    if (count <= 0) {
      await pause(5);
      continue;
    }
    const from = [...packet.subarray(12, 16)].join("."), at = (packet[0]! & 15) * 4;
    if (from !== SPEAKER || [...packet.subarray(16, 20)].join(".") !== address) continue;
    const [theirs, ours] = [packet.subarray(at, at + 2), packet.subarray(at + 2, at + 4)];
    const ports = [...ours, ...theirs],
      expected = [...packet.subarray(at + 8, at + 12)],
      mine = [...packet.subarray(at + 4, at + 8)];
    for (const flags of [RST, RST | ACK, SYN, FIN | ACK]) {
      const bytes = segment(ports, expected, mine, flags);
      if (libc().sendto(mouth, bytes as Uint8Array<ArrayBuffer>, bytes.length, 0, to, to.length) === bytes.length) {
        sent++;
      }
    }
  }
  say({ sent });
}

switch (role) {
  case "good":
    await good();
    break;
  case "stuck":
    await serve(async (conn) => {
      await converse(conn, (type) => type !== 4);
      for (;;) {
        await pause(900);
        await writeAll(conn, KEEPALIVE);
      }
    });
    break;
  case "drip":
    await serve(async (conn) => {
      const bytes = [...open(), ...KEEPALIVE, ...KEEPALIVE, ...KEEPALIVE, ...KEEPALIVE];
      for (const octet of bytes) {
        await writeAll(conn, Uint8Array.of(octet));
        await pause(1000);
      }
    });
    break;
  case "silent":
    await serve((conn) => readMessages(conn, () => {}));
    break;
  case "flap":
    await flap(first, second);
    break;
  case "flood":
    await flood(first);
    break;
  case "forge":
    await forge(first);
    break;
}
