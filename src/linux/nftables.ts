/**
 * The `Firewall` port over nf_tables netlink, in one network namespace.
 *
 * A transaction is one datagram, whatever its size: the send buffer grows with it (an element takes 30 to 60 bytes, so a
 * million of them 60 MB). The kernel judges it inside the send and has queued its answers when the send returns. While our
 * own transaction runs, the socket that hears of changes leaves its group, so that a large one costs no reports and loses
 * none; the generation tells afterwards whether somebody else got in between.
 *
 * In: commands. Out: the new generation, or `FirewallError` with the command that the kernel objects to and its words.
 */

import { type Firewall, FirewallError, type FirewallEvent } from "../dataplane/firewall_port.ts";
import { EAGAIN, EBADMSG, EINVAL, EMSGSIZE, ENOBUFS, errnoCode, errnoText } from "../netlink/errno.ts";
import { NetlinkError } from "../netlink/error.ts";
import { MalformedError } from "../netlink/malformed.ts";
import { type Ack, decodeAck, NLMSG_ERROR, readMessages } from "../netlink/message.ts";
import type { Command } from "../netlink/nft/command.ts";
import { type Batch, CommandError, encodeBatch } from "../netlink/nft/message.ts";
import { describeCommand } from "../netlink/nft/print.ts";
import type { TableFamily } from "../netlink/nft/ruleset.ts";
import { setSocketInt, SyscallError } from "./libc.ts";
import { type Namespace, openNamespace } from "./namespace.ts";
import { NETLINK_NETFILTER, type NetlinkSocket, openNetlink } from "./netlink_socket.ts";
import { readGeneration, readRuleset } from "./nftables_read.ts";
import { type Reports, watchReports } from "./nftables_watch.ts";
import { makePause, nextTurn } from "./pause.ts";

const SOL_SOCKET = 1, SO_SNDBUF = 7, SO_SNDBUFFORCE = 32;
/** What the socket opens with. */
const SEND_BUFFER = 4 << 20;
/** More answers than this to one transaction are not read one by one. */
const MAX_ANSWERS = 100_000;
const ERESTART = 85;
/** Bytes of a transaction after which others get their turn. */
const LARGE = 1 << 20;

/**
 * Opens the packet filter of a namespace (named as for `openNamespace`; the calling thread's own when left out). Throws
 * `NamespaceError` or `SyscallError`.
 */
export function openFirewall(namespace: string | Namespace = ""): Firewall {
  const opened = typeof namespace === "string" ? openNamespace(namespace) : undefined;
  const target = opened ?? namespace as Namespace;
  try {
    return makeFirewall(target, openNetlink({ namespace: target, protocol: NETLINK_NETFILTER }), () => opened?.close());
  } catch (error) {
    opened?.close();
    throw error;
  }
}

function makeFirewall(namespace: Namespace, socket: NetlinkSocket, closed: () => void): Firewall {
  // Dumps step aside while they run, so they have a socket of their own and take turns.
  let dumps: NetlinkSocket | undefined;
  let previous: Promise<unknown> = Promise.resolve();
  let isOpen = true;
  const reports = new Set<Reports>();
  const intervalSets = new Set<string>();
  let sendBuffer = SEND_BUFFER;

  const makeRoom = (bytes: number) => {
    const wanted = bytes + 4096;
    if (wanted <= sendBuffer) return;
    try {
      setSocketInt(socket.fd, SOL_SOCKET, SO_SNDBUFFORCE, wanted);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      setSocketInt(socket.fd, SOL_SOCKET, SO_SNDBUF, wanted);
    }
    sendBuffer = wanted;
  };

  const transact = (commands: readonly Command[], generation: number | undefined) => {
    const before = readGeneration(socket);
    if (generation !== undefined && generation !== before && !isUntouched(reports)) {
      throw refused("apply a transaction", undefined, {
        errno: ERESTART,
        text: "the ruleset changed since it was read",
      });
    }
    const batch = encode(commands, socket, before, intervalSets);
    makeRoom(batch.bytes.length);
    for (const report of reports) report.deafen();
    try {
      send(socket, batch, commands);
    } finally {
      for (const report of reports) report.listen();
    }
    note(commands, intervalSets);
    const after = readGeneration(socket);
    // A transaction that changes nothing makes no generation.
    if (after === before) return { generation: before, size: batch.bytes.length };
    if (after !== next(before)) { for (const report of reports) report.missed(); }
    return { generation: next(before), size: batch.bytes.length };
  };

  return {
    read() {
      const turn = previous.then(async () => {
        if (!isOpen) throw new Error("Cannot list our tables: the firewall was closed");
        dumps ??= openNetlink({ namespace, protocol: NETLINK_NETFILTER });
        for (const report of reports) report.forget();
        const ruleset = await readRuleset(dumps, makePause());
        intervalSets.clear();
        for (const { family, sets } of ruleset.tables.values()) {
          for (const { name, isInterval } of sets.values()) if (isInterval) intervalSets.add(`${family} ${name}`);
        }
        return ruleset;
      });
      previous = turn.catch(() => undefined);
      return turn;
    },
    async apply(commands, { generation } = {}) {
      const applied = transact(commands, generation);
      if (applied.size > LARGE) await nextTurn();
      return applied.generation;
    },
    watch(sink: (event: FirewallEvent) => void) {
      const watched = watchReports(namespace, sink);
      reports.add(watched);
      return () => {
        reports.delete(watched);
        watched.stop();
      };
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      for (const report of reports) report.stop();
      socket.close();
      void previous.then(() => dumps?.close()).finally(closed);
    },
  };
}

/** The generation after this one; 0 is left out. */
function next(generation: number): number {
  return generation === 0xffffffff ? 1 : generation + 1;
}

/** Whether all that changed since the caller's reading was in other tables. Nobody knows without a watch. */
function isUntouched(reports: ReadonlySet<Reports>): boolean {
  return reports.size > 0 && [...reports].every((report) => report.drain() === "others only");
}

function encode(
  commands: readonly Command[],
  socket: NetlinkSocket,
  generation: number,
  intervalSets: ReadonlySet<string>,
): Batch {
  // Numbers for far more messages than commands make: a rule of ten anonymous sets has 21.
  const first = socket.sequence(commands.length * 64 + 1024);
  try {
    return encodeBatch(commands, {
      first,
      generation,
      isIntervalSet: (family: TableFamily, set) => intervalSets.has(`${family} ${set}`),
    });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    throw refused(describe(commands, error.index), error.index, { errno: EINVAL, text: error.message });
  }
}

/** Keeps in mind which sets hold intervals. */
function note(commands: readonly Command[], intervalSets: Set<string>): void {
  for (const command of commands) {
    if (command.op === "add set") {
      const key = `${command.family} ${command.set.name}`;
      if (command.set.isInterval) intervalSets.add(key);
      else intervalSets.delete(key);
    }
  }
}

/** Sends a batch and reads all answers; throws `FirewallError` for the first refusal. */
function send(socket: NetlinkSocket, batch: Batch, commands: readonly Command[]): void {
  if (commands.length === 0) return;
  const firstSequence = batch.first;
  try {
    socket.send(batch.bytes);
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    const text = error.errno === EMSGSIZE || error.errno === ENOBUFS
      ? `a transaction of ${batch.bytes.length} bytes is too large for the kernel: ${error.kernelMessage}`
      : error.kernelMessage;
    throw refused("send a transaction", undefined, { errno: error.errno, text });
  }
  const answers = { isAcked: false, first: undefined as FirewallError | undefined, isLost: false };
  for (let count = 0; count < MAX_ANSWERS; count++) {
    let datagram;
    try {
      datagram = socket.poll();
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      answers.isLost = true;
      continue;
    }
    if (!datagram) break;
    readAnswers(datagram, socket.port, (sequence, ack) => {
      const at = (sequence - firstSequence) >>> 0;
      if (at >= batch.count) return;
      answers.isAcked = true;
      if (ack.errno === 0 || answers.first) return;
      const index = batch.commandAt(at);
      answers.first = refused(describe(commands, index), index, ack);
    });
  }
  if (answers.first) throw answers.first;
  if (answers.isLost) {
    throw refused("apply a transaction", undefined, { errno: ENOBUFS, text: "the kernel's answers were lost" });
  }
  if (!answers.isAcked) {
    throw refused("apply a transaction", undefined, { errno: EAGAIN, text: "the kernel did not answer" });
  }
}

function readAnswers(datagram: Uint8Array, port: number, visit: (sequence: number, ack: Ack) => void): void {
  try {
    for (const message of readMessages(datagram)) {
      if (message.type === NLMSG_ERROR && message.port === port) visit(message.sequence, decodeAck(message));
    }
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    throw refused("apply a transaction", undefined, { errno: EBADMSG, text: error.message });
  }
}

function describe(commands: readonly Command[], index: number | undefined): string {
  const command = index === undefined ? undefined : commands[index];
  return command ? describeCommand(command) : `apply a transaction of ${commands.length} commands`;
}

function refused(operation: string, index: number | undefined, { errno, text }: Ack): FirewallError {
  return new FirewallError(operation, index, errno, errnoCode(errno), text || errnoText(errno));
}
