/** Client and server together: every call arrives as it was made, every answer and every refusal comes back. */

import assert from "node:assert/strict";
import { connectApi } from "../../../src/api/client.ts";
import { ApiError } from "../../../src/api/error.ts";
import type { ResourceEvent } from "../../../src/api/shapes.ts";
import { IpamError } from "../../../src/ipam/error.ts";
import { StoreError } from "../../../src/store/store.ts";
import { until } from "../../contract/store_suite.ts";
import { fakeNode, POOL, withServer } from "./fake_node.ts";

function apiError(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

Deno.test("every call reaches the node with its arguments and brings its answer back", async () => {
  const { api, calls } = fakeNode();
  await withServer(api, {}, async (socket) => {
    const client = connectApi(socket);
    const attach = {
      name: "web",
      netns: "web",
      ips: ["172.17.8.2"],
      labels: { role: "web", empty: "" },
      profiles: ["p"],
    };
    const made: [string, Promise<unknown>, unknown[]][] = [
      ["status", client.status(), []],
      ["reload", client.reload(), []],
      ["resources.list", client.resources.list("IPPool", { name: "a" }), ["IPPool", {
        namespace: undefined,
        name: "a",
      }]],
      [
        "resources.get",
        client.resources.get({ kind: "NetworkPolicy", name: "a/b ü?", namespace: "prod" }),
        [{ kind: "NetworkPolicy", name: "a/b ü?", namespace: "prod" }],
      ],
      ["resources.apply", client.resources.apply(POOL), [POOL, { dryRun: false }]],
      ["resources.create", client.resources.create(POOL, { dryRun: true }), [POOL, { dryRun: true }]],
      ["resources.replace", client.resources.replace(POOL, { dryRun: false }), [POOL, { dryRun: false }]],
      [
        "resources.delete",
        client.resources.delete({ kind: "IPPool", name: "rack1" }, { dryRun: true }),
        [{ kind: "IPPool", name: "rack1" }, { dryRun: true }],
      ],
      ["workloads.attach", client.workloads.attach(attach), [attach]],
      ["workloads.detach", client.workloads.detach("web"), ["web"]],
      ["workloads.list", client.workloads.list(), []],
      ["ipam.show", client.ipam.show(), []],
      ["ipam.showBlocks", client.ipam.showBlocks(), []],
      ["ipam.showIp", client.ipam.showIp("fd00::1"), ["fd00::1"]],
      ["ipam.check", client.ipam.check(), []],
      ["ipam.release", client.ipam.release("172.17.8.2"), ["172.17.8.2"]],
      ["ipam.configure", client.ipam.configure({ strictAffinity: true }), [{ strictAffinity: true }]],
      ["bgp.peers", client.bgp.peers(), []],
      ["bgp.routes", client.bgp.routes({ prefix: "10.0.0.0/8" }), [{ prefix: "10.0.0.0/8" }]],
      ["bgp.explain", client.bgp.explain("2001:db8::/32"), ["2001:db8::/32"]],
      [
        "policy.explain",
        client.policy.explain({ from: "web", to: "192.0.2.1", protocol: "tcp", port: 80 }),
        [{ from: "web", to: "192.0.2.1", protocol: "tcp", port: 80 }],
      ],
      ["policy.list", client.policy.list({ hits: true }), [{ hits: true }]],
      ["policy.lint", client.policy.lint(), []],
      ["confirm.apply", client.confirm.apply({ resources: [POOL], seconds: 60 }), [{ resources: [POOL], seconds: 60 }]],
      ["confirm.confirm", client.confirm.confirm(), []],
    ];
    for (const [name, answer, args] of made) {
      assert.deepEqual(await answer, JSON.parse(JSON.stringify({ called: name, with: args })), name);
      assert.deepEqual(calls.find((call) => call[0] === name), [name, ...args], name);
    }
    assert.equal(calls.length, made.length);
  });
});

Deno.test("what a part of the node throws comes back with its code and message", async () => {
  const thrown: [unknown, string, RegExp][] = [
    [new StoreError("missing", "/k", "Cannot change /k: it does not exist"), "missing", /^Cannot change \/k/],
    [new StoreError("readonly", "/k", "edit tortie.yaml:12"), "readonly", /tortie\.yaml:12/],
    [new StoreError("closed", "", "the store is closed"), "unavailable", /closed/],
    [new IpamError("full", "no address is left"), "refused", /^no address is left$/],
    [
      new ApiError("conflict", "it has changed", { hint: "read it again" }),
      "conflict",
      /^it has changed; read it again$/,
    ],
    [new TypeError("a fault"), "internal", /^a fault$/],
  ];
  let next = 0;
  const { api } = fakeNode(() => {
    throw thrown[next]?.[0];
  });
  await withServer(api, {}, async (socket, _, log) => {
    for (const [, code, message] of thrown) {
      await assert.rejects(connectApi(socket).status(), apiError(code, message));
      next++;
    }
    assert.deepEqual(log.map(([level]) => level), ["error"], "only the fault is logged");
  });
});

Deno.test("a body that does not keep to the schema is refused by the member that is wrong", async () => {
  const { api, calls } = fakeNode();
  await withServer(api, {}, async (socket) => {
    const client = connectApi(socket);
    const attach = (body: unknown) => client.workloads.attach(body as Parameters<typeof client.workloads.attach>[0]);
    const wrong: [unknown, RegExp][] = [
      [{ netns: "a" }, /^body\.name is not a string/],
      [{ name: "" }, /^body\.name is empty/],
      [{ name: "a\nb", netns: "a" }, /^body\.name holds control characters/],
      [{ name: "x".repeat(5000), netns: "a" }, /^body\.name is longer/],
      [{ name: "a", netns: "a", lables: {} }, /^body\.lables is not known; there are name, /],
      [{ name: "a", netns: "a", labels: { role: 1 } }, /^body\.labels\.role is not a string/],
      [{ name: "a", netns: "a", ips: ["192.0.2.1", 7] }, /^body\.ips\[1\] is not a string/],
      [{ name: "a", netns: "a", ips: "192.0.2.1" }, /^body\.ips is not a list/],
      [{ name: "a", netns: "a", tap: "t" }, /exactly one of netns, tap and interface/],
      [{ name: "a" }, /exactly one of netns, tap and interface/],
      [[], /^body is not an object/],
      [null, /^body is not an object/],
    ];
    for (const [body, message] of wrong) await assert.rejects(attach(body), apiError("invalid", message));
    await assert.rejects(
      client.ipam.configure({ maxBlocksPerHost: 1.5 }),
      apiError("invalid", /maxBlocksPerHost is not a whole/),
    );
    const apply = (body: unknown) => client.resources.apply(body as typeof POOL);
    await assert.rejects(apply({ kind: "IPPool" }), apiError("invalid", /^body\.metadata is missing/));
    await assert.rejects(apply({ kind: "Pod", metadata: { name: "a" } }), apiError("unknown", /no kind "Pod"/));
    await assert.rejects(client.workloads.detach(""), apiError("invalid", /name is empty/));
    assert.deepEqual(calls, []);
  });
});

Deno.test("without a node, without permission, and with a dead node's socket, the client says what to do", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const socket = `${dir}/tortie.sock`;
    const absent = new RegExp(`^Cannot reach the node at ${socket}: is \`tortie run\` running\\?$`);
    await assert.rejects(connectApi(socket).status(), apiError("unreachable", absent));
    Deno.listen({ transport: "unix", path: socket }).close();
    await assert.rejects(connectApi(socket).status(), apiError("unreachable", absent));
    const watch = connectApi(socket).resources.watch("IPPool")[Symbol.asyncIterator]();
    await assert.rejects(watch.next(), apiError("unreachable", absent));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

/** Runs Deno as the user nobody. */
function asNobody(args: string[], env: Record<string, string> = {}): Promise<Deno.CommandOutput> {
  const perl = '($), $(, $>, $<) = (65534, 65534, 65534, 65534); exec @ARGV or die "$!"';
  return new Deno.Command("perl", {
    args: ["-e", perl, Deno.execPath(), ...args],
    env: { DENO_NO_UPDATE_CHECK: "1", ...env },
  })
    .output();
}

const canBeNobody = Deno.uid() === 0 && (await asNobody(["--version"])).success;
Deno.test({
  name: `another user is told that permission is denied${canBeNobody ? "" : " (skipped: cannot run Deno as nobody)"}`,
  ignore: !canBeNobody,
  fn: async () => {
    const { api } = fakeNode();
    await withServer(api, {}, async (socket) => {
      const home = socket.replace(/\/run\/[^/]*$/, "");
      await Deno.chmod(home, 0o755);
      const cache = await Deno.makeTempDir();
      await Deno.chmod(cache, 0o777);
      const source = new URL("../../../src/api/", import.meta.url);
      for (const file of Deno.readDirSync(source)) {
        Deno.copyFileSync(new URL(file.name, source), `${cache}/${file.name}`);
      }
      const code = `import { connectApi } from "file://${cache}/client.ts";
        await connectApi(${JSON.stringify(socket)}).status().catch((e) => console.log(e.code + "|" + e.message));`;
      const { stdout, stderr } = await asNobody(["eval", "--no-lock", "--no-config", code], { DENO_DIR: cache });
      await Deno.remove(cache, { recursive: true });
      const want = `permission|Cannot reach the node at ${socket}: permission denied: run this as root\n`;
      assert.equal(new TextDecoder().decode(stdout), want, new TextDecoder().decode(stderr));
    });
  },
});

Deno.test("a watch gives each change as it comes and ends on both sides with break", async () => {
  const { api, sinks } = fakeNode((call, args) => {
    if (call !== "resources.watch") return undefined;
    const sink = args[2] as (line: unknown) => void;
    sink({ type: "added", resource: POOL });
    sink({ type: "synced", revision: 7 });
  });
  await withServer(api, {}, async (socket) => {
    const events: ResourceEvent[] = [];
    for await (const event of connectApi(socket).resources.watch("IPPool", { namespace: "prod" })) {
      events.push(event);
      if (events.length === 1) { for (const sink of sinks) sink({ type: "modified", resource: POOL }); }
      if (events.length === 2) { for (const sink of sinks) sink({ type: "deleted", resource: POOL }); }
      if (events.length === 3) break;
    }
    assert.deepEqual(events.map(({ type }) => type), ["added", "modified", "deleted"]);
    assert.deepEqual(events[0]?.resource, POOL);
    await until(() => sinks.size === 0, "the node's watch to be stopped");
  });
});

Deno.test("a watch ends when the node stops", async () => {
  const { api, sinks } = fakeNode();
  await withServer(api, {}, async (socket, server) => {
    const next = connectApi(socket).resources.watch("IPPool")[Symbol.asyncIterator]().next();
    await until(() => sinks.size === 1, "the watch");
    await server.close();
    assert.deepEqual(await next, { value: undefined, done: true });
    assert.equal(sinks.size, 0);
  });
});

Deno.test("a long first listing arrives whole and in order", async () => {
  const { api } = fakeNode((call, args) => {
    if (call !== "resources.watch") return undefined;
    const sink = args[2] as (line: unknown) => void;
    for (let i = 0; i < 20_000; i++) sink({ type: "added", resource: { ...POOL, metadata: { name: `pool-${i}` } } });
  });
  await withServer(api, {}, async (socket) => {
    let count = 0;
    for await (const { resource } of connectApi(socket).resources.watch("IPPool")) {
      assert.equal(resource.metadata.name, `pool-${count}`);
      if (++count === 20_000) break;
    }
  });
});

Deno.test("large answers and bodies come through", async () => {
  const labels = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`label-${i}`, "ü".repeat(20)]));
  const { api } = fakeNode();
  await withServer(api, {}, async (socket) => {
    const resource = { ...POOL, metadata: { name: "big", labels } };
    const answer = await connectApi(socket).resources.apply(resource) as unknown as { with: unknown[] };
    assert.deepEqual(answer.with[0], resource);
  });
});
