/**
 * The executable itself: built from this checkout, run in its forms, and a small program whose worker must be found
 * from the source, from the bundle and from the packed file alike.
 *
 * Where no runtime base (`denort`) can be had, `deno compile` is checked by what it accepts and embeds: the `deno`
 * program stands in for the base, and the result must be refused because it does not run what is inside it.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import config from "../../deno.json" with { type: "json" };
import { bundle } from "../../build/bundle.ts";
import { compile, compileArguments, findBase } from "../../build/compile.ts";
import { pack, packedHash } from "../../build/pack.ts";
import { names, root, run, withFolder } from "./executables.ts";

const target = Deno.build.target;
const strace = await run("strace", ["--version"]).catch(() => undefined);
const base = await findBase(target);

function packReal(bundleFolder: string, output: string): string {
  const stub = Deno.readTextFileSync(join(root, "build/stub.sh"));
  return pack({ program: Deno.execPath(), bundle: bundleFolder, stub, version: config.version, target }, output).hash;
}

/** A program of the shape of this one: a light verb, a heavy one, and a worker in a room of its own. */
function writeProgram(folder: string): void {
  const files: Record<string, string> = {
    "deno.json": "{}",
    "main.ts": `
      if (Deno.args[0] === "light") console.log((await import("./src/light.ts")).light());
      else if (Deno.args[0] === "self") console.log(JSON.stringify((await import("./src/cli/self.ts")).selfCommand()));
      else console.log(await (await import("./src/speaker/spawn.ts")).ask());
      Deno.exit(0);`,
    "src/cli/self.ts": Deno.readTextFileSync(join(root, "src/cli/self.ts")),
    "src/light.ts": 'export const light = () => "light";',
    "src/shared.ts": "export const twice = (n: number) => 2 * n;",
    "src/speaker/spawn.ts": `
      import { twice } from "../shared.ts";
      export function ask(): Promise<number> {
        const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
        return new Promise((resolve) => {
          worker.onmessage = ({ data }) => resolve(twice(data));
          worker.postMessage(10);
        });
      }`,
    "src/speaker/worker.ts": `
      /// <reference no-default-lib="true" />
      /// <reference lib="deno.worker" />
      import { twice } from "../shared.ts";
      self.onmessage = ({ data }) => self.postMessage(twice(data) + 1);`,
  };
  for (const room of ["speaker", "cli"]) Deno.mkdirSync(join(folder, "src", room), { recursive: true });
  for (const [name, text] of Object.entries(files)) Deno.writeTextFileSync(join(folder, name), text);
}

Deno.test("from the source, the bundle and the packed file a worker is found, and the program can start itself again", () =>
  withFolder(async (folder) => {
    writeProgram(folder);
    const made = bundle(folder, join(folder, "dist"));
    assert.deepEqual(made.workers, ["src/speaker/worker.js"]);
    const packed = join(folder, "packed");
    packReal(made.folder, packed);
    const env = { TORTIE_RUNTIME_DIR: join(folder, "runtime"), DENO_NO_UPDATE_CHECK: "1" };
    for (
      const [command, ...args] of [
        [Deno.execPath(), "run", "-A", join(folder, "main.ts"), "worker"],
        [Deno.execPath(), "run", "-A", "--no-config", join(made.folder, "main.js"), "worker"],
        [packed, "worker"],
      ]
    ) {
      const { code, stdout, stderr } = await run(command ?? "", args, { env: { ...env, NO_COLOR: "1" } });
      assert.deepEqual([code, stdout.trim()], [0, "42"], `${command} ${args.join(" ")}: ${stderr}`);
    }
  }));

Deno.test("two checkouts in different places make the same bundle", () =>
  withFolder(async (folder) => {
    const [here, there] = [join(folder, "here"), join(folder, "a/b/there")];
    const contents = [];
    for (const place of [here, there]) {
      writeProgram(place);
      const made = bundle(place, join(place, "dist"));
      contents.push(made.files.map((name) => [name, Deno.readTextFileSync(join(made.folder, name))]));
    }
    assert.ok((contents[0]?.length ?? 0) >= 4);
    assert.deepEqual(contents[1], contents[0]);
    await Promise.resolve();
  }));

Deno.test("a program that cannot be bundled fails with the bundler's words", () =>
  withFolder((folder) => {
    writeProgram(folder);
    Deno.writeTextFileSync(join(folder, "src/light.ts"), 'export * from "./absent.ts";');
    assert.throws(() => bundle(folder, join(folder, "dist")), /absent\.ts/);
    return Promise.resolve();
  }));

Deno.test("two workers of one relative name in different rooms are refused, because the bundle cannot tell them apart", () =>
  withFolder((folder) => {
    writeProgram(folder);
    Deno.mkdirSync(join(folder, "src/other"));
    Deno.writeTextFileSync(join(folder, "src/other/a.ts"), 'new Worker(new URL("./worker.ts", import.meta.url));');
    assert.throws(
      () => bundle(folder, join(folder, "dist")),
      /worker\.ts means .* give one of the two files another name/,
    );
    return Promise.resolve();
  }));

Deno.test("this program, packed, says what it is, and reads little for a light verb", async (t) => {
  await withFolder(async (folder) => {
    const made = bundle(root, join(folder, "bundle"));
    const packed = join(folder, "tortie");
    const hash = packReal(made.folder, packed);
    const env = { TORTIE_RUNTIME_DIR: join(folder, "runtime") };

    await t.step("the version verb", async () => {
      const { code, stdout, stderr } = await run(packed, ["version", "-o", "json"], { env });
      assert.equal(code, 0, stderr);
      const shown = JSON.parse(stdout);
      assert.deepEqual(shown, {
        version: config.version,
        packaging: "packed",
        build: hash,
        deno: Deno.version.deno,
        v8: Deno.version.v8,
        target,
      });
      assert.equal(packedHash(packed), hash);
      const text = await run(packed, ["version"], { env });
      assert.match(
        text.stdout,
        new RegExp(`^tortie ${config.version} \\(packed: .*\\) Deno ${Deno.version.deno}, V8 `),
      );
    });

    await t.step("nothing of the program lies outside its private folder", async () => {
      const home = join(folder, "home");
      Deno.mkdirSync(home);
      const { code } = await run(packed, ["version"], { env: { ...env, HOME: home, XDG_CACHE_HOME: join(home, "c") } });
      assert.equal(code, 0);
      assert.deepEqual(names(home), []);
    });

    await t.step({
      name: "the files a light verb reads",
      ignore: strace?.code !== 0,
      fn: async () => {
        const log = join(folder, "strace");
        await run("strace", ["-f", "-qq", "-e", "trace=openat", "-o", log, packed, "version"], { env });
        const app = join(folder, "runtime", hash, "app");
        const opened = new Set(
          [...Deno.readTextFileSync(log).matchAll(/"([^"]+)", O_RDONLY[^=]*= \d/g)].map((match) => match[1] ?? "")
            .filter((path) => path.startsWith(`${app}/`) && path.endsWith(".js")),
        );
        assert.ok(opened.has(join(app, "main.js")), [...opened].join("\n"));
        const bytes = [...opened].reduce((sum, path) => sum + Deno.statSync(path).size, 0);
        assert.ok(bytes < 120_000, `${bytes} bytes: ${[...opened].join(", ")}`);
      },
    });

    await t.step("SIGTERM reaches the program, not a shell before it", async () => {
      const stopped = packReal(writeLasting(folder), join(folder, "lasting"));
      const child = new Deno.Command(join(folder, "lasting"), { env, stdout: "piped" }).spawn();
      const reader = child.stdout.getReader();
      await reader.read();
      const command = Deno.readTextFileSync(`/proc/${child.pid}/cmdline`).split("\0")[0];
      assert.equal(command, join(folder, "runtime", stopped, "tortie"));
      child.kill("SIGTERM");
      assert.equal((await child.status).code, 7);
      await reader.cancel();
    });
  });
});

function writeLasting(folder: string): string {
  const app = join(folder, "lasting.app");
  Deno.mkdirSync(app);
  const program =
    'Deno.addSignalListener("SIGTERM", () => Deno.exit(7)); setInterval(() => {}, 1e6); console.log("up");';
  Deno.writeTextFileSync(join(app, "main.js"), program);
  return app;
}

Deno.test("deno compile takes the arguments and embeds the workers, and what does not run its program is refused", () =>
  withFolder(async (folder) => {
    writeProgram(folder);
    const made = bundle(folder, join(folder, "dist"));
    const output = join(folder, "compiled");
    // `deno` in the base's place: everything is embedded as it would be, but the result is not a runtime base.
    const standIn = { DENORT_BIN: Deno.execPath(), DENO_NO_UPDATE_CHECK: "1" };
    const args = compileArguments(made, output, target);
    const { code, stderr } = await run(Deno.execPath(), args, { env: standIn });
    assert.equal(code, 0, stderr);
    const embedded = await run("grep", ["-c", "--text", "-e", "speaker/worker.js", output]);
    assert.ok(Number(embedded.stdout) > 0, "the worker is not in the executable");
    Deno.renameSync(output, join(folder, "first"));
    await run(Deno.execPath(), args, { env: standIn });
    assert.equal((await run("cmp", [output, join(folder, "first")])).code, 0, "made again it is not the same");

    const before = Deno.env.get("DENORT_BIN");
    Deno.env.set("DENORT_BIN", Deno.execPath());
    try {
      assert.match(compile(made, join(folder, "refused"), target)?.refused ?? "", /does not run its program/);
    } finally {
      if (before === undefined) Deno.env.delete("DENORT_BIN");
      else Deno.env.set("DENORT_BIN", before);
    }
    assert.deepEqual(names(folder).filter((name) => name.startsWith("refused")), []);
  }));

Deno.test({
  name: "this program, compiled, says what it is" + (base ? "" : " (skipped: no runtime base can be had)"),
  ignore: base === undefined,
  fn: () =>
    withFolder(async (folder) => {
      const made = bundle(root, join(folder, "bundle"));
      const output = join(folder, "tortie");
      assert.equal(compile(made, output, target), undefined);
      const { stdout } = await run(output, ["version", "-o", "json"]);
      const shown = JSON.parse(stdout);
      assert.deepEqual([shown.packaging, shown.build], ["compiled", null]);
    }),
});

Deno.test("from source, the command that starts this program again works from another folder", () =>
  withFolder(async (folder) => {
    const script = `import { packaging, selfCommand } from ${JSON.stringify(join(root, "src/cli/self.ts"))};
      console.log(JSON.stringify([packaging(), selfCommand()]));`;
    Deno.writeTextFileSync(join(folder, "ask.ts"), script);
    const asked = await run(Deno.execPath(), ["run", "-A", "--no-config", join(folder, "ask.ts")], {
      env: { TORTIE_SELF: "/left/over" },
    });
    const [form, self] = JSON.parse(asked.stdout);
    assert.equal(form, "source");
    const { code, stdout, stderr } = await run(self.command, [...self.args, "version", "-o", "json"], { cwd: folder });
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).packaging, "source");
  }));
