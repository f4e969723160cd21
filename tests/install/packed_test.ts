/** The packed file's shell head: it unpacks once, whole or not at all, into a folder that is ours alone, and execs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { LASTING, names, packScript, run, TELLING, until, withFolder } from "./executables.ts";

const isRoot = Deno.uid() === 0;

function lines(text: string, key: string): string[] {
  return text.split("\n").filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));
}

Deno.test("a packed file runs its program in its own place, with its arguments and a private cache", () =>
  withFolder(async (folder) => {
    const { path, hash } = packScript(folder, "tortie", TELLING);
    const base = join(folder, "runtime");
    const child = new Deno.Command(path, {
      args: ["get", "a b", "--config", ""],
      env: { TORTIE_RUNTIME_DIR: base },
      stdout: "piped",
    }).spawn();
    const { code, stdout } = await child.output();
    const text = new TextDecoder().decode(stdout);
    assert.equal(code, 0);
    assert.deepEqual(lines(text, "pid"), [String(child.pid)], "the shell must be replaced, not stay as parent");
    const args = lines(text, "arg");
    assert.equal(args[0], "run");
    assert.deepEqual(args.slice(args.indexOf(join(base, hash, "app/main.js")) + 1), ["get", "a b", "--config", ""]);
    assert.deepEqual(lines(text, "self"), [path]);
    assert.deepEqual(lines(text, "cache"), [join(base, hash, "cache")]);
    for (const name of [base, join(base, hash), join(base, hash, "app")]) {
      assert.equal((Deno.statSync(name).mode ?? 0) & 0o777, 0o700, name);
    }
    assert.equal((Deno.statSync(join(base, hash, "app/main.js")).mode ?? 0) & 0o777, 0o600);
  }));

Deno.test("a packed file knows its own path however it is called", () =>
  withFolder(async (folder) => {
    const { path } = packScript(folder, "tortie", TELLING);
    Deno.symlinkSync(path, join(folder, "link"));
    const env = { TORTIE_RUNTIME_DIR: join(folder, "runtime"), PATH: `${folder}:${Deno.env.get("PATH")}` };
    const calls: [string, string[], string][] = [
      ["./tortie", [], `${folder}/./tortie`],
      ["sh", ["tortie"], path],
      ["sh", ["-c", "cd / && tortie"], path],
      ["./link", [], `${folder}/./link`],
    ];
    for (const [command, args, self] of calls) {
      const { stdout, stderr } = await run("env", [command, ...args], { cwd: folder, env });
      assert.deepEqual(lines(stdout, "self"), [self], `${command} ${args.join(" ")}: ${stderr}`);
    }
  }));

Deno.test("a second start unpacks nothing", () =>
  withFolder(async (folder) => {
    const { path, hash } = packScript(folder, "tortie", TELLING);
    const base = join(folder, "runtime");
    const env = { TORTIE_RUNTIME_DIR: base };
    assert.equal((await run(path, [], { env })).code, 0);
    const first = Deno.statSync(join(base, hash, "tortie")).ino;
    // With the payload gone only an unpacked program can run.
    const head = Deno.readTextFileSync(path).split("\nexit 1\n")[0];
    Deno.writeTextFileSync(path, `${head}\nexit 1\n`);
    const second = await run(path, [], { env });
    assert.equal(second.code, 0, second.stderr);
    assert.equal(Deno.statSync(join(base, hash, "tortie")).ino, first);
  }));

Deno.test("eight first starts at once unpack one whole program and leave nothing over", () =>
  withFolder(async (folder) => {
    const { path, hash } = packScript(folder, "tortie", TELLING);
    const base = join(folder, "runtime");
    const env = { TORTIE_RUNTIME_DIR: base };
    const all = await Promise.all(Array.from({ length: 8 }, () => run(path, [], { env })));
    assert.deepEqual(all.map(({ code, stderr }) => [code, stderr]), all.map(() => [0, ""]));
    assert.deepEqual(names(base), [hash, "lock"].sort());
  }));

Deno.test("a first start that is killed half-way leaves no program behind, and the next one does it anew", () =>
  withFolder(async (folder) => {
    const { path, hash } = packScript(folder, "tortie", TELLING);
    const base = join(folder, "runtime");
    // A gzip that stops in the middle, and tells when it got there.
    const tools = join(folder, "tools");
    Deno.mkdirSync(tools);
    Deno.writeTextFileSync(join(tools, "gzip"), `#!/bin/sh\necho $$ >${folder}/reached\nexec sleep 60\n`);
    Deno.chmodSync(join(tools, "gzip"), 0o755);
    const child = new Deno.Command("setsid", {
      args: [path],
      env: { TORTIE_RUNTIME_DIR: base, PATH: `${tools}:${Deno.env.get("PATH")}` },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await until("the unpacking begins", () => names(folder).includes("reached"));
    Deno.kill(-child.pid, "SIGKILL");
    await child.status;
    assert.equal(names(base).filter((name) => name.startsWith("new.")).length, 1, "it was not killed half-way");
    assert.ok(!names(base).includes(hash));

    const next = await run(path, [], { env: { TORTIE_RUNTIME_DIR: base } });
    assert.equal(next.code, 0, next.stderr);
    assert.deepEqual(names(base), [hash, "lock"].sort());
  }));

Deno.test({
  name: "a full disk is told in one line, and nothing half-made stays",
  ignore: !isRoot,
  fn: () =>
    withFolder(async (folder) => {
      const noise = crypto.getRandomValues(new Uint8Array(60_000));
      const program = TELLING + "exit\n" + Array.from({ length: 40 }, () => `# ${noise.join("")}\n`).join("");
      const { path } = packScript(folder, "tortie", program);
      const base = join(folder, "small");
      Deno.mkdirSync(base);
      const script =
        `mount -t tmpfs -o size=512k,mode=700 tmpfs "$1" && { TORTIE_RUNTIME_DIR=$1 "$2" version; echo "code=$?"; ls "$1"; }`;
      const { stdout, stderr } = await run("unshare", ["--mount", "sh", "-c", script, "sh", base, path]);
      assert.deepEqual(stdout.trim().split("\n"), ["code=1", "lock"], stderr);
      assert.match(stderr, /^tortie: cannot unpack into \S+\/small: .*No space left on device.*needs \d+ MB.*\n$/);
    }),
});

Deno.test({
  name: "a folder that programs cannot be run from is told in one line",
  ignore: !isRoot,
  fn: () =>
    withFolder(async (folder) => {
      const { path } = packScript(folder, "tortie", TELLING);
      const base = join(folder, "noexec");
      Deno.mkdirSync(base);
      const script = 'mount -t tmpfs -o noexec,mode=700 tmpfs "$1" && TORTIE_RUNTIME_DIR=$1 "$2" version';
      const { code, stderr } = await run("unshare", ["--mount", "sh", "-c", script, "sh", base, path]);
      assert.equal(code, 1);
      assert.match(stderr, /^tortie: cannot run \S+: is \S+ on a noexec mount\? .*\n$/);
    }),
});

Deno.test("a file that was cut short says that it is damaged or why it cannot be unpacked, and runs nothing", () =>
  withFolder(async (folder) => {
    const { path, hash } = packScript(folder, "tortie", TELLING);
    const bytes = Deno.readFileSync(path);
    Deno.writeFileSync(path, bytes.subarray(0, bytes.length - 40));
    const { code, stdout, stderr } = await run(path, [], { env: { TORTIE_RUNTIME_DIR: join(folder, "runtime") } });
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^tortie: cannot unpack into .*: .*\n$/);
    assert.ok(!names(join(folder, "runtime")).includes(hash));
  }));

Deno.test("a payload that is not the one named in the head is refused", () =>
  withFolder(async (folder) => {
    const { path } = packScript(folder, "tortie", TELLING);
    const { path: other } = packScript(folder, "other", TELLING, "2;");
    const splitAt = (bytes: Uint8Array) => {
      const mark = "\nexit 1\n\x1f";
      return new TextDecoder("latin1").decode(bytes).indexOf(mark) + mark.length - 1;
    };
    const [mine, theirs] = [Deno.readFileSync(path), Deno.readFileSync(other)];
    const mixed = new Uint8Array([...mine.subarray(0, splitAt(mine)), ...theirs.subarray(splitAt(theirs))]);
    Deno.writeFileSync(path, mixed);
    const { code, stdout, stderr } = await run(path, [], { env: { TORTIE_RUNTIME_DIR: join(folder, "runtime") } });
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^tortie: \S+ is damaged: .*install it again\n$/);
    assert.deepEqual(names(join(folder, "runtime")), ["lock"]);
  }));

Deno.test("a folder that others can enter is refused, a link to a folder too", () =>
  withFolder(async (folder) => {
    const { path } = packScript(folder, "tortie", TELLING);
    Deno.mkdirSync(join(folder, "open"));
    Deno.chmodSync(join(folder, "open"), 0o755);
    Deno.mkdirSync(join(folder, "private"), { mode: 0o700 });
    Deno.symlinkSync(join(folder, "private"), join(folder, "link"));
    for (const name of ["open", "link"]) {
      const { code, stderr } = await run(path, [], { env: { TORTIE_RUNTIME_DIR: join(folder, name) } });
      assert.equal(code, 1, name);
      assert.match(stderr, /^tortie: \S+ must be a folder of yours .* chmod it 700\n$/);
    }
    assert.deepEqual(names(join(folder, "private")), []);
  }));

Deno.test("a program folder that was opened to others is not run but made anew", () =>
  withFolder(async (folder) => {
    const { path, hash } = packScript(folder, "tortie", TELLING);
    const base = join(folder, "runtime");
    const env = { TORTIE_RUNTIME_DIR: base };
    await run(path, [], { env });
    Deno.writeTextFileSync(join(base, hash, "tortie"), "#!/bin/sh\necho foreign\n");
    Deno.chmodSync(join(base, hash), 0o777);
    const { code, stdout } = await run(path, [], { env });
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /foreign/);
    assert.equal((Deno.statSync(join(base, hash)).mode ?? 0) & 0o777, 0o700);
  }));

Deno.test("unpacking a new version removes the old ones, but not one that runs", () =>
  withFolder(async (folder) => {
    const base = join(folder, "runtime");
    const env = { TORTIE_RUNTIME_DIR: base };
    const running = packScript(folder, "running", LASTING);
    const ended = packScript(folder, "ended", TELLING, "old;");
    const newer = packScript(folder, "newer", TELLING, "new;");
    const child = new Deno.Command(running.path, { env, stdin: "piped", stdout: "piped" }).spawn();
    try {
      const reader = child.stdout.getReader();
      await reader.read();
      reader.releaseLock();
      assert.deepEqual(await run(ended.path, [], { env }).then(({ code, stderr }) => [code, stderr]), [0, ""]);
      assert.equal((await run(newer.path, [], { env })).code, 0);
      assert.deepEqual(names(base), [running.hash, newer.hash, "lock"].sort());
    } finally {
      await child.stdin.close();
      await child.output();
    }
    assert.deepEqual(await run(ended.path, [], { env }).then(({ code, stderr }) => [code, stderr]), [0, ""]);
    assert.deepEqual(names(base), [ended.hash, "lock"].sort());
  }));

Deno.test({
  name: "someone who is not root unpacks into their own cache folder",
  ignore: !isRoot,
  fn: () =>
    withFolder(async (folder) => {
      const { path, hash } = packScript(folder, "tortie", TELLING);
      const home = join(folder, "home");
      Deno.mkdirSync(home);
      Deno.chownSync(home, 65534, 65534);
      Deno.chmodSync(folder, 0o755);
      const become = ["--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"];
      const { code, stdout, stderr } = await run("setpriv", [...become, `HOME=${home}`, path]);
      assert.equal(code, 0, stderr);
      assert.deepEqual(lines(stdout, "cache"), [join(home, ".cache/tortie", hash, "cache")]);

      const homeless = await run("setpriv", [...become, path]);
      assert.equal(homeless.code, 1);
      assert.match(homeless.stderr, /^tortie: no folder to unpack into: set HOME or TORTIE_RUNTIME_DIR\n$/);
    }),
});

Deno.test("equal inputs make equal files, and another application makes another hash", () =>
  withFolder(async (folder) => {
    const first = packScript(folder, "first", TELLING);
    const second = packScript(folder, "second", TELLING);
    const third = packScript(folder, "third", TELLING, "2;");
    assert.equal(second.hash, first.hash);
    assert.notEqual(third.hash, first.hash);
    assert.equal((await run("cmp", [first.path, second.path])).code, 0);
  }));
