/** Asking, batching and dumping over a scripted exchange: interrupted dumps, lost replies, strangers' and stale messages. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import { u32At } from "../../../src/netlink/attribute.ts";
import { NetlinkError } from "../../../src/netlink/error.ts";
import type { Exchange } from "../../../src/netlink/exchange.ts";
import { NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN } from "../../../src/netlink/message.ts";
import { ask, askBatch, dump, type Request } from "../../../src/netlink/request.ts";

const PORT = 4711;
type Reply = { type: number; body?: number[]; flags?: number; sequence?: number; port?: number };

/** An exchange that answers the n-th request with the n-th list of datagrams; "lost" throws ENOBUFS. */
function scripted(...answers: (Reply[] | "lost" | "cut")[][]): Exchange & { sent: Uint8Array[] } {
  const sent: Uint8Array[] = [];
  let queue: (Reply[] | "lost" | "cut")[] = [];
  let sequence = 0;
  return {
    sent,
    port: PORT,
    sequence: (count = 1) => (sequence += count) - count + 1,
    send(request) {
      queue = [...answers[sent.length] ?? []];
      sent.push(request.slice());
    },
    receive() {
      const next = queue.shift();
      if (next === undefined) throw new NetlinkError("receive", 110, "ETIMEDOUT", "Connection timed out");
      if (next === "lost") throw new NetlinkError("receive", 105, "ENOBUFS", "No buffer space available");
      if (next === "cut") return Uint8Array.of(200, 0, 0, 0);
      return datagramOf(next.map((one) => ({ sequence, ...one })));
    },
  };
}

function datagramOf(replies: Reply[]): Uint8Array {
  const writer = new ByteWriter();
  for (const { type, body = [], flags = 0, sequence = 0, port = PORT } of replies) {
    writer.u32le(16 + body.length).u16le(type).u16le(flags).u32le(sequence).u32le(port).put(Uint8Array.from(body))
      .align(4);
  }
  return writer.bytes();
}

const ACK: Reply = { type: NLMSG_ERROR, body: [0, 0, 0, 0] };
const DONE: Reply = { type: NLMSG_DONE, body: [0, 0, 0, 0] };
const refusalOf = (errno: number): number[] => [256 - errno, 255, 255, 255];
const row = (value: number, flags = 0): Reply => ({ type: 16, body: [value, 0, 0, 0], flags });
const request: Request = { operation: "link show", type: 18, body: (writer) => void writer.u32le(0) };

async function dumped(exchange: Exchange): Promise<number[]> {
  let rows: number[] = [];
  await dump(exchange, request, {
    restart: () => void (rows = []),
    visit: (_type, bytes, from) => void rows.push(u32At(bytes, from)),
  });
  return rows;
}

Deno.test("an ask asks for an ack and passes over stale, foreign and unrequested messages", () => {
  const seen: number[] = [];
  const exchange = scripted([
    [{ ...ACK, sequence: 99 }, { ...ACK, port: 1 }, { ...row(9), sequence: 0 }],
    [row(5)],
    [ACK],
  ]);
  ask(exchange, request, (type) => seen.push(type));
  assert.deepEqual(seen, [16]);
  assert.equal(u32At(exchange.sent[0]!, 4), 18 | (0x5 << 16));
});

Deno.test("a refusal is a NetlinkError with operation and code", () => {
  const exchange = scripted([[{ type: NLMSG_ERROR, body: refusalOf(17) }]]);
  assert.throws(
    () => ask(exchange, request),
    (error) => error instanceof NetlinkError && error.message === "Cannot link show: File exists (EEXIST)",
  );
});

Deno.test("a dump is whole at its end and begins anew when it was interrupted or replies were lost", async () => {
  assert.deepEqual(await dumped(scripted([[row(1), row(2)], [row(3)], [DONE]])), [1, 2, 3]);
  const interrupted = scripted([[row(1, NLM_F_DUMP_INTR)], [DONE]], [[row(1)], "lost", [DONE]], [[{
    type: NLMSG_OVERRUN,
  }, DONE]], [[row(7), DONE]]);
  assert.deepEqual(await dumped(interrupted), [7]);
  assert.equal(interrupted.sent.length, 4);
});

Deno.test("a dump that never comes to rest is given up with EINTR after ten attempts", async () => {
  const exchange = scripted(...new Array(50).fill([[row(1, NLM_F_DUMP_INTR), DONE]]));
  await assert.rejects(() => dumped(exchange), (error) => error instanceof NetlinkError && error.code === "EINTR");
  assert.equal(exchange.sent.length, 10);
});

Deno.test("a refused dump, and one whose end carries an error, throw what the kernel said", async () => {
  for (const type of [NLMSG_ERROR, NLMSG_DONE]) {
    await assert.rejects(
      () => dumped(scripted([[row(1)], [{ type, body: refusalOf(2) }]])),
      (error) => error instanceof NetlinkError && error.code === "ENOENT",
    );
  }
});

Deno.test("a dump that cannot be decoded is read to its end and then throws EBADMSG", async () => {
  const exchange = scripted([[{ type: 16, body: [1] }], "cut", [row(2), DONE], [row(3)]]);
  await assert.rejects(() => dumped(exchange), (error) => error instanceof NetlinkError && error.code === "EBADMSG");
  assert.equal(u32At(exchange.receive(), 16), 3, "the datagram after the end is left");
});

Deno.test("an answer that does not come ends the ask", () => {
  assert.throws(
    () => ask(scripted([]), request),
    (error) => error instanceof NetlinkError && error.code === "ETIMEDOUT",
  );
});

Deno.test("refusals in a batch are told apart by sequence number", () => {
  const error = (sequence: number, errno: number): Reply => ({ type: NLMSG_ERROR, body: refusalOf(errno), sequence });
  const exchange = scripted([[error(12, 17), error(9, 1)], [error(13, 3), error(99, 1)], [{ ...ACK, sequence: 14 }]]);
  const refused: [number, number][] = [];
  askBatch(
    exchange,
    "change routes",
    { bytes: new Uint8Array(16), first: 11, count: 4 },
    (i, { errno }) => refused.push([i, errno]),
  );
  assert.deepEqual(refused, [[1, 17], [2, 3]]);
});

Deno.test("lost answers to a batch are an error, because its outcome is unknown", () => {
  const batch = { bytes: new Uint8Array(16), first: 11, count: 4 };
  assert.throws(
    () => askBatch(scripted(["lost"]), "change routes", batch, () => {}),
    (error) => error instanceof NetlinkError && error.code === "ENOBUFS",
  );
});

Deno.test("whatever arrives, asking, batching and dumping end, and fail with a NetlinkError only", async () => {
  const datagram = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.array(reply, { maxLength: 4 }).map(datagramOf));
  await fc.assert(
    fc.asyncProperty(fc.array(datagram, { maxLength: 12 }), async (datagrams) => {
      const queue = () => {
        const left = [...datagrams];
        const exchange: Exchange = {
          port: PORT,
          sequence: () => 1,
          send() {},
          receive() {
            const next = left.shift();
            if (!next) throw new NetlinkError("receive", 110, "ETIMEDOUT", "Connection timed out");
            return next;
          },
        };
        return exchange;
      };
      const runs: ((exchange: Exchange) => unknown)[] = [
        (exchange) => ask(exchange, request, (_type, bytes, from, to) => void bytes.subarray(from, to)),
        (exchange) => askBatch(exchange, "x", { bytes: new Uint8Array(16), first: 1, count: 3 }, () => {}),
        (exchange) => dumped(exchange),
      ];
      for (const run of runs) {
        try {
          await run(queue());
        } catch (error) {
          assert.ok(error instanceof NetlinkError, `${error}`);
        }
      }
    }),
    { numRuns: 500 },
  );
});

const reply: fc.Arbitrary<Reply> = fc.record({
  type: fc.constantFrom(NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN, 16),
  body: fc.oneof(
    fc.constantFrom([0, 0, 0, 0], refusalOf(17)),
    fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 24 }),
  ),
  flags: fc.constantFrom(0, NLM_F_DUMP_INTR, 0x100, 0x200, 0x300),
  sequence: fc.integer({ min: 0, max: 4 }),
  port: fc.constantFrom(PORT, 0),
});
