/**
 * The three ways to talk to the kernel over an `Exchange`: ask (one request, its replies, its ack), batch (many requests in
 * one datagram, an ack asked of the last one only, errors reported for each) and dump (a table, restarted when it changed
 * under our hands). linux/netlink.h; Documentation/userspace-api/netlink/intro.rst.
 *
 * Replies are told apart by port id and sequence number: what an earlier, abandoned request left behind is passed over.
 * Out: views on the received datagram, valid during the visit only; or `NetlinkError` with the kernel's words.
 */

import { ByteWriter } from "../lib/bytes.ts";
import { u32At } from "./attribute.ts";
import { EBADMSG, EINTR, ENOBUFS, errnoCode, errnoText } from "./errno.ts";
import { NetlinkError } from "./error.ts";
import type { Exchange } from "./exchange.ts";
import { MalformedError } from "./malformed.ts";
import {
  type Ack,
  decodeAck,
  decodeDone,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HEADER,
  NLMSG_NOOP,
  NLMSG_OVERRUN,
  putMessage,
  readMessages,
} from "./message.ts";

/** How often an interrupted dump is begun again before the caller is told. */
const DUMP_ATTEMPTS = 10;

/** One request, to be put into a message. */
export interface Request {
  /** In the words of `ip`, for errors: "link set 3 up". */
  readonly operation: string;
  readonly type: number;
  /** NLM_F_* beside REQUEST, ACK and DUMP, which are added. */
  readonly flags?: number;
  /** Appends the fixed part and the attributes. */
  readonly body: (writer: ByteWriter) => void;
}

/** Sees one reply: its type, and where its body lies in the datagram. */
export type Visit = (type: number, datagram: Uint8Array, from: number, to: number) => void;

/** Sees a dump; `restart` is called before each attempt and forgets what was seen so far. */
export interface DumpSink {
  restart(): void;
  readonly visit: Visit;
}

/** Called between datagrams of a dump; a promise lets others run meanwhile. */
export type Pause = () => Promise<void> | undefined;

/** Sends one request and waits for its ack; throws `NetlinkError`. */
export function ask(exchange: Exchange, request: Request, visit?: Visit): void {
  const sequence = exchange.sequence();
  exchange.send(encodeRequest(request, sequence, NLM_F_ACK));
  for (let isAnswered = false; !isAnswered;) {
    for (const message of replies(exchange, request.operation)) {
      if (message.sequence !== sequence) continue;
      if (message.type === NLMSG_ERROR) {
        isAnswered = true;
        throwIfRefused(request.operation, ackOf(request.operation, message));
      } else if (visit) {
        const { body } = message;
        attempt(request.operation, () => visit(message.type, body, 0, body.length));
      }
    }
  }
}

/**
 * Sends a datagram of `count` messages numbered from `first`, whose last (and only the last) carries NLM_F_ACK, and calls
 * `refused` for each that the kernel refuses. Throws `NetlinkError` when the answers cannot be had: what was applied is then
 * unknown, and the table must be read again.
 */
export function askBatch(
  exchange: Exchange,
  operation: string,
  batch: { bytes: Uint8Array; first: number; count: number },
  refused: (index: number, ack: Ack) => void,
): void {
  exchange.send(batch.bytes);
  for (let isAnswered = false; !isAnswered;) {
    for (const message of replies(exchange, operation)) {
      const index = (message.sequence - batch.first) >>> 0;
      if (index >= batch.count || message.type !== NLMSG_ERROR) continue;
      const ack = ackOf(operation, message);
      if (ack.errno !== 0) refused(index, ack);
      if (index === batch.count - 1) isAnswered = true;
    }
  }
}

/**
 * Reads a table. A dump that the kernel marks as interrupted, or of which replies were lost, is begun again up to ten times;
 * then it throws `NetlinkError` EINTR. Throws `NetlinkError` when the kernel refuses the dump.
 */
export async function dump(exchange: Exchange, request: Request, sink: DumpSink, pause?: Pause): Promise<void> {
  for (let attempts = 0; attempts < DUMP_ATTEMPTS; attempts++) {
    sink.restart();
    if (await dumpOnce(exchange, request, sink.visit, pause)) return;
    await pause?.();
  }
  throw new NetlinkError(request.operation, EINTR, errnoCode(EINTR), `interrupted by changes ${DUMP_ATTEMPTS} times`);
}

/** One attempt; whether it saw a consistent table. */
async function dumpOnce(exchange: Exchange, request: Request, visit: Visit, pause?: Pause): Promise<boolean> {
  const sequence = exchange.sequence();
  exchange.send(encodeRequest(request, sequence, NLM_F_DUMP));
  const walk: Walk = { isDone: false, isWhole: true, error: undefined };
  while (!walk.isDone) {
    let datagram;
    try {
      datagram = exchange.receive();
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.errno !== ENOBUFS) throw error;
      walk.isWhole = false;
      continue;
    }
    walkDatagram(datagram, { exchange, sequence, request, visit, walk });
    if (!walk.isDone) await pause?.();
  }
  if (walk.error) throw walk.error;
  return walk.isWhole;
}

interface Walk {
  isDone: boolean;
  isWhole: boolean;
  /** Kept until the dump ends: the socket takes no other dump before. */
  error: unknown;
}

/** Visits the messages of one datagram of a dump without allocating. */
function walkDatagram(
  datagram: Uint8Array,
  dumping: { exchange: Exchange; sequence: number; request: Request; visit: Visit; walk: Walk },
): void {
  const { exchange, sequence, request, visit, walk } = dumping;
  try {
    for (let at = 0; at < datagram.length;) {
      if (datagram.length - at < NLMSG_HEADER) throw new MalformedError("message header", at);
      const length = u32At(datagram, at);
      if (length < NLMSG_HEADER || length > datagram.length - at) throw new MalformedError("message length", at);
      const type = datagram[at + 4]! | (datagram[at + 5]! << 8);
      const isOurs = u32At(datagram, at + 8) === sequence && u32At(datagram, at + 12) === exchange.port;
      if (isOurs) {
        if (datagram[at + 6]! & NLM_F_DUMP_INTR) walk.isWhole = false;
        if (type === NLMSG_ERROR || type === NLMSG_DONE) {
          walk.isDone = true;
          const [message] = readMessages(datagram.subarray(at, at + length));
          if (message) {
            throwIfRefused(request.operation, type === NLMSG_DONE ? decodeDone(message) : decodeAck(message));
          }
        } else if (type === NLMSG_OVERRUN) {
          walk.isWhole = false;
        } else if (type !== NLMSG_NOOP && !walk.error) {
          visit(type, datagram, at + NLMSG_HEADER, at + length);
        }
      }
      at += (length + 3) & ~3;
    }
  } catch (error) {
    walk.error ??= error instanceof MalformedError ? undecodable(request.operation, error) : error;
  }
}

/** Encodes one request as a datagram of its own. */
export function encodeRequest(request: Request, sequence: number, flags: number): Uint8Array {
  const writer = new ByteWriter(256);
  putMessage(
    writer,
    { type: request.type, flags: NLM_F_REQUEST | flags | (request.flags ?? 0), sequence },
    request.body,
  );
  return writer.view();
}

/** The kernel's refusal as an error, with its own words where it has any. */
export function refusal(operation: string, ack: Ack): NetlinkError {
  return new NetlinkError(operation, ack.errno, errnoCode(ack.errno), ack.text || errnoText(ack.errno), ack.offset);
}

function throwIfRefused(operation: string, ack: Ack): void {
  if (ack.errno !== 0) throw refusal(operation, ack);
}

function undecodable(operation: string, error: MalformedError): NetlinkError {
  return new NetlinkError(operation, EBADMSG, errnoCode(EBADMSG), error.message);
}

function attempt<T>(operation: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw error instanceof MalformedError ? undecodable(operation, error) : error;
  }
}

function ackOf(operation: string, message: Message): Ack {
  return attempt(operation, () => decodeAck(message));
}

function replies(exchange: Exchange, operation: string): Message[] {
  const datagram = exchange.receive();
  return attempt(operation, () => [...readMessages(datagram)].filter((message) => message.port === exchange.port));
}
