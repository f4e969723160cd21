/**
 * Bounded byte reader and growing byte writer for wire formats.
 *
 * BGP is big-endian, netlink is in the host's order (little-endian on every machine tortie runs on, with single
 * attributes in network order), so each access names its order. Reading past the end throws `TruncatedError`: a decoder
 * catches it once at its boundary instead of checking every field. A sub-reader cannot read past its own slice.
 */

/** A read went past the end of its slice; `offset` is counted from the start of that slice. */
export class TruncatedError extends Error {
  override readonly name = "TruncatedError";
  constructor(readonly offset: number, readonly wanted: number, readonly left: number) {
    super(`Cannot read ${wanted} bytes at offset ${offset}: ${left} left`);
  }
}

/** Reads numbers and slices off a byte array, front to back. */
export class ByteReader {
  #view: DataView;
  #offset = 0;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes already read. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes left to read. */
  get left(): number {
    return this.bytes.length - this.#offset;
  }

  #take(size: number): number {
    if (size < 0 || size > this.left) throw new TruncatedError(this.#offset, size, this.left);
    const at = this.#offset;
    this.#offset += size;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }
  u16be(): number {
    return this.#view.getUint16(this.#take(2));
  }
  u16le(): number {
    return this.#view.getUint16(this.#take(2), true);
  }
  u32be(): number {
    return this.#view.getUint32(this.#take(4));
  }
  u32le(): number {
    return this.#view.getUint32(this.#take(4), true);
  }
  i32le(): number {
    return this.#view.getInt32(this.#take(4), true);
  }
  u64be(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }
  u64le(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** The next `size` bytes as a view on the same memory. */
  take(size: number): Uint8Array {
    const at = this.#take(size);
    return this.bytes.subarray(at, at + size);
  }

  /** A reader bounded to the next `size` bytes. */
  slice(size: number): ByteReader {
    return new ByteReader(this.take(size));
  }

  /** Everything that is left, as a view on the same memory. */
  rest(): Uint8Array {
    return this.take(this.left);
  }

  skip(size: number): void {
    this.#take(size);
  }
}

/** Writes numbers and byte strings into a buffer that grows; `reserve` and `patch` fill in lengths afterwards. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written. */
  get length(): number {
    return this.#length;
  }

  /** Makes room; it may replace the buffer, so take the offset before touching `#view` or `#bytes`. */
  #grow(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }
  u16be(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
    return this;
  }
  u16le(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
    return this;
  }
  u32be(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
    return this;
  }
  u32le(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
    return this;
  }
  i32le(value: number): this {
    const at = this.#grow(4);
    this.#view.setInt32(at, value, true);
    return this;
  }
  u64be(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value);
    return this;
  }
  u64le(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  /** Appends a copy of the bytes. */
  put(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** Appends `count` zero bytes. */
  zeros(count: number): this {
    const at = this.#grow(count);
    this.#bytes.fill(0, at, at + count);
    return this;
  }

  /** Pads with zeros until the length is a multiple of `alignment`. */
  align(alignment: number): this {
    return this.zeros((alignment - this.#length % alignment) % alignment);
  }

  /** Leaves room for `size` bytes and returns their offset, to be filled by a patch. */
  reserve(size: number): number {
    return this.#grow(size);
  }
  patchU8(at: number, value: number): void {
    this.#view.setUint8(at, value);
  }
  patchU16be(at: number, value: number): void {
    this.#view.setUint16(at, value);
  }
  patchU16le(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }
  patchU32le(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  /** What was written, as a view that is valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A copy of what was written. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Forgets what was written and keeps the buffer. */
  clear(): void {
    this.#length = 0;
  }
}
