/**
 * The configuration file's resources as entries of the file store.
 *
 * The same resource must give the same text at every reading, or each reload would look like a change of everything. So
 * the `uid` is made from the key (a UUID of version 5, RFC 9562 section 5.5), the same on every host that has the file,
 * and there is no time of birth.
 */

import { createHash } from "node:crypto";
import { resourceKeyOf } from "../../model/keys/mod.ts";
import { serializeResource, storedName } from "../../model/read.ts";
import { idOf } from "../../model/resource.ts";
import type { AnyResource } from "../../model/resources/mod.ts";
import type { FixedEntry } from "./fixed.ts";

/** A resource and where it was written. */
export interface PlacedResource {
  readonly resource: AnyResource;
  readonly file: string;
  readonly line: number;
}

/** The entries for `openFileStore` and `replaceFixed`; throws RangeError on a kind that has no key. */
export function fixedEntries(resources: readonly PlacedResource[]): FixedEntry[] {
  return resources.map(({ resource, file, line }) => {
    const key = resourceKeyOf({ ...idOf(resource), name: storedName(resource) });
    const metadata = { ...resource.metadata, uid: resource.metadata.uid ?? uidOf(key) };
    return { key, value: serializeResource({ ...resource, metadata } as AnyResource), where: `${file}:${line}` };
  });
}

function uidOf(key: string): string {
  const bytes = createHash("sha1").update("projectcalico.org/v3").update(key).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
