/** What the build writes into names and addresses: workers' URLs, lasting chunk names, the stub's places. */
import assert from "node:assert/strict";
import { rewriteUrls, urlReferences } from "../../../build/bundle.ts";
import { archiveName, compileArguments, findBase } from "../../../build/compile.ts";
import { fillStub, formatManifest } from "../../../build/pack.ts";
import { renameIn, stableNames } from "../../../build/stable_names.ts";

Deno.test("a worker's file is found by the URL that names it", () => {
  const source = 'new Worker(new URL("./w.ts", import.meta.url), {}); new URL("./page.html", import.meta.url);' +
    "new URL(\n  '../b/v.ts',\n  import.meta.url,\n)";
  assert.deepEqual(urlReferences("/p/src/a/s.ts", source), [
    { literal: "./w.ts", path: "/p/src/a/w.ts" },
    { literal: "../b/v.ts", path: "/p/src/b/v.ts" },
  ]);
});

Deno.test("a worker's URL is rewritten to where the bundler put the worker, as seen from the chunk", () => {
  const outputs = new Map([["./w.ts", "src/a/w.js"]]);
  const code = 'x(new URL("./w.ts",import.meta.url))';
  assert.equal(rewriteUrls("s.js", code, outputs), 'x(new URL("./src/a/w.js",import.meta.url))');
  assert.equal(rewriteUrls("src/a/t.js", code, outputs), 'x(new URL("./w.js",import.meta.url))');
  assert.equal(rewriteUrls("src/b/t.js", code, outputs), 'x(new URL("../a/w.js",import.meta.url))');
});

Deno.test("a URL of a file that was not bundled fails the build", () => {
  assert.throws(() => rewriteUrls("s.js", 'new URL("./w.ts",import.meta.url)', new Map()), /\.\/w\.ts/);
});

Deno.test("chunk names depend on the code alone", () => {
  const bundle = (a: string, b: string, c: string) =>
    new Map([
      [`chunk-${a}.js`, "export const one=1;"],
      ["main.js", `import("./version-${c}.js")`],
      [`chunk-${b}.js`, `import"./chunk-${a}.js";`],
      [`version-${c}.js`, `import"./chunk-${b}.js";`],
    ]);
  const renamed = (files: Map<string, string>) => {
    const names = stableNames(files);
    return [...files].map(([name, code]) => `${names.get(name) ?? name}: ${renameIn(code, names)}`).sort();
  };
  const first = renamed(bundle("AAAAAAAA", "BBBBBBBB", "CCCCCCCC"));
  assert.deepEqual(renamed(bundle("Z2345678", "YYYYYYYY", "XXXXXXXX")), first);
  assert.ok(first.includes('main.js: import("./version.js")'), first.join("\n"));
  assert.equal(new Set(first.map((line) => line.split(":")[0])).size, 4);
});

Deno.test("a lasting name never takes the name of another file", () => {
  const names = stableNames(new Map([["worker.js", ""], ["worker-AAAAAAAA.js", ""]]));
  assert.deepEqual([...names], [["worker-AAAAAAAA.js", "worker-1.js"]]);
});

Deno.test("the stub's places are all filled, or the build fails", () => {
  assert.equal(fillStub("a=@HASH@ # @VERSION@ a@b.c", { HASH: "1", VERSION: "2" }), "a=1 # 2 a@b.c");
  assert.throws(() => fillStub("@NONE@", {}), /NONE/);
});

Deno.test("the manifest is written as sha256sum reads it", () => {
  assert.equal(formatManifest(new Map([["app/main.js", "ab"], ["tortie", "cd"]])), "ab  app/main.js\ncd  tortie\n");
});

Deno.test("the compiled form includes the workers, asks for no network, and keeps no shared code cache", () => {
  const bundle = { folder: "/d/bundle", files: ["main.js", "w.js"], workers: ["src/speaker/worker.js"] };
  const args = compileArguments(bundle, "/d/tortie", "x86_64-unknown-linux-gnu");
  assert.equal(args[0], "compile");
  assert.equal(args.at(-1), "/d/bundle/main.js");
  assert.equal(args[args.indexOf("--include") + 1], "/d/bundle/src/speaker/worker.js");
  assert.equal(args[args.indexOf("--output") + 1], "/d/tortie");
  for (const flag of ["--no-code-cache", "--no-remote", "--no-npm", "--allow-all"]) {
    assert.ok(args.includes(flag), flag);
  }
});

Deno.test("the runtime base is looked for in DENORT_BIN, then in DENO_DIR, then in the network", async () => {
  const target = "x86_64-unknown-linux-gnu";
  const folder = await Deno.makeTempDir();
  try {
    const asked: string[] = [];
    const get = (answer: boolean) => (url: string) => {
      asked.push(url);
      return Promise.resolve(answer);
    };
    const env = (values: Record<string, string>) => (name: string) => values[name];
    assert.deepEqual(await findBase(target, env({ DENORT_BIN: "/b", DENO_DIR: folder }), get(true)), {
      from: "DENORT_BIN",
      at: "/b",
    });
    assert.equal(await findBase(target, env({ DENO_DIR: folder }), get(false)), undefined);
    const url = `https://dl.deno.land/release/v${Deno.version.deno}/${archiveName(target)}`;
    assert.deepEqual(await findBase(target, env({ DENO_DIR: folder }), get(true)), { from: "network", at: url });
    assert.deepEqual(asked, [url, url]);
    const placed = `${folder}/dl/release/v${Deno.version.deno}/denort-${target}.zip`;
    await Deno.mkdir(placed.slice(0, placed.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(placed, "zip");
    assert.deepEqual(await findBase(target, env({ DENO_DIR: folder }), get(true)), { from: "DENO_DIR", at: placed });
    assert.equal(asked.length, 2);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
