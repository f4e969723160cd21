/** Refuses to start where another program has a port that the node needs, before anything is changed. */

import type { BGPConfiguration } from "../../model/resources/mod.ts";
import { resourceKey } from "../../model/keys/mod.ts";
import { CliError } from "../terminal.ts";
import type { Configuration } from "./configuration.ts";

/** Throws `CliError` naming the port that is taken and the setting that moves it. */
export function refuseTakenPorts({ settings, fixed, name }: Configuration): void {
  const bgp = (of: string) => {
    const entry = fixed.find(({ key }) => key === resourceKey("BGPConfiguration", of));
    return entry && (JSON.parse(entry.value) as BGPConfiguration).spec;
  };
  const port = bgp(`node.${name}`)?.listenPort ?? bgp("default")?.listenPort ?? 179;
  tryPort("0.0.0.0", port, "BGP", "stop it (another BGP speaker?), or set listenPort in the BGPConfiguration default");
  const { listen } = settings.metrics;
  if (listen === "off") return;
  const at = listen.lastIndexOf(":");
  const host = listen.slice(0, at).replace(/^\[|\]$/g, "") || "0.0.0.0";
  tryPort(host, Number(listen.slice(at + 1)), "metrics", "stop it, or set metrics.listen to another port or to off");
}

function tryPort(hostname: string, port: number, what: string, hint: string): void {
  try {
    Deno.listen({ hostname, port }).close();
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      throw new CliError(`port ${port} for ${what} is taken by another program: ${hint}`);
    }
    throw new CliError(
      `Cannot listen on ${hostname}:${port} for ${what}: ${error instanceof Error ? error.message : error}`,
    );
  }
}
