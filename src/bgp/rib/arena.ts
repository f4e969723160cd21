/**
 * Many small byte strings in one growing buffer: a string costs its octets and no object.
 *
 * Freed room is kept by size (rounded up to 8 octets) and used again for strings of that size.
 */
export class Arena {
  /** The buffer; replaced when it grows, so never keep a view across a `take`. */
  bytes = new Uint8Array(65536);
  #end = 0;
  #live = 0;
  #free = new Map<number, number[]>();

  /** Octets in use, rounding included. */
  get used(): number {
    return this.#live;
  }

  /** Room for `length` octets, which the caller fills in `bytes`: where it begins. */
  take(length: number): number {
    const room = length + 7 & ~7;
    this.#live += room;
    return this.#free.get(room)?.pop() ?? this.#extend(room);
  }

  #extend(room: number): number {
    const at = this.#end;
    this.#end += room;
    if (this.#end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.#end));
      grown.set(this.bytes);
      this.bytes = grown;
    }
    return at;
  }

  /** Gives the room of a string back. */
  free(at: number, length: number): void {
    const room = length + 7 & ~7;
    this.#live -= room;
    const list = this.#free.get(room);
    if (list) list.push(at);
    else this.#free.set(room, [at]);
  }
}
