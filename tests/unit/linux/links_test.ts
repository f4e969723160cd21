/** A rename on kernels that refuse it while the link is up, played by a scripted exchange. */

import assert from "node:assert/strict";
import { ByteWriter } from "../../../src/lib/bytes.ts";
import { decodeLink } from "../../../src/netlink/link.ts";
import { NetlinkError } from "../../../src/netlink/error.ts";
import type { Exchange } from "../../../src/netlink/exchange.ts";
import { NLMSG_ERROR, readMessages } from "../../../src/netlink/message.ts";
import { makeLinks } from "../../../src/linux/links.ts";

/** A kernel with one link that is up, which it renames only while it is down; `taken` is a name it refuses. */
function oldKernel(taken: string) {
  const log: string[] = [];
  let isUp = true, errno = 0;
  const exchange: Exchange = {
    port: 1,
    sequence: () => 1,
    send(request) {
      const [message] = readMessages(request);
      assert.ok(message);
      const link = decodeLink(message.body);
      assert.ok(link);
      const changesFlags = message.body[12] === 1;
      errno = link.name === "" ? 0 : isUp ? 16 : link.name === taken ? 17 : 0;
      if (changesFlags) isUp = link.isUp;
      log.push(link.name === "" ? (link.isUp ? "up" : "down") : `name ${link.name}: ${errno}`);
    },
    receive() {
      const writer = new ByteWriter();
      return writer.u32le(20).u16le(NLMSG_ERROR).u16le(0).u32le(1).u32le(1).i32le(-errno).bytes();
    },
  };
  const unused = () => assert.fail("not asked for");
  return { log, links: makeLinks({ exchange, table: unused, namespaceOf: unused }) };
}

Deno.test("a rename that is refused because the link is up is done while it is down", async () => {
  const { log, links } = oldKernel("lo");
  await links.change(2, { name: "cali9" });
  assert.deepEqual(log, ["name cali9: 16", "down", "name cali9: 0", "up"]);
});

Deno.test("a link comes up again when the rename is refused for good", async () => {
  const { log, links } = oldKernel("lo");
  await assert.rejects(
    () => links.change(2, { name: "lo" }),
    (error) => error instanceof NetlinkError && error.code === "EEXIST",
  );
  assert.deepEqual(log, ["name lo: 16", "down", "name lo: 17", "up"]);
});
