/**
 * The file store on a disk that fills up (a clear error, nothing lost, and the store goes on by itself) and on one that is
 * read-only. The disk is a small tmpfs in a mount namespace of the child's own.
 */

import assert from "node:assert/strict";

const isRoot = Deno.uid() === 0;

Deno.test({
  name: `a full disk refuses writes clearly and the store goes on, a read-only disk refuses the store${
    isRoot ? "" : " (skipped: not root)"
  }`,
  ignore: !isRoot,
  fn: async () => {
    const mount = await Deno.makeTempDir({ prefix: "tortie-disk-" });
    try {
      const child = new URL("./store_disk_child.ts", import.meta.url).pathname;
      const script = 'mount -t tmpfs -o size=4m,mode=0700 none "$1" && exec "$2" run -A --quiet "$3" "$1"';
      const { stdout, stderr } = await new Deno.Command("unshare", {
        args: ["--mount", "--propagation", "private", "sh", "-c", script, "sh", mount, Deno.execPath(), child],
        env: { DENO_NO_UPDATE_CHECK: "1" },
      }).output();
      const text = new TextDecoder().decode(stdout);
      assert.ok(text.startsWith("{"), new TextDecoder().decode(stderr));
      const found = JSON.parse(text);
      assert.equal(found.afterFull.full?.kind, "unavailable");
      assert.match(found.afterFull.full.message, /store\.db for \/full\/\d+: .*disk .*full/);
      assert.deepEqual(found.afterFree, { refusal: null, isWhole: true });
      assert.deepEqual([found.afterFull.isWhole, found.isReadOnly, found.reopened], [true, true, true]);
      assert.match(found.refusal, /Cannot keep the store in .*\/state: .*[Rr]ead-only file system/);
    } finally {
      await Deno.remove(mount, { recursive: true });
    }
  },
});
