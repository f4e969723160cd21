/** A named port of an endpoint: rules can name it instead of a number. */

/** A port by name; `protocol` is a name or a number. */
export interface EndpointPort {
  readonly name?: string;
  readonly protocol: string | number;
  readonly port: number;
  /** Workload endpoints only: the host port that is forwarded to it. */
  readonly hostPort?: number;
  readonly hostIP?: string;
}
