/**
 * The fault switch of the in-memory kernel: which operations fail with which errno, which events are lost, how slow a
 * call is. One switch belongs to one handle on a namespace, so a test can disturb the kernel through a healthy handle
 * while the code under test holds the faulty one.
 */

import { NetlinkError } from "../netlink/error.ts";

/** The errnos that rtnetlink answers with (asm-generic/errno.h). */
const errnos = {
  EPERM: 1,
  ESRCH: 3,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ENOBUFS: 105,
} as const;

/** The name of an errno that the in-memory kernel knows. */
export type ErrnoName = keyof typeof errnos;

/** The kernel's refusal, as the real ports throw it. */
export function refusal(operation: string, code: ErrnoName, message: string): NetlinkError {
  return new NetlinkError(operation, errnos[code], code, message);
}

/** Which operations fail: those whose text ("route replace 10.0.0.0/8") matches, after `skip` of them, `times` times. */
export interface FaultRule {
  readonly matching: RegExp;
  readonly code: ErrnoName;
  readonly skip?: number;
  readonly times?: number;
}

/** The faults of one handle. */
export class Faults {
  #rules: { rule: FaultRule; seen: number }[] = [];
  /** While true, events are lost; the first one that gets through again is preceded by `resync`, as after ENOBUFS. */
  dropsEvents = false;
  /** Awaited before each operation; a test holds calls up with it. */
  delay: ((operation: string) => Promise<void>) | undefined;
  /** Every operation that was asked for, in order. */
  readonly operations: string[] = [];

  /** Adds a rule; the returned function takes it away. */
  fail(rule: FaultRule): () => void {
    const entry = { rule, seen: 0 };
    this.#rules.push(entry);
    return () => void (this.#rules = this.#rules.filter((other) => other !== entry));
  }

  /** Takes all rules and the delay away. */
  clear(): void {
    this.#rules = [];
    this.delay = undefined;
    this.dropsEvents = false;
  }

  /** Records the operation; throws the NetlinkError of the first rule that it falls under. */
  check(operation: string): void {
    this.operations.push(operation);
    for (const entry of this.#rules) {
      const { matching, code, skip = 0, times = Infinity } = entry.rule;
      if (!matching.test(operation)) continue;
      const turn = entry.seen++ - skip;
      if (turn >= 0 && turn < times) throw refusal(operation, code, "injected fault");
    }
  }
}
