/**
 * Serves Prometheus metrics: what `status` says as gauges, and the sessions one by one.
 *
 * Nothing is counted on the way: every number is read when somebody asks. A node without metrics does not load this
 * file; the library is imported here by name, because a bundle gives a CommonJS package's names to static imports only.
 */

import { Gauge, Registry } from "prom-client";
import type { NodeApi } from "../../api/node_api.ts";
import type { Log } from "../../lib/log.ts";
import { CliError } from "../terminal.ts";

/** Serves `/metrics` on "address:port"; returns how to stop. Throws `CliError` when it cannot listen there. */
export function serveMetrics(listen: string, api: NodeApi, log: Log): () => Promise<void> {
  const registry = new Registry();
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `tortie_${name}`, help, labelNames, registers: [registry] });
  const established = gauge("bgp_sessions_established", "BGP sessions that are established");
  const configured = gauge("bgp_sessions_configured", "BGP sessions that are configured");
  const up = gauge("bgp_session_up", "1 when the session is established", ["peer", "name"]);
  const received = gauge("bgp_routes_received", "Routes received from the peer", ["peer", "name"]);
  const advertised = gauge("bgp_routes_advertised", "Routes advertised to the peer", ["peer", "name"]);
  const ready = gauge("workloads_ready", "Workloads whose policy and route stand");
  const total = gauge("workloads", "Workloads attached to this host");
  const storeInSync = gauge("store_in_sync", "1 when the node is in sync with its store");
  const revision = gauge("store_revision", "Revision of the store that was last seen");
  const dataplaneInSync = gauge("dataplane_in_sync", "1 when the kernel is as desired");
  const configRefused = gauge("config_refused", "1 while the last edit of the configuration file is refused");

  const collect = async () => {
    const [status, peers] = await Promise.all([api.status(), api.bgp.peers()]);
    established.set(status.bgp.established);
    configured.set(status.bgp.configured);
    for (const each of [up, received, advertised]) each.reset();
    for (const { peer, name, ...row } of peers) {
      up.set({ peer, name }, row.state === "Established" ? 1 : 0);
      received.set({ peer, name }, row.received);
      advertised.set({ peer, name }, row.advertised);
    }
    ready.set(status.workloads.ready);
    total.set(status.workloads.total);
    storeInSync.set(status.store.inSync ? 1 : 0);
    revision.set(status.store.revision);
    dataplaneInSync.set(status.dataplane.inSync ? 1 : 0);
    configRefused.set(status.config.error === null ? 0 : 1);
    return await registry.metrics();
  };

  const at = listen.lastIndexOf(":");
  const hostname = listen.slice(0, at).replace(/^\[|\]$/g, "") || "0.0.0.0";
  try {
    const server = Deno.serve({ hostname, port: Number(listen.slice(at + 1)), onListen: () => {} }, async (request) => {
      if (new URL(request.url).pathname !== "/metrics") return new Response("see /metrics\n", { status: 404 });
      try {
        return new Response(await collect(), { headers: { "content-type": registry.contentType } });
      } catch (error) {
        log.warn("cannot collect metrics", { error });
        return new Response("the node cannot answer now\n", { status: 503 });
      }
    });
    return () => server.shutdown();
  } catch (error) {
    throw new CliError(`Cannot serve metrics on ${listen}: ${error instanceof Error ? error.message : error}`);
  }
}
