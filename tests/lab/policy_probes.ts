/** Starts a prober in each namespace of a policy lab and sends it attempts. */

import type { Answer, Attempt, Hold, Report } from "./policy_prober.ts";
import { TextLineStream } from "./text_lines.ts";

/** Ports that every place listens on. */
export const openPorts = [22, 53, 80, 85, 443, 1500, 8080];

/** A prober of one namespace. */
export interface Prober {
  try(attempt: Omit<Attempt, "id">): Promise<boolean>;
  /** Holds connections open; resolves once all stand. */
  hold(wanted: Pick<Hold, "to" | "port" | "count">): Promise<void>;
  /** Milliseconds since the last echo of each held connection, by port. */
  report(): Promise<Report["silence"]>;
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
  const waiting = new Map<number, (answer: Answer | Report) => void>();
  const ready = Promise.withResolvers<void>();
  let count = 0;
  const reading = (async () => {
    for await (const line of child.stdout.pipeThrough(new TextLineStream())) {
      if (line === '"ready"') {
        ready.resolve();
        continue;
      }
      const answer = JSON.parse(line) as Answer | Report;
      waiting.get(answer.id)?.(answer);
      waiting.delete(answer.id);
    }
    ready.reject(new Error(`the prober in ${namespace} ended`));
    for (const [id, resolve] of waiting) resolve({ id, isThrough: false });
  })();
  await ready.promise;
  const ask = (question: object) =>
    new Promise<Answer | Report>((resolve, reject) => {
      const id = ++count;
      waiting.set(id, resolve);
      input.write(new TextEncoder().encode(`${JSON.stringify({ id, ...question })}\n`)).catch(reject);
    });
  return {
    try: async (attempt) => {
      const answer = await ask(attempt);
      return "isThrough" in answer && answer.isThrough;
    },
    hold: async (wanted) => void await ask({ protocol: "hold", ...wanted }),
    report: async () => {
      const answer = await ask({ protocol: "report" });
      return "silence" in answer ? answer.silence : {};
    },
    stop: async () => {
      await input.close();
      await child.status;
      await reading;
    },
  };
}
