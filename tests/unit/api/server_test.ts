/** The server against clients that are slow, broken, hostile or too many: each is told why, and the others never wait. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { connectApi } from "../../../src/api/client.ts";
import { ApiError } from "../../../src/api/error.ts";
import { serveApi } from "../../../src/api/server.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { until } from "../../contract/store_suite.ts";
import { fakeNode, POOL, raw, readAll, withServer } from "./fake_node.ts";

const GET = "GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n";

/** The status and the error's code of a raw answer. */
function told(answer: string): [number, string | undefined] {
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
  return [status, status === 200 ? undefined : JSON.parse(body).error.code];
}

Deno.test("socket and lock have mode 0600 and the directory 0755, whatever the umask", async () => {
  const umask = Deno.umask(0);
  try {
    await withServer(fakeNode().api, {}, (socket) => {
      const mode = (path: string) => ((Deno.lstatSync(path).mode ?? 0) & 0o777).toString(8);
      assert.deepEqual([mode(socket), mode(`${socket}.lock`), mode(socket.replace(/\/[^/]*$/, ""))], [
        "600",
        "600",
        "755",
      ]);
      assert.equal(Deno.umask(), 0, "the umask is as before");
      return Promise.resolve();
    });
  } finally {
    Deno.umask(umask);
  }
});

Deno.test("a living node's socket is refused and keeps working, a closed one's is gone", async () => {
  const { api } = fakeNode();
  await withServer(api, {}, async (socket, server) => {
    const second = serveApi({ socket, api, log: silentLog });
    await assert.rejects(
      second,
      (error) => error instanceof ApiError && error.message.includes(`${socket}: another node listens`),
    );
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
    await server.close();
    assert.throws(() => Deno.lstatSync(socket), Deno.errors.NotFound);
    const third = await serveApi({ socket, api, log: silentLog });
    await third.close();
  });
});

Deno.test("a dead node's socket is replaced; a living program's and a plain file are not", async () => {
  const dir = await Deno.makeTempDir();
  const { api } = fakeNode();
  const socket = `${dir}/tortie.sock`;
  try {
    const other = Deno.listen({ transport: "unix", path: socket });
    await assert.rejects(serveApi({ socket, api, log: silentLog }), /another program listens there/);
    other.close();
    const server = await serveApi({ socket, api, log: silentLog });
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
    await server.close();
    await Deno.writeTextFile(socket, "precious");
    await assert.rejects(serveApi({ socket, api, log: silentLog }), /not a socket; move it away/);
    assert.equal(await Deno.readTextFile(socket), "precious");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a killed node's socket is taken over", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const socket = `${dir}/tortie.sock`;
    const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
    const code = `import { serveApi } from ${url("../../../src/api/server.ts")};
      import { fakeNode } from ${url("fake_node.ts")};
      import { silentLog } from ${url("../../../src/lib/log.ts")};
      await serveApi({ socket: ${JSON.stringify(socket)}, api: fakeNode().api, log: silentLog });
      console.log("serving");`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-lock", code],
      env: { DENO_NO_UPDATE_CHECK: "1" },
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    const { api } = fakeNode();
    await assert.rejects(serveApi({ socket, api, log: silentLog }), /another node listens there/);
    child.kill("SIGKILL");
    while (!(await reader.read()).done);
    await child.status;
    assert.ok(Deno.lstatSync(socket).isSocket, "the dead node left its socket");
    const server = await serveApi({ socket, api, log: silentLog });
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
    await server.close();
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("what is not HTTP, not known or not JSON is refused with its status and code", async () => {
  const { api, calls } = fakeNode();
  const post = (body: string | Uint8Array, fields = "") =>
    [`POST /v1/workloads HTTP/1.1\r\nContent-Length: ${body.length}\r\n${fields}\r\n`, body] as const;
  const cases: [string, readonly (string | Uint8Array)[], number, string][] = [
    ["garbage", ["\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"], 400, "invalid"],
    ["no start line", ["hello\r\n\r\n"], 400, "invalid"],
    ["another version", ["GET /v1/status HTTP/2.0\r\n\r\n"], 400, "invalid"],
    ["a bare newline in the head", ["GET /v1/status HTTP/1.1\r\nA: b\nC: d\r\n\r\n"], 400, "invalid"],
    ["a folded field", ["GET /v1/status HTTP/1.1\r\nA: b\r\n c\r\n\r\n"], 400, "invalid"],
    ["a space before the colon", ["GET /v1/status HTTP/1.1\r\nA : b\r\n\r\n"], 400, "invalid"],
    ["two lengths", ["POST /v1/reload HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"], 400, "invalid"],
    ["a negative length", ["POST /v1/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n"], 400, "invalid"],
    ["chunks", ["POST /v1/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], 411, "length"],
    ["an endless head", ["GET /v1/status HTTP/1.1\r\nA: ", "x".repeat(40_000)], 413, "too-large"],
    ["a body said to be too long", ["POST /v1/reload HTTP/1.1\r\nContent-Length: 8388609\r\n\r\n"], 413, "too-large"],
    ["a body that is too long", post(new Uint8Array(9_000_000)), 413, "too-large"],
    ["an unknown path", ["GET /v2/status HTTP/1.1\r\n\r\n"], 404, "unknown"],
    ["an empty part", ["GET /v1/resources/ippools/ HTTP/1.1\r\n\r\n"], 404, "unknown"],
    ["an unknown kind", ["GET /v1/resources/pods HTTP/1.1\r\n\r\n"], 404, "unknown"],
    ["another method", ["PUT /v1/status HTTP/1.1\r\n\r\n"], 405, "method"],
    ["an unknown parameter", ["GET /v1/status?verbose=1 HTTP/1.1\r\n\r\n"], 400, "invalid"],
    ["a parameter twice", ["GET /v1/bgp/routes?prefix=a&prefix=b HTTP/1.1\r\n\r\n"], 400, "invalid"],
    ["a parameter that is missing", ["GET /v1/bgp/explain HTTP/1.1\r\n\r\n"], 400, "invalid"],
    [
      "a port that is none",
      ["GET /v1/policy/explain?from=a&to=b&protocol=tcp&port=65536 HTTP/1.1\r\n\r\n"],
      400,
      "invalid",
    ],
    ["a flag that is none", ["GET /v1/resources/ippools?watch=yes HTTP/1.1\r\n\r\n"], 400, "invalid"],
    ["a bad escape", ["DELETE /v1/workloads/%ff HTTP/1.1\r\n\r\n"], 400, "invalid"],
    ["broken JSON", post('{"name":"web",}'), 400, "invalid"],
    ["broken UTF-8", post(Uint8Array.of(0x22, 0xff, 0x22)), 400, "invalid"],
    ["no body", ["POST /v1/workloads HTTP/1.1\r\n\r\n"], 400, "invalid"],
  ];
  await withServer(api, {}, async (socket, _, log) => {
    for (const [what, pieces, status, code] of cases) {
      assert.deepEqual(told(await raw(socket, ...pieces)), [status, code], what);
    }
    assert.deepEqual(calls, []);
    assert.deepEqual(log.filter(([level]) => level !== "debug"), []);
  });
});

Deno.test("no bytes whatever bring the server down or reach the node", async () => {
  const { api, calls } = fakeNode();
  await withServer(api, { limits: { headMs: 20, bodyMs: 20 } }, async (socket, _, log) => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(
        "POST /v1/workloads HTTP/1.1\r\n",
        "Content-Length: 7\r\n",
        "\r\n",
        "\r\n\r\n",
        "{}",
        "GET / ",
        ":",
      )
        .map((text) => new TextEncoder().encode(text)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const answer = await raw(socket, ...pieces);
        assert.match(answer, /^(HTTP\/1\.1 4\d\d Refused\r\n|$)/);
      }),
      { numRuns: 100 },
    );
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
    assert.deepEqual(calls, [["status"]]);
    assert.deepEqual(log.filter(([level]) => level !== "debug"), []);
  });
});

Deno.test("a client that dribbles, or stops half-way, is told so and dropped while others are served", async () => {
  const { api } = fakeNode();
  await withServer(api, { limits: { headMs: 150, bodyMs: 150 } }, async (socket) => {
    const starts = ["", "GET /v1/st", "POST /v1/workloads HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"];
    const conns = await Promise.all(starts.map(() => Deno.connect({ transport: "unix", path: socket })));
    const answers = conns.map(async (conn, i) => {
      await conn.write(new TextEncoder().encode(starts[i]));
      const dribble = setInterval(() => conn.write(new TextEncoder().encode("x")).catch(() => {}), 20);
      const answer = await readAll(conn);
      clearInterval(dribble);
      conn.close();
      return told(answer);
    });
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
    assert.deepEqual(await Promise.all(answers), [[408, "slow"], [408, "slow"], [408, "slow"]]);
  });
});

Deno.test("a client that leaves in the middle harms nobody", async () => {
  let finish = () => {};
  const { api, calls } = fakeNode((call) =>
    call === "reload" ? new Promise((resolve) => finish = () => resolve({})) : undefined
  );
  await withServer(api, {}, async (socket, _, log) => {
    for (const text of ["GET /v1/st", "POST /v1/reload HTTP/1.1\r\nContent-Length: 5\r\n\r\n{}"]) {
      const conn = await Deno.connect({ transport: "unix", path: socket });
      await conn.write(new TextEncoder().encode(text));
      conn.close();
    }
    const conn = await Deno.connect({ transport: "unix", path: socket });
    await conn.write(new TextEncoder().encode("POST /v1/reload HTTP/1.1\r\n\r\n"));
    await until(() => calls.length === 1, "the call");
    conn.close();
    finish();
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
    assert.deepEqual(log.filter(([level]) => level !== "debug"), []);
  });
});

Deno.test("a call that the node does not end is given up with 504", async () => {
  const { api } = fakeNode(() => new Promise(() => {}));
  await withServer(api, { limits: { requestMs: 30 } }, async (socket) => {
    assert.deepEqual(told(await raw(socket, GET)), [504, "timeout"]);
  });
});

Deno.test("many calls at once are all served; past the limit clients are told to try again, and do", async () => {
  let running = 0, most = 0;
  const { api } = fakeNode(async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 1));
    running--;
    return {};
  });
  await withServer(api, { limits: { connections: 20 } }, async (socket) => {
    await Promise.all(Array.from({ length: 300 }, () => connectApi(socket).status()));
    assert.ok(most > 1 && most <= 20, `${most} at once`);
    const idle = await Promise.all(Array.from({ length: 20 }, () => Deno.connect({ transport: "unix", path: socket })));
    const answer = until(() => true, "").then(() => raw(socket, GET));
    assert.deepEqual(told(await answer), [503, "busy"]);
    for (const conn of idle) conn.close();
  });
});

Deno.test("bodies that together are too much for the node wait for their turn", async () => {
  const { api, calls } = fakeNode();
  await withServer(api, { limits: { maxBodies: 1000 } }, async (socket) => {
    const post = "POST /v1/resources/apply HTTP/1.1\r\nContent-Length: 600\r\n\r\n";
    const conn = await Deno.connect({ transport: "unix", path: socket });
    await conn.write(new TextEncoder().encode(post + " "));
    const isRefused = async () => told(await raw(socket, post))[1] === "busy";
    const deadline = performance.now() + 5000;
    while (!await Promise.race([isRefused(), new Promise<false>((r) => setTimeout(() => r(false), 100))])) {
      assert.ok(performance.now() < deadline, "the second body was let in");
    }
    const patient = connectApi(socket).resources.apply({ ...POOL, metadata: { name: "x".repeat(300) } });
    conn.close();
    await patient;
    assert.equal(calls.length, 1);
  });
});

Deno.test("a watcher that does not read is cut off, and its watch in the node is stopped", async () => {
  const { api, sinks } = fakeNode();
  await withServer(api, { limits: { writeMs: 100, maxBacklog: 1_000_000 } }, async (socket) => {
    using conn = await Deno.connect({ transport: "unix", path: socket });
    await conn.write(new TextEncoder().encode("GET /v1/resources/ippools?watch=true HTTP/1.1\r\n\r\n"));
    await until(() => sinks.size === 1, "the watch");
    const fill = setInterval(() => {
      for (const sink of sinks) for (let i = 0; i < 200; i++) sink({ type: "added", resource: POOL });
    }, 1);
    await until(() => sinks.size === 0, "the cut");
    clearInterval(fill);
    assert.deepEqual(told(await raw(socket, GET)), [200, undefined]);
  });
});

Deno.test("health is a word with a status", async () => {
  const { api } = fakeNode();
  const health = { liveness: () => null, readiness: () => "the store is not in sync" };
  await withServer(api, { health }, async (socket) => {
    assert.match(await raw(socket, "GET /liveness HTTP/1.1\r\n\r\n"), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok\n$/);
    assert.match(await raw(socket, "GET /readiness HTTP/1.1\r\n\r\n"), /^HTTP\/1\.1 503 Refused\r\n[^]*not in sync\n$/);
  });
});

Deno.test("curl speaks with it, expecting a go-ahead before a long body", async () => {
  const { api, calls } = fakeNode();
  await withServer(api, {}, async (socket) => {
    const body = JSON.stringify({ ...POOL, metadata: { name: "big", labels: { a: "x".repeat(2_000_000) } } });
    const child = new Deno.Command("curl", {
      args: [
        "-sS",
        "--max-time",
        "10",
        "--unix-socket",
        socket,
        "--data-binary",
        "@-",
        "http://tortie/v1/resources/apply",
      ],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(body));
    await writer.close();
    const { code, stdout } = await child.output();
    assert.equal(code, 0);
    assert.equal(JSON.parse(new TextDecoder().decode(stdout)).called, "resources.apply");
    assert.deepEqual(calls[0]?.[1], JSON.parse(body));
  });
});
