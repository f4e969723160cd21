/**
 * Judges what operators write: resources and whole configuration files. All errors are collected, each with the place in
 * the file, the path of the field and a hint.
 *
 * This loads the schemas and the YAML reader; what only reads the store uses `read.ts` instead.
 */

import { DEFAULT_SETTINGS, type NodeSettings } from "./config.ts";
import { type ConfigError, fieldText, sortConfigErrors } from "./config_error.ts";
import { kindEntry, KINDS } from "./kinds.ts";
import { nearest } from "./nearest.ts";
import { fillDefaults } from "./read.ts";
import { API_VERSION } from "./resource.ts";
import type { AnyResource } from "./resources/mod.ts";
import { explainIssue, type FieldProblem } from "./schema/issue.ts";
import { resourceSchema } from "./schema/mod.ts";
import { settingsSchema } from "./schema/settings.ts";
import { type Place, readYaml, type YamlDocument } from "./yaml/read_yaml.ts";

/** A resource together with where it was written. */
export interface SourcedResource {
  readonly resource: AnyResource;
  readonly file: string;
  readonly line: number;
  /** Makes an error about a member of this resource. */
  error(path: readonly PropertyKey[], message: string, hint?: string): ConfigError;
}

/** A configuration file: the node's settings with their defaults, the resources that are right, and all errors. */
export interface ParsedConfig {
  readonly settings: NodeSettings;
  readonly resources: readonly SourcedResource[];
  readonly errors: readonly ConfigError[];
}

/** Reads a multi-document text: settings first (if that document has no `kind`), then resources. Never throws. */
export function parseDocuments(text: string, file: string): ParsedConfig {
  const resources: SourcedResource[] = [];
  const errors: ConfigError[] = [];
  let settings = DEFAULT_SETTINGS;
  readYaml(text).forEach((document, index) => {
    const { value } = document;
    if (document.errors.length > 0) {
      errors.push(...document.errors.map((error) => yamlError(error, file)));
    } else if (value === undefined || value === null) {
      return;
    } else if (isMap(value) && isListKind(value.kind)) {
      parseList(value, document, file, resources, errors);
    } else if (index === 0 && isMap(value) && value.kind === undefined) {
      const result = settingsSchema.safeParse(withoutNulls(value));
      if (result.success) settings = result.data;
      const problems = result.success ? [] : explainAll(result.error.issues, value, document, []);
      // "off" is a word of the settings: whoever writes it unquoted means just that.
      const ambiguous = document.ambiguous.filter(({ path }) => path.join(".") !== "metrics.listen");
      errors.push(...locate(problems, { ...document, ambiguous }, file, []));
    } else {
      parseOne(value, document, file, [], resources, errors);
    }
  });
  return { settings, resources, errors: sortConfigErrors(errors) };
}

/** What `parseResource` found: the resource, or everything that is wrong with it. */
export type ParsedResource =
  | { readonly resource: AnyResource; readonly errors?: undefined }
  | { readonly errors: readonly ConfigError[]; readonly resource?: undefined };

/** Judges one value, such as parsed JSON; `file` is what the errors call its origin. */
export function parseResource(value: unknown, file = "resource"): ParsedResource {
  const { resource, problems } = judge(value);
  if (resource) return { resource };
  return {
    errors: problems.map(({ path, message, hint }) => ({
      file,
      line: 0,
      column: 0,
      field: fieldText(path),
      message,
      ...hint && { hint },
    })),
  };
}

type Members = Readonly<Record<string, unknown>>;
type Source = Pick<YamlDocument, "sourceOf">;

function isMap(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `List` and `<Kind>List`, which tools print several resources as. */
function isListKind(kind: unknown): boolean {
  return kind === "List" ||
    (typeof kind === "string" && kind.endsWith("List") && kindEntry(kind.slice(0, -4)) !== undefined);
}

function parseList(
  value: Members,
  document: YamlDocument,
  file: string,
  resources: SourcedResource[],
  errors: ConfigError[],
): void {
  if (Array.isArray(value.items)) {
    value.items.forEach((item, i) => parseOne(item, document, file, ["items", i], resources, errors));
  } else {
    errors.push(...locate([{ path: ["items"], message: "expected a list of resources" }], document, file, []));
  }
}

function parseOne(
  value: unknown,
  document: YamlDocument,
  file: string,
  base: readonly PropertyKey[],
  resources: SourcedResource[],
  errors: ConfigError[],
): void {
  const { resource, problems } = judge(value, { sourceOf: (path) => document.sourceOf([...base, ...path]) });
  const found = locate(problems, document, file, base);
  if (resource) {
    resources.push({
      resource,
      file,
      line: document.place(base).line,
      error: (path, message, hint) => {
        const place = document.place([...base, ...path]);
        return { file, ...place, field: fieldText([...base, ...path]), message, ...hint && { hint } };
      },
    });
  }
  errors.push(...found);
}

function locate(
  problems: readonly FieldProblem[],
  document: YamlDocument,
  file: string,
  base: readonly PropertyKey[],
): ConfigError[] {
  const located = problems.map(({ path, message, hint, offset, atKey }): ConfigError => ({
    file,
    ...document.place([...base, ...path], { ...offset !== undefined && { offset }, ...atKey && { atKey } }),
    field: fieldText([...base, ...path]),
    message,
    ...hint && { hint },
  }));
  // Whatever stands in a field that is wrong anyway is not worth a second error.
  const wrong = problems.map(({ path }) => [...base, ...path]);
  const isBelow = (path: readonly PropertyKey[], above: readonly PropertyKey[]) =>
    above.every((part, i) => path[i] === part);
  const ambiguous = document.ambiguous.filter(({ path }) =>
    isBelow(path, base) && !wrong.some((above) => above.length > base.length && isBelow(path, above))
  );
  return [...located, ...ambiguous.map((problem) => yamlError(problem, file))];
}

function yamlError(problem: Place & { path: readonly PropertyKey[]; message: string; hint?: string }, file: string) {
  const { line, column, path, message, hint } = problem;
  return { file, line, column, field: fieldText(path), message, ...hint && { hint } };
}

/** Judges a value without regard to where it stands. */
function judge(value: unknown, source?: Source): { resource?: AnyResource; problems: FieldProblem[] } {
  if (!isMap(value)) {
    return { problems: [{ path: [], message: "expected a resource", hint: `start with apiVersion: ${API_VERSION}` }] };
  }
  const entry = typeof value.kind === "string" ? kindEntry(value.kind) : undefined;
  if (!entry) return { problems: [kindProblem(value)] };
  if (value.apiVersion !== API_VERSION) {
    const message = value.apiVersion === undefined || value.apiVersion === null
      ? "is missing"
      : `${JSON.stringify(value.apiVersion)} is not known`;
    return { problems: [{ path: ["apiVersion"], message, hint: `write apiVersion: ${API_VERSION}` }] };
  }
  const result = resourceSchema(entry.kind).safeParse(withoutNulls(value));
  if (!result.success) return { problems: explainAll(result.error.issues, value, source, []) };
  return { resource: fillDefaults(result.data as AnyResource), problems: [] };
}

function kindProblem(value: Members): FieldProblem {
  const { kind } = value;
  if (typeof kind !== "string") {
    const hint = "node" in value || "datastore" in value
      ? "the node's settings are the first document of the file"
      : "write kind: IPPool, for example";
    return { path: ["kind"], message: kind === undefined ? "is missing" : "expected the name of a kind", hint };
  }
  const near = nearest(kind, KINDS.map((entry) => entry.kind));
  const hint = near ? `did you mean ${near}?` : `known: ${KINDS.map((entry) => entry.kind).join(", ")}`;
  return { path: ["kind"], message: `${JSON.stringify(kind)} is not a known kind`, hint };
}

function explainAll(
  issues: Parameters<typeof explainIssue>[0][],
  value: unknown,
  source: Source | undefined,
  base: readonly PropertyKey[],
): FieldProblem[] {
  return issues.flatMap((issue) => {
    const found = issue.path.reduce<unknown>((at, part) => memberOf(at, part), value);
    // Null members are taken out before the judgement, so that they count as absent.
    return explainIssue(issue, found ?? undefined, source?.sourceOf([...base, ...issue.path]));
  });
}

function memberOf(value: unknown, part: PropertyKey): unknown {
  if (Array.isArray(value)) return value[Number(part)];
  return isMap(value) && Object.hasOwn(value, part) ? value[String(part)] : undefined;
}

/** A copy without members that are null, which mean the same as absent ones. Entries of lists stay. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isMap(value)) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== null && member !== undefined);
  return Object.fromEntries(entries.map(([key, member]) => [key, withoutNulls(member)]));
}
