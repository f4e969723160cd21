/**
 * Keeps our nf_tables tables as they are desired: one ruleset in, reports of changes in, `apply` out.
 *
 *     desire, observe -> [read when in doubt, mend holes] -> plan the difference -> one transaction at the generation that was read
 *         ok        -> what was planned is what stands
 *         ERESTART  -> somebody changed something in between: read again, at once, a few times
 *         refused   -> the old rules stand whole: read again and try once more; then make the tables anew in one
 *                      transaction; then wait, longer each time
 *
 * A failure leaves the ruleset dirty. What stands is known from reading and from our own transactions; anybody else's change
 * of our tables is reported and read. The caller owns the timers (`nextDue`) and lets one call of `apply` run at a time.
 */

import type { Clock } from "../lib/clock.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { Ruleset } from "../netlink/nft/ruleset.ts";
import { type Known, knownOf, makePlan } from "./firewall_plan.ts";
import { type Firewall, FirewallError, type FirewallEvent } from "./firewall_port.ts";
import type { Failure } from "./table_reconciler.ts";

/** Milliseconds after which the tables are read again without a reason, and the longest wait between two tries. */
export const firewallResync = 180_000, longestWait = 10_000;

const waitAfterReport = 500;

/** Reads and transactions that one call of `apply` makes before it leaves the rest to the next. */
const TRIES = 6;

/** Keeps the firewall. */
export class FirewallReconciler {
  #desired: Ruleset | undefined;
  /** The last that stood whole. */
  #stood: Ruleset | undefined;
  #known: Known = new Map();
  #generation: number | undefined;
  #isDoubtful = true;
  #isDirty = false;
  #lastRead = -Infinity;
  /** Whether what is not desired was left standing. */
  #hasLeftovers = true;
  #failure: { readonly error: Error; readonly attempts: number; readonly due: number } | undefined;

  constructor(readonly firewall: Firewall, readonly clock: Clock, readonly resync = firewallResync) {}

  /** Sets what should stand, whole. Keep the objects of chains and sets that did not change. */
  desire(ruleset: Ruleset): void {
    if (ruleset === this.#desired) return;
    this.#desired = ruleset;
    this.#isDirty = true;
    // A new ruleset may mend what was refused.
    if (this.#failure) this.#failure = { ...this.#failure, due: 0 };
  }

  /** Takes a report in; a wait after a refusal becomes short, because what stood in the way may have gone. */
  observe(_event: FirewallEvent): void {
    this.#isDoubtful = true;
    const soon = this.clock.monotonic() + waitAfterReport;
    if (this.#failure && this.#failure.due > soon) this.#failure = { ...this.#failure, due: soon };
  }

  /** Whether `apply` has something to do that does not wait for its time. */
  get isDirty(): boolean {
    return !this.#failure && (this.#isDirty || this.#isDoubtful);
  }

  /** Whether the desired ruleset stands, as far as is known. */
  get stands(): boolean {
    return this.#desired !== undefined && !this.#isDirty && !this.#isDoubtful && !this.#failure;
  }

  /** When `apply` is next worth calling without a new event, on the clock's monotonic time. */
  nextDue(): number {
    if (this.#failure) return this.#failure.due;
    return this.#isDirty || this.#isDoubtful ? 0 : this.#lastRead + this.resync;
  }

  /** Why the desired ruleset does not stand. */
  failures(): Failure[] {
    return this.#failure ? [{ table: "firewall", key: "", error: this.#failure.error }] : [];
  }

  /**
   * Makes the kernel's tables as desired; without `mayRemove` what is not desired stays. Returns how many commands were
   * applied. Never throws what the kernel or the ruleset is to blame for: see `failures`.
   */
  async apply({ mayRemove }: { readonly mayRemove: boolean }): Promise<number> {
    const now = this.clock.monotonic();
    if (this.#failure && this.#failure.due > now || !this.#desired) return 0;
    if (now - this.#lastRead >= this.resync) this.#isDoubtful = true;
    if (!this.#isDirty && !this.#isDoubtful && !(mayRemove && this.#hasLeftovers)) return 0;
    let done = 0, refusals = 0;
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        const isRepair = this.#isDoubtful && this.#stood === this.#desired && refusals === 0;
        if (this.#isDoubtful) await this.#read();
        // Of what stood before, holes are mended first: comparing every rule takes as long as reading them.
        if (isRepair && this.#stood === this.#desired) {
          done += await this.#transact(this.#desired, { mayRemove, isQuick: true });
        }
        // From here to the transaction nothing waits: what is desired cannot change in between.
        done += await this.#transact(this.#desired, { mayRemove, rebuild: refusals >= 2 });
        if (mayRemove && !this.#isDirty) this.#stood = this.#desired;
        this.#failure = undefined;
        return done;
      } catch (error) {
        if (!isBlamable(error)) throw error;
        this.#isDoubtful = true;
        const isConflict = error instanceof FirewallError && error.code === "ERESTART";
        if (!isConflict) refusals++;
        const isHopeless = error instanceof RangeError || error instanceof NetlinkError || refusals > 2;
        if (isHopeless || tries === TRIES - 1) {
          this.#fail(error);
          return done;
        }
      }
    }
    return done;
  }

  async #read(): Promise<void> {
    // Reports that come while it is read are about something newer.
    this.#isDoubtful = false;
    const actual = await this.firewall.read();
    this.#known = knownOf(actual);
    this.#generation = actual.generation;
    this.#lastRead = this.clock.monotonic();
    this.#isDirty = this.#hasLeftovers = true;
  }

  async #transact(
    desired: Ruleset,
    { mayRemove, ...how }: { readonly mayRemove: boolean; readonly rebuild?: boolean; readonly isQuick?: boolean },
  ): Promise<number> {
    const plan = makePlan(this.#known, desired, { mayRemove, ...how });
    let done = 0;
    for (const commands of plan.ahead) {
      this.#generation = await this.firewall.apply(commands, this.#atGeneration());
      done += commands.length;
    }
    if (plan.commands.length > 0) {
      this.#generation = await this.firewall.apply(plan.commands, this.#atGeneration());
      done += plan.commands.length;
    }
    plan.settle(this.#known);
    if (how.isQuick) return done;
    if (this.#desired === desired) this.#isDirty = false;
    this.#hasLeftovers = !mayRemove;
    return done;
  }

  #atGeneration(): { generation?: number } {
    return this.#generation === undefined ? {} : { generation: this.#generation };
  }

  #fail(error: Error): void {
    const attempts = (this.#failure?.attempts ?? 0) + 1;
    const wait = Math.min(longestWait, 50 * 2 ** Math.min(attempts, 10));
    this.#failure = { error, attempts, due: this.clock.monotonic() + wait };
  }
}

/** Whether the kernel or the ruleset is to blame, and not ourselves. */
function isBlamable(error: unknown): error is FirewallError | NetlinkError | RangeError {
  return error instanceof FirewallError || error instanceof NetlinkError || error instanceof RangeError;
}
