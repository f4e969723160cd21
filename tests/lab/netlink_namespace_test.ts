/** Network namespaces: made and deleted as `ip netns` does it, opened in every way, entered and left. */

import assert from "node:assert/strict";
import { NamespaceError } from "../../src/dataplane/ports.ts";
import { openKernel } from "../../src/linux/kernel.ts";
import { openNetlink } from "../../src/linux/netlink_socket.ts";
import { setLink } from "../../src/netlink/link.ts";
import { ask } from "../../src/netlink/request.ts";
import { createNamespace, deleteNamespace, openNamespace, withinNamespace } from "../../src/linux/namespace.ts";
import { freshNamespace, inNamespaces, ip, isRoot } from "./netlink_lab.ts";

const ignore = !isRoot;
const suffix = isRoot ? "" : " (skipped: needs root)";

function run(...command: string[]): string {
  const [program = "", ...args] = command;
  const { code, stdout, stderr } = new Deno.Command(program, { args }).outputSync();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

const listed = () => run("ip", "netns", "list").split("\n").map((line) => line.split(" ")[0] ?? "");

Deno.test({ name: `ip netns lists what we made and deletes it, and we delete what it made${suffix}`, ignore }, () => {
  const ours = freshNamespace();
  assert.ok(listed().includes(ours));
  assert.deepEqual(JSON.parse(ip(ours, "-j", "link")).map(({ ifname }: { ifname: string }) => ifname), ["lo"]);
  assert.throws(() => createNamespace(ours), NamespaceError);
  assert.ok(listed().includes(ours), "a refused creation leaves the old one");
  run("ip", "netns", "del", ours);
  assert.ok(!listed().includes(ours));
  assert.throws(() => deleteNamespace(ours), NamespaceError);
  const theirs = `${ours}-ip`;
  run("ip", "netns", "add", theirs);
  openNamespace(theirs).close();
  deleteNamespace(theirs);
  assert.ok(!listed().includes(theirs));
  assert.throws(() => Deno.statSync(`/run/netns/${theirs}`), Deno.errors.NotFound);
});

Deno.test({
  name:
    `names that would leave the folder, paths that are no namespace and processes that are gone are refused${suffix}`,
  ignore,
}, () => {
  for (const name of ["", ".", "..", "a/b", "a\0b"]) {
    assert.throws(() => createNamespace(name), NamespaceError, JSON.stringify(name));
  }
  for (const name of ["no-such-one", "/etc/hostname", "/nowhere", "4194305", ".."]) {
    assert.throws(
      () => openNamespace(name),
      (error) => error instanceof NamespaceError && error.message.includes(name),
      name,
    );
  }
});

Deno.test({
  name:
    `name, path and process open the same namespace, and a child spawned inside lives there, to whom a link can be moved${suffix}`,
  ignore,
}, () =>
  inNamespaces(1, async (name) => {
    const child = withinNamespace(name, () => new Deno.Command("sleep", { args: ["60"] }).spawn());
    try {
      const kernels = [name, `/run/netns/${name}`, `${child.pid}`, `/proc/${child.pid}/ns/net`].map(openKernel);
      assert.equal(new Set(kernels.map(({ id }) => id)).size, 1);
      const own = openKernel();
      assert.notEqual(own.id, kernels[0]?.id);
      for (const kernel of [...kernels, own]) kernel.close();
      await inNamespaces(1, async (near) => {
        const kernel = openKernel(near);
        const socket = openNetlink({ namespace: kernel.namespace });
        const link = await kernel.links.createVeth({ name: "a0", mac: "ee:ee:ee:ee:ee:ee", peerName: "b0" });
        ask(socket, setLink(link.peerIndex ?? 0, { namespace: { pid: child.pid } }));
        assert.deepEqual(JSON.parse(ip(name, "-j", "link")).map(({ ifname }: { ifname: string }) => ifname), [
          "lo",
          "b0",
        ]);
        socket.close();
        kernel.close();
      });
    } finally {
      child.kill("SIGKILL");
      await child.status;
    }
  }));

Deno.test({
  name: `a function inside a namespace cannot wait, and the thread is home again whatever happens${suffix}`,
  ignore,
}, () =>
  inNamespaces(2, (outer, inner) => {
    const here = () => Deno.readLinkSync("/proc/thread-self/ns/net");
    const home = here();
    assert.throws(() => withinNamespace(outer, () => Promise.resolve()), TypeError);
    assert.throws(() =>
      withinNamespace(outer, () => {
        throw new Error("inside");
      }), /inside/);
    const [first, second, third] = withinNamespace(outer, () => [here(), withinNamespace(inner, here), here()]);
    assert.ok(first !== second && first === third && first !== home && second !== home);
    assert.equal(here(), home);
    const own = openNamespace();
    assert.throws(() => withinNamespace(own, () => Promise.resolve()), TypeError);
    assert.deepEqual([withinNamespace(own, here), withinNamespace(outer, () => withinNamespace(own, here))], [
      home,
      home,
    ]);
    own.close();
    return Promise.resolve();
  }));

Deno.test(
  { name: `a kernel speaks to its own namespace even while the thread is in another${suffix}`, ignore },
  () =>
    inNamespaces(2, async (near, far) => {
      const kernel = openKernel(near);
      try {
        await withinNamespaceStart(
          far,
          () => kernel.links.createVeth({ name: "a", mac: "ee:ee:ee:ee:ee:ee", peerName: "b" }),
        );
        await withinNamespaceStart(far, () => kernel.sysctl.write("net/ipv4/conf/a/proxy_arp", "1"));
        assert.ok(await kernel.links.get("a"));
        assert.equal(await kernel.sysctl.read("net/ipv4/conf/a/proxy_arp"), "1");
        assert.deepEqual(JSON.parse(ip(far, "-j", "link")).length, 1);
      } finally {
        kernel.close();
      }
    }),
);

/** Starts something inside the namespace and waits for it outside. */
function withinNamespaceStart<T>(name: string, start: () => Promise<T>): Promise<T> {
  return withinNamespace(name, () => ({ started: start() })).started;
}

Deno.test({
  name: `opening, watching and closing many times leaves no descriptor open${suffix}`,
  ignore,
  sanitizeOps: true,
  sanitizeResources: true,
}, () =>
  inNamespaces(1, async (name) => {
    const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
    const use = async () => {
      const kernel = openKernel(name);
      const stop = kernel.watch(() => {});
      kernel.watch(() => {});
      await kernel.links.list();
      await kernel.sysctl.read("net/ipv4/ip_forward");
      stop();
      kernel.close();
      kernel.close();
    };
    await use();
    await new Promise((resolve) => setTimeout(resolve, 0));
    const before = open();
    for (let i = 0; i < 50; i++) await use();
    const deadline = performance.now() + 5000;
    while (open() > before && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 1));
    assert.ok(open() <= before, `${open()} descriptors instead of ${before}`);
  }));
