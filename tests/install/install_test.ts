/**
 * install.sh: what it puts where, that a second run changes nothing, and that it trusts no Deno with another hash.
 *
 * Nothing of this machine is changed: files go below DESTDIR, packages are "installed" by stand-ins on PATH, and where
 * install.sh writes to /usr/sbin that is an empty folder in a mount namespace of the test's own.
 */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { parseAllDocuments } from "yaml";
import { mask } from "../source_text.ts";
import { type Ended, names, root, run, withFolder } from "./executables.ts";

const isRoot = Deno.uid() === 0;
const script = join(root, "install.sh");

function install(args: string[], env: Record<string, string>): Promise<Ended> {
  return run(script, args, { env: { PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`, ...env } });
}

function tree(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (path: string) => {
    for (const name of names(path)) {
      const child = join(path, name);
      const { isDirectory, mode, mtime, ino } = Deno.lstatSync(child);
      found.set(child.slice(folder.length), `${(mode ?? 0).toString(8)} ${mtime?.getTime()} ${ino}`);
      if (isDirectory) walk(child);
    }
  };
  walk(folder);
  return found;
}

function writeProgram(path: string, text: string): void {
  Deno.writeTextFileSync(path, text);
  Deno.chmodSync(path, 0o755);
}

Deno.test("installing puts three files in place, and doing it again changes nothing", () =>
  withFolder(async (folder) => {
    const first = await install([], { DESTDIR: folder });
    assert.equal(first.code, 0, first.stderr);
    const files = ["/usr/local/bin/tortie", "/etc/tortie/tortie.yaml", "/etc/systemd/system/tortie.service"];
    for (const file of files) assert.match(first.stdout, new RegExp(`^installed +${folder}${file}$`, "m"));
    const before = tree(folder);
    for (const [file, mode] of [[files[0], "100755"], [files[1], "100644"], [files[2], "100644"]]) {
      assert.equal(before.get(file ?? "")?.split(" ")[0], mode, file);
    }

    const second = await install([], { DESTDIR: folder });
    assert.equal(second.code, 0, second.stderr);
    assert.deepEqual(tree(folder), before);
    assert.match(second.stdout, /^nothing changed$/m);
    assert.doesNotMatch(second.stdout, /^installed/m);

    // An edited configuration is the user's; a changed unit is ours and is mended.
    const config = join(folder, "etc/tortie/tortie.yaml");
    Deno.writeTextFileSync(config, "node: { name: mine }\n");
    Deno.chmodSync(config, 0o640);
    Deno.writeTextFileSync(join(folder, "etc/systemd/system/tortie.service"), "broken");
    const third = await install([], { DESTDIR: folder });
    assert.match(third.stdout, /^kept .*tortie\.yaml/m);
    assert.match(third.stdout, /^installed .*tortie\.service$/m);
    assert.equal(Deno.readTextFileSync(config), "node: { name: mine }\n");
    assert.equal((Deno.statSync(config).mode ?? 0) & 0o777, 0o640);
    assert.equal(
      Deno.readTextFileSync(join(folder, "etc/systemd/system/tortie.service")),
      Deno.readTextFileSync(join(root, "config/tortie.service")),
    );

    const gone = await install(["uninstall"], { DESTDIR: folder });
    assert.equal(gone.code, 0, gone.stderr);
    assert.deepEqual([...tree(folder).keys()].filter((path) => /\.|bin\/tortie$/.test(path)), [
      "/etc/tortie/tortie.yaml",
    ]);
    assert.match((await install(["uninstall"], { DESTDIR: folder })).stdout, /^nothing to remove$/m);
  }));

Deno.test("PREFIX moves the executable, and the unit starts it there", () =>
  withFolder(async (folder) => {
    const { code, stderr } = await install([], { DESTDIR: folder, PREFIX: "/opt/tortie" });
    assert.equal(code, 0, stderr);
    assert.ok(Deno.statSync(join(folder, "opt/tortie/bin/tortie")).isFile);
    const unit = Deno.readTextFileSync(join(folder, "etc/systemd/system/tortie.service"));
    assert.match(unit, /^ExecStart=\/opt\/tortie\/bin\/tortie run --config \/etc\/tortie\/tortie\.yaml$/m);
  }));

Deno.test("an unknown word and a word too many are refused with the usage", async () => {
  for (const words of [["bogus"], ["lab", "up"]]) {
    const { code, stdout, stderr } = await install(words, {});
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^install\.sh: .*usage: \.\/install\.sh \[lab\|test\|toolchain\|uninstall\]\n$/);
  }
});

Deno.test({
  name: "without root it says that it needs root, and does nothing",
  ignore: !isRoot,
  fn: async () => {
    for (const words of [[], ["lab"], ["test"], ["uninstall"]]) {
      const become = ["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-s", "--", ...words];
      const child = new Deno.Command("setpriv", {
        args: become,
        cwd: "/",
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      })
        .spawn();
      // The checkout may lie where nobody may read, so the script comes by standard input.
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(Deno.readTextFileSync(script)));
      await writer.close();
      const { code, stderr } = await child.output();
      assert.equal(code, 1, words[0]);
      assert.match(new TextDecoder().decode(stderr), /needs root: run `sudo \.\/install\.sh/);
    }
  },
});

Deno.test("a Deno from npm whose hash is not the pinned one is refused", () =>
  withFolder(async (folder) => {
    const tools = join(folder, "tools");
    Deno.mkdirSync(tools);
    writeProgram(
      join(tools, "npm"),
      `#!/bin/sh\necho "$*" >>${folder}/log\n[ "$1" = pack ] && echo not Deno at all >deno-linux-x64-glibc-2.9.6.tgz || echo undefined\n`,
    );
    writeProgram(join(tools, "deno"), "#!/bin/sh\necho deno 2.9.5\n");
    Deno.copyFileSync(script, join(folder, "install.sh"));
    const { code, stderr } = await run(join(folder, "install.sh"), ["toolchain"], {
      env: { PATH: `${tools}:/usr/bin:/bin` },
    });
    assert.equal(code, 1);
    assert.match(stderr, /does not have the pinned SHA-512; nothing of it was run/);
    assert.match(Deno.readTextFileSync(join(folder, "log")), /^pack --silent @deno\/linux-x64-glibc@2\.9\.6$/m);
    assert.deepEqual(names(join(folder, ".tools")), []);
  }));

Deno.test("an installed Deno of the pinned version is used as it is", () =>
  withFolder(async (folder) => {
    writeProgram(join(folder, "deno"), "#!/bin/sh\necho deno 2.9.6 '(stable, release)'\n");
    Deno.copyFileSync(script, join(folder, "install.sh"));
    const { code, stdout, stderr } = await run(join(folder, "install.sh"), ["toolchain"], {
      env: { PATH: `${folder}:/usr/bin:/bin` },
    });
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), join(folder, "deno"));
    assert.ok(!names(folder).includes(".tools"));
  }));

/** Runs `install.sh test` with stand-ins for Debian's programs; they write what they were asked into `folder/log`. */
async function installTestPackages(folder: string, aptGet: string): Promise<Ended & { log: string[] }> {
  const tools = join(folder, "tools");
  Deno.mkdirSync(tools, { recursive: true });
  Deno.copyFileSync(script, join(folder, "install.sh"));
  const log = `echo "$(basename "$0") $*" >>${folder}/log`;
  writeProgram(join(tools, "deno"), `#!/bin/sh\n[ "$1" = run ] && ${log} || echo deno 2.9.6\n`);
  // frr and jq are missing; frr brings a daemon, of which one unit is a template.
  writeProgram(
    join(tools, "dpkg-query"),
    `#!/bin/sh
case "$*" in
  *-W*\\ frr | *-W*\\ jq) exit 1 ;;
  *-W*) printf installed ;;
  *-L*) printf '%s\\n' /lib/systemd/system/frr.service /lib/systemd/system/frr@.service /usr/bin/vtysh ;;
esac\n`,
  );
  writeProgram(join(tools, "apt-cache"), "#!/bin/sh\necho '  Candidate: 1.0'\n");
  writeProgram(
    join(tools, "apt-get"),
    `#!/bin/sh\n${log}\n/usr/sbin/policy-rc.d && exit 9\necho "guard $?" >>${folder}/log\n${aptGet}\n`,
  );
  writeProgram(join(tools, "systemctl"), `#!/bin/sh\n${log}\n`);
  const inside = `mount -t tmpfs tmpfs /usr/sbin && "$1" test; echo "code=$?"; ls /usr/sbin`;
  const ended = await run("unshare", ["--mount", "sh", "-c", inside, "sh", join(folder, "install.sh")], {
    env: { PATH: `${tools}:/usr/bin:/bin` },
  });
  return { ...ended, log: Deno.readTextFileSync(join(folder, "log")).trim().split("\n") };
}

Deno.test({
  name: "only missing packages are installed, and their daemons start neither now nor at boot",
  ignore: !isRoot,
  fn: () =>
    withFolder(async (folder) => {
      const { stdout, stderr, log } = await installTestPackages(folder, "exit 0");
      assert.equal(stdout.trim().split("\n").at(-1), "code=0", `the guard must be gone again: ${stdout}${stderr}`);
      assert.deepEqual(log, [
        "apt-get install -y -q --no-install-recommends frr jq",
        "guard 101",
        "systemctl is-enabled --quiet frr.service",
        "systemctl disable --quiet frr.service",
        "deno run -A --frozen build/build.ts",
        "deno run -A --frozen build/test.ts --gates",
      ]);
      assert.match(stdout, /^disabled frr\.service: /m);
    }),
});

Deno.test({
  name: "packages that cannot be had are tried once more with new lists, then named, and the guard is taken away",
  ignore: !isRoot,
  fn: () =>
    withFolder(async (folder) => {
      const { stdout, stderr, log } = await installTestPackages(folder, '[ "$1" = update ]');
      assert.equal(stdout.trim().split("\n").at(-1), "code=1", stdout);
      assert.match(stderr, /^install\.sh: cannot install frr jq; apt-get said why above$/m);
      const calls = log.filter((line) => line.startsWith("apt-get")).map((line) => line.split(" ")[1]);
      assert.deepEqual(calls, ["install", "update", "install"]);
    }),
});

Deno.test("the default configuration holds nothing but comments, and what it comments out is YAML", () => {
  const text = Deno.readTextFileSync(join(root, "config/tortie.yaml"));
  assert.deepEqual(parseAllDocuments(text).flatMap((document) => document.toJS() ?? []), []);
  const uncommented = text.split("\n").filter((line) => !line.startsWith("##"))
    .map((line) => line.replace(/^# /, "").replace(/ +##.*$/, "")).join("\n");
  const documents = parseAllDocuments(uncommented).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS();
  });
  assert.deepEqual(Object.keys(documents[0]), ["node", "datastore", "log", "metrics"]);
  assert.deepEqual(Object.keys(documents[0].node), ["name", "ip", "ip6", "stateDir", "socket"]);
  assert.deepEqual(documents.slice(1).map(({ kind }) => kind), ["IPPool", "BGPPeer", "GlobalNetworkPolicy"]);
  for (const document of documents.slice(1)) assert.equal(document.apiVersion, "projectcalico.org/v3");
});

Deno.test("the unit waits for the node's word, is watched, and leaves V8 its writable code", () => {
  const unit = Deno.readTextFileSync(join(root, "config/tortie.service"));
  for (const line of ["Type=notify", "WatchdogSec=30", "NoNewPrivileges=yes", "ProtectSystem=strict"]) {
    assert.ok(unit.split("\n").includes(line), line);
  }
  assert.doesNotMatch(unit, /^MemoryDenyWriteExecute=/m);
});

Deno.test("the unit's RestrictNamespaces=net holds: no namespace is entered with an unnamed kind", () => {
  const folder = join(root, "src/linux");
  const calls = names(folder).filter((name) => name.endsWith(".ts")).flatMap((name) => {
    const { code } = mask(Deno.readTextFileSync(join(folder, name)));
    return [...code.matchAll(/\bsetns\s*\([^()]*,\s*0\s*\)/g)].map((match) => `${name}: ${match[0]}`);
  });
  assert.deepEqual(calls, []);
});

const analyze = await run("systemd-analyze", ["--version"]).catch(() => undefined);

Deno.test({
  name: "systemd finds no fault with the unit",
  ignore: analyze?.code !== 0,
  fn: () =>
    withFolder(async (folder) => {
      const unit = Deno.readTextFileSync(join(root, "config/tortie.service")).replace(
        /^ExecStart=\S+/m,
        "ExecStart=/bin/true",
      );
      Deno.writeTextFileSync(join(folder, "tortie.service"), unit);
      const { code, stderr } = await run("systemd-analyze", ["verify", join(folder, "tortie.service")]);
      assert.deepEqual([code, stderr.split("\n").filter((line) => line.includes("tortie"))], [0, []]);
    }),
});

const shellcheck = await run("shellcheck", ["--version"]).catch(() => undefined);

Deno.test({
  name: "shellcheck finds no fault with the shell scripts",
  ignore: shellcheck?.code !== 0,
  fn: async () => {
    const scripts = ["install.sh", ".ci/run", "build/stub.sh"].map((name) => join(root, name));
    assert.equal((await run("shellcheck", scripts)).stdout, "");
  },
});
