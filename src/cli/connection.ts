/** Reaches the node that a command means: `--socket`, else TORTIE_SOCKET, else the default path. */

import { connectApi } from "../api/client.ts";
import type { Terminal } from "./terminal.ts";

/** Where a node listens when nothing else is said. */
export const DEFAULT_SOCKET = "/run/tortie/tortie.sock";

/** Where a node's configuration is when nothing else is said. */
export const DEFAULT_CONFIG = "/etc/tortie/tortie.yaml";

/** The socket that flags and environment name. */
export function socketPath(terminal: Terminal, flags: { readonly socket?: string }): string {
  return flags.socket ?? terminal.env("TORTIE_SOCKET") ?? DEFAULT_SOCKET;
}

/** The API of the node that flags and environment name; errors come with the first call. */
export function connectNode(terminal: Terminal, flags: { readonly socket?: string }): ReturnType<typeof connectApi> {
  return connectApi(socketPath(terminal, flags));
}
