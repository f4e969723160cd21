/**
 * What every projectcalico.org/v3 resource has in common: kind, metadata, spec and sometimes status.
 *
 * The members are the JSON members as Calico stores them (numbers and strings as they are in the JSON text). A resource
 * may hold members that this project does not know: they are kept when it is written back. `resourceVersion` is never
 * stored: it is the revision of the key in the store.
 */

/** The one API version that is read and written. */
export const API_VERSION = "projectcalico.org/v3";

/** Labels of an object, as a plain map. */
export type LabelMap = Readonly<Record<string, string>>;

/** The metadata of a resource; `uid` and `creationTimestamp` are absent until the resource is created. */
export interface Metadata {
  readonly name: string;
  /** Present for namespaced kinds only. */
  readonly namespace?: string;
  readonly uid?: string;
  /** RFC 3339 in whole seconds, UTC. */
  readonly creationTimestamp?: string;
  readonly labels?: LabelMap;
  readonly annotations?: LabelMap;
}

/** A resource of one kind. */
export interface Resource<Kind extends string, Spec, Status = unknown> {
  readonly kind: Kind;
  readonly apiVersion: typeof API_VERSION;
  readonly metadata: Metadata;
  readonly spec: Spec;
  readonly status?: Status;
}

/** What names a resource: its kind, its name and, for namespaced kinds, its namespace. */
export interface ResourceId {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

/** The names of a resource as one text for maps and messages: "IPPool rack1" or "NetworkPolicy prod/allow-db". */
export function resourceIdText(id: ResourceId): string {
  return id.namespace ? `${id.kind} ${id.namespace}/${id.name}` : `${id.kind} ${id.name}`;
}

/** The identity of a resource. */
export function idOf(resource: { readonly kind: string; readonly metadata: Metadata }): ResourceId {
  const { name, namespace } = resource.metadata;
  return namespace === undefined ? { kind: resource.kind, name } : { kind: resource.kind, name, namespace };
}
