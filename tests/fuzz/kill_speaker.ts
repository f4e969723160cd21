/**
 * `deno task kill -- N [DAEMON]`: kills the speaker N times (100 when left out) with -9 beside BIRD, FRR and GoBGP, one after the
 * other, under a ping every 10 ms through the host. Prints what each lost; status 1 when that is not nothing.
 */

import { HELPERS, killRepeatedly, withKillScene } from "../interop/kill_scene.ts";

const args = Deno.args.filter((arg) => arg !== "--");
const times = Number(args[0] ?? 100);
const chosen = HELPERS.filter(({ name }) => args[1] === undefined || args[1].toLowerCase() === name.toLowerCase());
if (!Number.isInteger(times) || times < 1 || chosen.length === 0) {
  console.error("Usage: deno task kill -- [TIMES [bird|frr|gobgp]]");
  Deno.exit(2);
}

let isGood = true;
for (const helper of chosen) {
  await withKillScene(helper, async (scene) => {
    const { sent, lost } = await killRepeatedly(scene, times);
    isGood &&= lost === 0;
    console.log(`${helper.name}: ${times} kills, ${sent} pings, ${lost} lost`);
  });
}
Deno.exit(isGood ? 0 : 1);
