/** Starts a prober in each namespace of a policy lab and sends it attempts. */

import type { Answer, Attempt } from "./policy_prober.ts";
import { TextLineStream } from "./text_lines.ts";

/** Ports that every place listens on. */
export const openPorts = [22, 53, 80, 85, 443, 1500, 8080];

/** A prober of one namespace. */
export interface Prober {
  try(attempt: Omit<Attempt, "id">): Promise<boolean>;
  stop(): Promise<void>;
}

/** Starts the prober; resolves once it listens. */
export async function startProber(namespace: string): Promise<Prober> {
  const script = new URL("./policy_prober.ts", import.meta.url).pathname;
  const child = new Deno.Command("ip", {
    args: [
      "netns",
      "exec",
      namespace,
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      script,
      JSON.stringify(openPorts),
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
    env: { DENO_NO_UPDATE_CHECK: "1" },
  }).spawn();
  const input = child.stdin.getWriter();
  const waiting = new Map<number, (isThrough: boolean) => void>();
  const ready = Promise.withResolvers<void>();
  let count = 0;
  const reading = (async () => {
    for await (const line of child.stdout.pipeThrough(new TextLineStream())) {
      if (line === '"ready"') {
        ready.resolve();
        continue;
      }
      const { id, isThrough } = JSON.parse(line) as Answer;
      waiting.get(id)?.(isThrough);
      waiting.delete(id);
    }
    ready.reject(new Error(`the prober in ${namespace} ended`));
    for (const resolve of waiting.values()) resolve(false);
  })();
  await ready.promise;
  return {
    try: (attempt) =>
      new Promise((resolve, reject) => {
        const id = ++count;
        waiting.set(id, resolve);
        input.write(new TextEncoder().encode(`${JSON.stringify({ id, ...attempt })}\n`)).catch(reject);
      }),
    stop: async () => {
      await input.close();
      await child.status;
      await reading;
    },
  };
}
