/**
 * Sessions and routes with Debian's BIRD 2, FRR and GoBGP: both ways, both families, inside of an AS and between two with
 * 4-octet numbers, and through the troubles that sessions have.
 */

import assert from "node:assert/strict";
import { DEFAULT_PEER, EMPTY_CONFIG, type PeerConfig, type SpeakerConfig } from "../../src/bgp/config.ts";
import {
  canRun,
  type Daemon,
  eventually,
  type Hosts,
  LEFT,
  makeHosts,
  RIGHT,
  run,
  startTortie,
  type TortieSpeaker,
} from "./daemons.ts";
import { type Kind, KINDS, type SessionPlan } from "./kinds.ts";

const INTERNAL: SessionPlan = { leftAs: 64512, rightAs: 64512 };
const EXTERNAL: SessionPlan = { leftAs: 4200000000, rightAs: 4200000001 };
const OPEN = 0, UPDATE = 1, NOTIFICATION = 2, REFRESH = 4;

function configFor(kind: Kind, plan: SessionPlan, change: Partial<PeerConfig> = {}): SpeakerConfig {
  const base = {
    ...DEFAULT_PEER,
    as: plan.rightAs,
    localAs: plan.leftAs,
    isSameAs: plan.leftAs === plan.rightAs,
    holdTime: plan.holdTime ?? 90,
    ...change,
  };
  const peers: PeerConfig[] = kind.hasOneSession
    ? [{ ...base, name: "right", address: RIGHT.v4, families: [4, 6] }]
    : [{ ...base, name: "right", address: RIGHT.v4, families: [4] }, {
      ...base,
      name: "right6",
      address: RIGHT.v6,
      families: [6],
    }];
  const pool = { isExportDisabled: false, encapsulation: "none", isProgrammedBySpeaker: true } as const;
  return {
    ...EMPTY_CONFIG,
    nodeName: "left",
    routerId: LEFT.v4,
    localAs: plan.leftAs,
    families: [4, 6],
    nodeAddress4: LEFT.v4,
    nodeAddress6: LEFT.v6,
    peers,
    pools: [{ ...pool, cidr: "172.17.0.0/16" }, { ...pool, cidr: "fd17::/32" }],
    aggregates: ["172.17.8.0/26", "172.17.9.0/26", "fd17:8::/122", "fd17:9::/122"].map((cidr) => ({
      cidr,
      hasBlackhole: true,
    })),
    fib: { ...EMPTY_CONFIG.fib, isInstalling: true, isLearning: true },
  };
}

/** Blocks of the left host as the agent leaves them: blackhole routes of protocol 80. */
async function blocks(hosts: Hosts, verb: "add" | "del", number: 8 | 9): Promise<void> {
  await run("ip", "-n", hosts.left, "route", verb, "blackhole", `172.17.${number}.0/26`, "proto", "80");
  await run("ip", "-n", hosts.left, "-6", "route", verb, "blackhole", `fd17:${number}::/122`, "proto", "80");
}

async function fib(hosts: Hosts): Promise<string> {
  return await run("ip", "-n", hosts.left, "route") + await run("ip", "-n", hosts.left, "-6", "route");
}

async function isUp(speaker: TortieSpeaker): Promise<boolean> {
  const peers = await speaker.ask({ kind: "peers" });
  return peers.length > 0 && peers.every((peer) => peer.state === "Established");
}

const holds = (text: string, ...parts: string[]) => parts.every((part) => text.includes(part));

interface Scene {
  readonly hosts: Hosts;
  readonly daemon: Daemon;
  readonly speaker: TortieSpeaker;
  readonly kind: Kind;
}

/** Both sides up and told each other their first routes. */
async function withSession(kind: Kind, plan: SessionPlan, play: (scene: Scene) => Promise<void>): Promise<void> {
  const hosts = await makeHosts();
  try {
    await blocks(hosts, "add", 8);
    const daemon = await kind.start(hosts, plan);
    const speaker = startTortie(hosts, configFor(kind, plan));
    await eventually("the sessions", () => isUp(speaker));
    await routesBothWays({ hosts, daemon, speaker, kind });
    await play({ hosts, daemon, speaker, kind });
    assert.equal(/^error /m.test(speaker.log()), false, speaker.log());
  } finally {
    await hosts.close();
  }
}

async function routesBothWays({ hosts, daemon, kind }: Scene): Promise<void> {
  await eventually(
    "our routes in the daemon",
    async () => holds(await kind.routes(daemon), "172.17.8.0/26", "fd17:8::/122"),
  );
  await eventually(
    "its routes in our kernel",
    async () =>
      holds(await fib(hosts), `10.50.0.0/24 via ${RIGHT.v4} dev eth0 proto bird`, `fd50::/64 via fe80`) ||
      holds(
        await fib(hosts),
        `10.50.0.0/24 via ${RIGHT.v4} dev eth0 proto bird`,
        `fd50::/64 via ${RIGHT.v6} dev eth0 proto bird`,
      ),
  );
}

function scene(kind: Kind, what: string, play: () => Promise<void>): void {
  const isAble = canRun(...kind.programs);
  Deno.test({
    name: `with ${kind.name} ${what}${isAble ? "" : " (skipped: it is not installed)"}`,
    ignore: !isAble,
    fn: play,
  });
}

for (const kind of KINDS) {
  for (const [what, plan] of [["inside of an AS", INTERNAL], ["between 4-octet AS numbers", EXTERNAL]] as const) {
    scene(
      kind,
      `${what}, routes come, go and are refreshed in both directions`,
      () =>
        withSession(kind, plan, async ({ hosts, daemon, speaker }) => {
          const [route] = await speaker.ask({ kind: "routes", prefix: "10.50.0.0/24" });
          assert.deepEqual(route?.asPath, plan === INTERNAL ? [] : [plan.rightAs]);
          if (plan === EXTERNAL) assert.ok((await kind.routes(daemon)).includes(String(plan.leftAs)));

          await kind.announceLate(daemon);
          await eventually("its late routes", async () => holds(await fib(hosts), "10.51.0.0/24 via", "fd51::/64 via"));
          await kind.withdrawLate(daemon);
          await eventually("its late routes gone", async () => !/10\.51\.0\.0|fd51::/.test(await fib(hosts)));

          await blocks(hosts, "add", 9);
          await eventually(
            "our late routes",
            async () => holds(await kind.routes(daemon), "172.17.9.0/26", "fd17:9::/122"),
          );
          await blocks(hosts, "del", 9);
          await eventually(
            "our late routes gone",
            async () => !/172\.17\.9\.0|fd17:9::/.test(await kind.routes(daemon)),
          );

          const before = await speaker.peer("right");
          if (kind.refresh) {
            await kind.refresh(daemon);
            await eventually("its ROUTE-REFRESH", async () => {
              const now = await speaker.peer("right");
              const grew = (which: number, way: "received" | "sent") =>
                (now?.messages[way][which] ?? 0) > (before?.messages[way][which] ?? 0);
              return grew(REFRESH, "received") && grew(UPDATE, "sent");
            });
          }
          assert.deepEqual(await speaker.ask({ kind: "refresh", peer: "right", direction: "in" }), { done: true });
          await eventually(
            "its answer to ours",
            async () =>
              ((await speaker.peer("right"))?.messages.received[UPDATE] ?? 0) >
                (before?.messages.received[UPDATE] ?? 0),
          );
          await routesBothWays({ hosts, daemon, speaker, kind });
          assert.equal((await speaker.peer("right"))?.messages.received[OPEN], 1);
          assert.equal((await speaker.peer("right"))?.messages.received[NOTIFICATION], 0);
        }),
    );
  }

  scene(kind, "the wrong AS is refused with OPEN error 2, and both sides say so", async () => {
    const hosts = await makeHosts();
    try {
      const daemon = await kind.start(hosts, { ...EXTERNAL, believedAs: EXTERNAL.leftAs });
      const speaker = startTortie(hosts, configFor(kind, { ...EXTERNAL, rightAs: 65099 }));
      await eventually("the refusal in our log", async () => {
        await Promise.resolve();
        return /Bad Peer AS \(2\/2\) sent: peer has AS 4200000001, AS 65099 is configured/.test(speaker.log());
      });
      assert.match((await speaker.peer("right"))?.lastError ?? "", /Bad Peer AS/);
      await eventually("the refusal in its log", async () => kind.refused.test(await daemon.log()));
    } finally {
      await hosts.close();
    }
  });

  scene(kind, "being taken for another AS is told with the peer's reason", async () => {
    const hosts = await makeHosts();
    try {
      await kind.start(hosts, { ...EXTERNAL, believedAs: 65098 });
      const speaker = startTortie(hosts, configFor(kind, EXTERNAL));
      await eventually("the refusal in our log", async () => {
        await Promise.resolve();
        return /Bad Peer AS \(2\/2\) received/.test(speaker.log());
      });
      assert.notEqual((await speaker.peer("right"))?.state, "Established");
    } finally {
      await hosts.close();
    }
  });

  scene(
    kind,
    "a killed and restarted peer comes back, and its routes leave the kernel meanwhile",
    () =>
      withSession(kind, INTERNAL, async ({ hosts, daemon, speaker }) => {
        await daemon.stop("SIGKILL");
        await eventually("the end of the session", async () => !(await isUp(speaker)));
        await eventually("its routes gone", async () => !/10\.50\.0\.0|fd50::/.test(await fib(hosts)));
        const again = await kind.start(hosts, INTERNAL);
        await eventually("the sessions again", () => isUp(speaker));
        await routesBothWays({ hosts, daemon: again, speaker, kind });
      }),
  );

  scene(
    kind,
    "a frozen peer is given up when the hold time of 3 seconds is over, and comes back",
    () =>
      withSession(kind, { ...INTERNAL, holdTime: 3 }, async ({ hosts, daemon, speaker }) => {
        daemon.freeze();
        await eventually("the end of the session", async () => !(await isUp(speaker)));
        assert.match(speaker.log(), /Hold Timer Expired \(4\/0\) sent/);
        daemon.thaw();
        await eventually("the sessions again", () => isUp(speaker));
        await routesBothWays({ hosts, daemon, speaker, kind });
      }),
  );

  if (!kind.collides) continue;
  scene(kind, "two connections at once end as one session", async () => {
    const hosts = await makeHosts();
    try {
      await blocks(hosts, "add", 8);
      // Handshakes pass and OPENs do not, until both sides have connected: then both OPENs arrive on both connections.
      for (const hook of ["input", "output"]) {
        await hosts.exec(
          hosts.left,
          "nft",
          `add table inet collide; add chain inet collide ${hook} { type filter hook ${hook} priority 0; }; ` +
            `add rule inet collide ${hook} tcp flags & psh == psh drop`,
        );
      }
      const daemon = await kind.start(hosts, INTERNAL);
      const speaker = startTortie(hosts, configFor(kind, INTERNAL));
      await eventually("two connections", async () => {
        const lines = (await hosts.exec(hosts.left, "ss", "-Htn", "state", "established")).trim().split("\n");
        const v4 = lines.filter((line) => line.includes(`${RIGHT.v4}:`));
        return v4.some((line) => line.includes(`${RIGHT.v4}:179`)) &&
          v4.some((line) => line.includes(`${LEFT.v4}:179`));
      });
      await hosts.exec(hosts.left, "nft", "delete table inet collide");
      await eventually("the sessions", () => isUp(speaker), 40_000);
      await routesBothWays({ hosts, daemon, speaker, kind });
      await eventually("one connection", async () => {
        const lines = (await hosts.exec(hosts.left, "ss", "-Htn", "state", "established")).trim().split("\n");
        return lines.filter((line) => line.includes(`${RIGHT.v4}:`)).length === 1;
      });
    } finally {
      await hosts.close();
    }
  });
}
