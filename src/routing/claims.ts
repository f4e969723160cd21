/**
 * Who claims what, and who wins: a table whose keys several owners may want at once, kept so that a change costs what it
 * changes. Each owner sets all its claims at a time; the strongest claim of a key stands, the others wait behind it.
 */

/** A key's claims with the strongest first. */
interface Claim<V> {
  readonly owner: string;
  readonly value: V;
}

/** A claim that gave way to another one of the same key. */
export interface LostClaim<V> {
  readonly key: string;
  readonly owner: string;
  readonly value: V;
  readonly to: { readonly owner: string; readonly value: V };
}

/** The table; `compare` puts the stronger of two values first, and between equals the lower owner wins. */
export class ClaimTable<V> {
  readonly #byKey = new Map<string, Claim<V>[]>();
  readonly #byOwner = new Map<string, ReadonlyMap<string, V>>();
  readonly #contested = new Set<string>();
  readonly #changed = new Set<string>();

  constructor(readonly compare: (a: V, b: V) => number = () => 0) {}

  /** Sets everything that the owner claims; nothing when left out. */
  set(owner: string, claims: ReadonlyMap<string, V> = new Map()): void {
    for (const key of this.#byOwner.get(owner)?.keys() ?? []) if (!claims.has(key)) this.#replace(key, owner);
    for (const [key, value] of claims) this.#replace(key, owner, { owner, value });
    if (claims.size > 0) this.#byOwner.set(owner, claims);
    else this.#byOwner.delete(owner);
  }

  /** The winning value of a key. */
  get(key: string): V | undefined {
    return this.#byKey.get(key)?.[0]?.value;
  }

  /** The keys whose claims changed since the last call, with what wins now; undefined where nobody claims it any more. */
  takeChanges(): Map<string, V | undefined> {
    const changes = new Map([...this.#changed].map((key) => [key, this.get(key)] as const));
    this.#changed.clear();
    return changes;
  }

  /** All claims that others won. */
  lost(): LostClaim<V>[] {
    return [...this.#contested].flatMap((key) => {
      const [to, ...losers] = this.#byKey.get(key) ?? [];
      return to ? losers.map(({ owner, value }) => ({ key, owner, value, to })) : [];
    });
  }

  #replace(key: string, owner: string, claim?: Claim<V>): void {
    const claims = (this.#byKey.get(key) ?? []).filter((other) => other.owner !== owner);
    if (claim) claims.push(claim);
    claims.sort((a, b) => this.compare(a.value, b.value) || (a.owner < b.owner ? -1 : 1));
    if (claims.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, claims);
    if (claims.length > 1) this.#contested.add(key);
    else this.#contested.delete(key);
    this.#changed.add(key);
  }
}
