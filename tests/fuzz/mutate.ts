/** Messages from good and malformed ones by chance: the same seed gives the same messages. */

/** A source of chance: xorshift of 32 bits. */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) | 1;
    for (let i = 0; i < 8; i++) this.next();
  }

  /** A number from 0 up to (not including) 2^32. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    return this.next() % limit;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

const EDGES = [0, 1, 2, 3, 4, 5, 8, 15, 16, 19, 23, 31, 32, 33, 63, 64, 127, 128, 129, 192, 224, 240, 254, 255];
const HEADER = 19;

/** Cuts octets into messages by their lengths; what is no message is left out. */
export function messagesOf(bytes: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let at = 0; at + HEADER <= bytes.length;) {
    const length = bytes[at + 16]! << 8 | bytes[at + 17]!;
    if (length < HEADER || at + length > bytes.length) break;
    messages.push(bytes.slice(at, at + length));
    at += length;
  }
  return messages;
}

/** A message made of one of the seeds by up to six mutations; its header is made to fit mostly. */
export function mutate(seeds: readonly Uint8Array[], chance: Chance, most: number): Uint8Array {
  let bytes = chance.pick(seeds).slice();
  // Mostly one mutation: of several one is likely to be found first and to hide the others.
  const times = chance.below(4) === 0 ? 1 + chance.below(6) : 1;
  for (let i = 0; i < times; i++) bytes = once(bytes, seeds, chance);
  if (bytes.length > most) bytes = bytes.slice(0, most);
  if (chance.below(50) > 0 && bytes.length >= HEADER) {
    bytes.fill(0xff, 0, 16);
    bytes[16] = bytes.length >> 8;
    bytes[17] = bytes.length;
    if (bytes[18]! > 5 && chance.below(20) > 0) bytes[18] = 2;
    if (bytes[18] === 2 && chance.below(4) > 0) mendLengths(bytes);
  }
  return bytes;
}

/** Makes the two inner lengths of an UPDATE fit, so that what is wrong is found farther inside. */
function mendLengths(bytes: Uint8Array): void {
  if (bytes.length < HEADER + 4) return;
  const withdrawn = bytes[HEADER]! << 8 | bytes[HEADER + 1]!;
  if (HEADER + 4 + withdrawn > bytes.length) bytes[HEADER] = bytes[HEADER + 1] = 0;
  const at = HEADER + 2 + (bytes[HEADER]! << 8 | bytes[HEADER + 1]!);
  const room = bytes.length - at - 2;
  const attributes = bytes[at]! << 8 | bytes[at + 1]!;
  if (attributes <= room) return;
  bytes[at] = room >> 8;
  bytes[at + 1] = room;
}

function once(bytes: Uint8Array<ArrayBuffer>, seeds: readonly Uint8Array[], chance: Chance): Uint8Array<ArrayBuffer> {
  const at = bytes.length > HEADER ? HEADER + chance.below(bytes.length - HEADER) : 0;
  switch (chance.below(8)) {
    case 0:
      if (bytes.length > 0) bytes[at]! ^= 1 << chance.below(8);
      return bytes;
    case 1:
      if (bytes.length > 0) bytes[at] = chance.pick(EDGES);
      return bytes;
    case 2:
      if (bytes.length > 0) bytes[at] = chance.below(256);
      return bytes;
    case 3:
      return joined(
        bytes.subarray(0, at),
        chance.below(3) === 0 ? Uint8Array.of(0, 0) : Uint8Array.of(chance.next()),
        bytes.subarray(at),
      );
    case 4:
      return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + chance.below(6)));
    case 5: {
      const end = Math.min(bytes.length, at + 1 + chance.below(40));
      return joined(bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end));
    }
    case 6: {
      const other = chance.pick(seeds);
      const from = other.length > HEADER ? HEADER + chance.below(other.length - HEADER) : 0;
      const part = other.subarray(from, from + 1 + chance.below(64));
      return joined(bytes.subarray(0, at), part, bytes.subarray(at + part.length * chance.below(2)));
    }
    default:
      return bytes.slice(0, at + chance.below(4));
  }
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
