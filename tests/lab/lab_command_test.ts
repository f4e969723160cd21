/** `tortie lab` as a person uses it: up, status, exec, down, and nothing left behind. */

import assert from "node:assert/strict";
import { runTortie } from "./fleet.ts";

const name = `tt${crypto.randomUUID().slice(0, 5)}`;
const lab = (...args: string[]) => runTortie(["lab", ...args]);

async function namespaces(): Promise<string[]> {
  const { stdout } = await new Deno.Command("ip", { args: ["netns", "list"] }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line.startsWith(`${name}-`));
}

/** Processes whose command line names the lab's folder. */
function processes(): number[] {
  return [...Deno.readDirSync("/proc")].map((entry) => Number(entry.name)).filter((pid) => {
    try {
      return pid > 0 && Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(`/run/tortie-lab/${name}/`);
    } catch {
      return false;
    }
  });
}

Deno.test("the lab comes up, shows itself, runs commands inside, and leaves nothing behind", async () => {
  try {
    const up = await lab("up", "--name", name);
    assert.equal(up.code, 0, up.stderr);
    assert.match(up.stdout, /^host a$/m);
    assert.match(up.stdout, /^ +blackhole 172\.17\.8\.0\/26 proto 80$/m);
    assert.match(
      up.stdout,
      /^ +tor +192\.168\.100\.1 +AS 65000 +Established$|192\.168\.100\.1 +AS 65000 +Established/m,
    );
    assert.match(up.stdout, /^router \(birdc show route\)$/m);
    const matrix = up.stdout.slice(up.stdout.indexOf("who reaches whom"));
    assert.equal(matrix.match(/\bok\b/g)?.length, 36, matrix);
    assert.equal((await namespaces()).length, 11);

    assert.equal((await lab("up", "--name", name)).code, 1, "a lab that is up is not brought up again");

    const inside = await lab("exec", "--name", name, "a", "--", "ip", "-br", "address", "show", "eth0");
    assert.equal(inside.code, 0, inside.stderr);
    assert.match(inside.stdout, /192\.168\.100\.100\/24/);
    const unknown = await lab("exec", "--name", name, "nowhere", "--", "true");
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /^tortie: no "nowhere" in this lab: there are .*a-web/);
    assert.equal((await lab("exec", "--name", name, "a", "--", "sh", "-c", "exit 7")).code, 7);

    const status = await lab("status", "--name", name, "-o", "json");
    assert.equal(status.code, 0, status.stderr);
    const report = JSON.parse(status.stdout);
    assert.deepEqual(report.hosts.map((host: { host: string }) => host.host), ["a", "b", "c"]);
    assert.equal(report.reach["a-web"]["c-db"], true);
  } finally {
    const down = await lab("down", "--name", name);
    assert.equal(down.code, 0, down.stderr);
    assert.deepEqual(await namespaces(), []);
    assert.deepEqual(processes(), []);
    assert.throws(() => Deno.statSync(`/run/tortie-lab/${name}`), Deno.errors.NotFound);
  }
  assert.match((await lab("down", "--name", name)).stderr, /there is no lab/);
  const gone = await lab("exec", "--name", name, "a", "--", "true");
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /bring it up with `tortie lab up`/);
});
