/**
 * As much of HTTP/1.1 as the node's socket needs (RFC 9110, RFC 9112): one request on a connection, bodies by
 * Content-Length, answers by Content-Length or until the connection closes.
 *
 * Our own, because the server must bound every byte and every wait of a client, and the client must start fast. The
 * parsers are pure and strict: what could be read in two ways is refused.
 */

/** A parsed head: the start line's three parts and the fields by lower-case name. */
export interface Head {
  readonly start: readonly [string, string, string];
  readonly fields: ReadonlyMap<string, string>;
}

/** The largest head, in bytes, start line and fields together. */
export const MAX_HEAD = 16 * 1024;

/** Something that is not HTTP as it is spoken here. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  constructor(readonly kind: "malformed" | "too-large" | "closed", message: string) {
    super(message);
  }
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Where a head ends (after its empty line), or -1 while that has not come; looks from `from` on. */
export function headEnd(bytes: Uint8Array, length: number, from = 0): number {
  for (let i = Math.max(0, from - 3); i + 3 < length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i + 4;
  }
  return -1;
}

/** Reads a head up to and including its empty line; throws `HttpError`. */
export function parseHead(bytes: Uint8Array): Head {
  // Bytes past ASCII would be read in as many ways as there are readers.
  if (bytes.some((byte) => byte > 126 || byte < 32 && byte !== 13 && byte !== 10 && byte !== 9)) {
    throw new HttpError("malformed", "the head holds bytes that are not printable ASCII");
  }
  const [startLine = "", ...lines] = new TextDecoder().decode(bytes).slice(0, -4).split("\r\n");
  const start = /^(\S+) (\S+) (.*)$/.exec(startLine);
  if (!start) throw new HttpError("malformed", `not a start line: ${JSON.stringify(startLine.slice(0, 80))}`);
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, Math.max(0, colon));
    if (!TOKEN.test(name) || /[\r\n]/.test(line)) {
      throw new HttpError("malformed", `not a header field: ${JSON.stringify(line.slice(0, 80))}`);
    }
    const key = name.toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = fields.get(key);
    if (before !== undefined && (key === "content-length" || key === "transfer-encoding" || key === "host")) {
      throw new HttpError("malformed", `the field ${name} is there twice`);
    }
    fields.set(key, before === undefined ? value : `${before}, ${value}`);
  }
  return { start: [start[1] ?? "", start[2] ?? "", start[3] ?? ""], fields };
}

/** The value of Content-Length in bytes, undefined without one; throws `HttpError` when it is no plain number. */
export function contentLength(fields: ReadonlyMap<string, string>): number | undefined {
  const text = fields.get("content-length");
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(text)) {
    throw new HttpError("malformed", `Content-Length is ${JSON.stringify(text)}, not a number`);
  }
  return Number(text);
}

/** Reads a connection piece by piece. */
export class ConnReader {
  #buffer = new Uint8Array(4096);
  #length = 0;

  constructor(readonly conn: { read(into: Uint8Array): Promise<number | null> }) {}

  /** The next head; undefined when the other side closed without sending anything. Throws `HttpError`. */
  async head(): Promise<Head | undefined> {
    let seen = 0;
    for (;;) {
      const end = headEnd(this.#buffer, this.#length, seen);
      if (end > MAX_HEAD || end < 0 && this.#length >= MAX_HEAD) {
        throw new HttpError("too-large", `the head is longer than ${MAX_HEAD} bytes`);
      }
      if (end >= 0) return parseHead(this.#take(end));
      seen = this.#length;
      if (!await this.#more()) {
        if (this.#length === 0) return undefined;
        throw new HttpError("closed", "the connection ended within the head");
      }
    }
  }

  /** Exactly `length` bytes; throws `HttpError` when the other side closes before. */
  async body(length: number): Promise<Uint8Array> {
    while (this.#length < length) {
      if (!await this.#more(length)) throw new HttpError("closed", `the body ended after ${this.#length} bytes`);
    }
    return this.#take(length);
  }

  /** Everything until the other side closes, at most `limit` bytes. */
  async rest(limit: number): Promise<Uint8Array> {
    while (await this.#more()) {
      if (this.#length > limit) throw new HttpError("too-large", `the body is longer than ${limit} bytes`);
    }
    return this.#take(this.#length);
  }

  /** The next line without its end, undefined at the end of the connection; `limit` bounds its bytes. */
  async line(limit: number): Promise<string | undefined> {
    let seen = 0;
    for (;;) {
      const end = this.#buffer.subarray(0, this.#length).indexOf(10, seen);
      if (end >= 0) return new TextDecoder().decode(this.#take(end + 1)).slice(0, -1);
      seen = this.#length;
      if (seen > limit) throw new HttpError("too-large", `a line is longer than ${limit} bytes`);
      if (!await this.#more()) return undefined;
    }
  }

  async #more(wanted = 0): Promise<boolean> {
    if (this.#length === this.#buffer.length) {
      const grown = new Uint8Array(Math.min(Math.max(this.#length * 2, 4096), Math.max(wanted, this.#length * 2)));
      grown.set(this.#buffer);
      this.#buffer = grown;
    }
    const read = await this.conn.read(this.#buffer.subarray(this.#length));
    if (read === null) return false;
    this.#length += read;
    return true;
  }

  #take(size: number): Uint8Array {
    const taken = this.#buffer.slice(0, size);
    this.#buffer.copyWithin(0, size, this.#length);
    this.#length -= size;
    return taken;
  }
}

/** Writes all of the bytes. */
export async function writeAll(conn: { write(bytes: Uint8Array): Promise<number> }, bytes: Uint8Array): Promise<void> {
  while (bytes.length > 0) bytes = bytes.subarray(await conn.write(bytes));
}
