/**
 * A BMP station in a host that keeps the octets it gets, and Wireshark's decoder to read them.
 *
 * The stream is cut into messages and each is put into a frame of its own, so that tshark gives one row a message.
 */

import { join } from "node:path";
import { eventually, type Hosts, run } from "./daemons.ts";

export const TSHARK = "/usr/bin/tshark";
export const PORT = 11019;

const PROGRAM = `
import socket, sys, time
path, is_deaf = sys.argv[1], sys.argv[2] == "deaf"
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if is_deaf: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.bind(("0.0.0.0", ${PORT}))
s.listen(5)
open(path, "wb").close()
held = []
while True:
    c, _ = s.accept()
    held.append(c)
    while is_deaf: time.sleep(1)
    with open(path, "ab", 0) as f:
        while True:
            b = c.recv(65536)
            if not b: break
            f.write(b)
`;

/** A station at work. */
export interface BmpStation {
  /** The octets so far. */
  octets(): Promise<Uint8Array>;
  stop(): Promise<void>;
}

/** Starts a station in the right host; a deaf one takes connections and reads nothing. */
export async function startStation(hosts: Hosts, kind: "hearing" | "deaf" = "hearing"): Promise<BmpStation> {
  const path = join(hosts.folder, `bmp-${kind}`);
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", hosts.right, "python3", "-c", PROGRAM, path, kind],
    stdin: "null",
    stdout: "null",
    stderr: "inherit",
  }).spawn();
  let isStopped = false;
  const station: BmpStation = {
    octets: () => Deno.readFile(path),
    async stop() {
      if (isStopped) return;
      isStopped = true;
      child.kill("SIGKILL");
      await child.status;
    },
  };
  hosts.onClose(station.stop);
  await eventually("the station's file", async () => (await Deno.stat(path)).isFile);
  return station;
}

/** The whole messages of a stream; an unfinished one at the end is left out. */
export function messagesOf(stream: Uint8Array): Uint8Array[] {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.length);
  const messages: Uint8Array[] = [];
  for (let at = 0; at + 6 <= stream.length;) {
    const length = view.getUint32(at + 1);
    if (stream[at] !== 3 || length < 6) throw new Error(`no BMP message at octet ${at}`);
    if (at + length > stream.length) break;
    messages.push(stream.subarray(at, at + length));
    at += length;
  }
  return messages;
}

/** What tshark reads in each message: the fields in that order, several values of one joined by commas. */
export async function decode(hosts: Hosts, stream: Uint8Array, fields: readonly string[]): Promise<string[][]> {
  const path = join(hosts.folder, "bmp.pcap");
  await Deno.writeFile(path, capture(messagesOf(stream)));
  const text = await run(
    TSHARK,
    ...["-r", path, "-d", `tcp.port==${PORT},bmp`, "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"],
    ...fields.flatMap((field) => ["-e", field]),
  );
  return text.trimEnd().split("\n").map((line) => line.split("|"));
}

/** A capture file (pcap, Ethernet) with each message as one TCP segment to the station. */
function capture(messages: readonly Uint8Array[]): Uint8Array {
  const HEADERS = 14 + 20 + 20;
  const out = new Uint8Array(24 + messages.reduce((sum, { length }) => sum + 16 + HEADERS + length, 0));
  const view = new DataView(out.buffer);
  view.setUint32(0, 0xa1b2c3d4);
  view.setUint16(4, 2);
  view.setUint16(6, 4);
  view.setUint32(16, 262144);
  view.setUint32(20, 1);
  let at = 24, sequence = 1;
  for (const message of messages) {
    const size = HEADERS + message.length;
    view.setUint32(at + 8, size);
    view.setUint32(at + 12, size);
    const ethernet = at + 16, ip = ethernet + 14, tcp = ip + 20;
    view.setUint16(ethernet + 12, 0x0800);
    view.setUint8(ip, 0x45);
    view.setUint16(ip + 2, size - 14);
    view.setUint8(ip + 8, 64);
    view.setUint8(ip + 9, 6);
    out.set([10, 77, 0, 1, 10, 77, 0, 2], ip + 12);
    view.setUint16(tcp, 50000);
    view.setUint16(tcp + 2, PORT);
    view.setUint32(tcp + 4, sequence);
    view.setUint8(tcp + 12, 0x50);
    view.setUint8(tcp + 13, 0x18);
    view.setUint16(tcp + 14, 65535);
    out.set(message, tcp + 20);
    at += 16 + size;
    sequence += message.length;
  }
  return out;
}
