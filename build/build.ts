/**
 * `deno task build [--packed | --compiled]`: makes dist/tortie, the one executable.
 *
 * It bundles the sources into dist/bundle, then compiles them where the runtime base can be had, else packs them with
 * the `deno` program that runs this. `--packed` and `--compiled` allow only that way. Prints what it made, and why.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import config from "../deno.json" with { type: "json" };
import { bundle } from "./bundle.ts";
import { compile, findBase } from "./compile.ts";
import { pack } from "./pack.ts";

const root = join(import.meta.dirname ?? ".", "..");

async function build(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      packed: { type: "boolean", default: false },
      compiled: { type: "boolean", default: false },
      output: { type: "string", default: join(root, "dist", "tortie") },
    },
  });
  const { output } = values;
  const target = Deno.build.target;
  const bundled = bundle(root, join(root, "dist", "bundle"));
  console.log(`bundled ${bundled.files.length} files, workers: ${bundled.workers.join(", ") || "none"}`);

  if (!values.packed) {
    const base = await findBase(target);
    const outcome = base === undefined
      ? { refused: `no runtime base: DENORT_BIN is not set, none is in DENO_DIR, dl.deno.land does not answer` }
      : compile(bundled, output, target);
    if (outcome === undefined) {
      console.log(`compiled ${output} (base from ${base?.from}: ${base?.at})`);
      return 0;
    }
    if (values.compiled) {
      console.error(`Cannot compile: ${outcome.refused}`);
      return 1;
    }
    console.log(`not compiled: ${outcome.refused}`);
  }

  const stub = Deno.readTextFileSync(join(root, "build", "stub.sh"));
  const { hash, isChanged } = pack(
    { program: Deno.execPath(), bundle: bundled.folder, stub, version: config.version, target },
    output,
  );
  console.log(`packed ${output} (self-extracting, ${hash.slice(0, 16)}${isChanged ? "" : ", unchanged"})`);
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await build(Deno.args));
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
