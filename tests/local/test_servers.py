# tests/local/test_servers.py — servers that others wrote take the target's traffic: each says whom it answers.
import os
import subprocess
import unittest

from support import OWN_NETWORK, LocalTest, build_once, compile_with, free_port, need, python_with, wait_until, write_file

PAGE_SIZE = 3 << 20

# What every server under test answers: "/" with its peer, POST with what was sent.
WSGI = """
def app(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = body or ("local %s %s\\n" % (environ["REMOTE_ADDR"], environ["REMOTE_PORT"])).encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"""
ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = body or ("local %s %d\\n" % tuple(scope["client"])).encode()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(answer)).encode())]})
    await send({"type": "http.response.body", "body": answer})
"""
NGINX = """
worker_processes 2;
daemon off;
pid %(work)s/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_max_body_size 100m;
  client_body_temp_path %(work)s/body;
  proxy_temp_path %(work)s/proxy;
  fastcgi_temp_path %(work)s/fastcgi;
  uwsgi_temp_path %(work)s/uwsgi;
  scgi_temp_path %(work)s/scgi;
  server {
    listen %(port)d;
    listen [::]:%(port)d;
    location / { return 200 "local $remote_addr $remote_port\\n"; }
    location /page { alias %(work)s/page; }
  }
}
"""
NODE = """
const http = require('http'), cluster = require('cluster');
const [port, workers] = process.argv.slice(2).map(Number);
if (workers > 0 && cluster.isPrimary) {
  for (let i = 0; i < workers; i++) cluster.fork();
} else {
  http.createServer((request, response) => {
    const parts = [];
    request.on('data', part => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      const socket = request.socket;
      response.end(body.length ? body : `local ${socket.remoteAddress} ${socket.remotePort}\\n`);
    });
  }).listen(port);
}
"""


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and redirecting its ports take root")
class Server:
    """One class for each server derives from it and says how it is started, and what it can do."""
    hosts = ("127.0.0.1",)
    local = None

    def server(self, port):
        """The words that start it."""
        raise NotImplementedError

    def setUp(self):
        super().setUp()
        self.port = free_port()
        write_file(os.path.join(self.work, "target", "index.html"), b"target\n")
        self.target = subprocess.Popen(
            [*OWN_NETWORK, python_with(), "-m", "http.server", "--bind", "::", "--directory", os.path.join(self.work, "target"), str(self.port)],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started.append(self.target)
        self.becomes("target")

    def curl(self, *words, host="127.0.0.1", path="/", stdin=b""):
        host = "[%s]" % host if ":" in host else host
        return subprocess.run(
            ["nsenter", "--target", str(self.target.pid), "--net", need("curl"), "-sS", "--noproxy", "*", "--max-time",
             "20", *words, "http://%s:%d%s" % (host, self.port, path)],
            input=stdin, capture_output=True, timeout=60, check=False)

    def who(self, *words):
        return self.curl(*words).stdout.decode().split(" ")[0].strip()

    def becomes(self, name, *words):
        self.assertTrue(wait_until(lambda: self.who(*words) == name, 30, 0.1),
                        name + " does not answer: " + self.who(*words))

    def steal(self, incoming="steal", *words):
        process = self.start_remote(*self.server(self.port), target="process/%d" % self.target.pid,
                                    config={"feature": {"fs": "local", "network": {"incoming": incoming}}})
        self.becomes("local", *words)
        self.local = process
        return process

    def tearDown(self):
        # What a server makes for itself is its own to remove.
        if self.local is not None and self.local.poll() is None:
            self.local.terminate()
            self.local.wait(30)
        super().tearDown()

    def test_it_answers_the_real_clients(self):
        self.steal()
        for host in self.hosts:
            for _ in range(8):
                done = self.curl("-w", "%{local_ip} %{local_port}", host=host)
                self.assertEqual(0, done.returncode, done.stderr)
                seen, own = done.stdout.decode().split("\n")
                _, ip, port = seen.split(" ")
                self.assertEqual(own, "%s %s" % (ip.removeprefix("::ffff:"), port))

    def test_one_connection_many_requests(self):
        self.steal()
        url = "http://127.0.0.1:%d/" % self.port
        done = self.curl("-w", "%{num_connects}\n", *([url] * 20))
        connects = done.stdout.decode().split("\n")[1::2]
        self.assertEqual(["1"] + ["0"] * 20, connects, done)

    def test_it_gets_the_requests_that_a_filter_picks(self):
        mine = ("-H", "X-User: me")
        self.steal({"mode": "steal", "http_filter": {"header_filter": "^x-user: me$"}}, *mine)
        for _ in range(3):
            self.assertEqual(["target", "local"], [self.who(), self.who(*mine)])
        url = "http://127.0.0.1:%d/" % self.port
        done = self.curl(*mine, "-w", " %{num_connects}\n", *([url] * 20))
        self.assertEqual([1] + [0] * 20, [int(line.split()[-1]) for line in done.stdout.decode().splitlines()
                                          if len(line.split()) == 1 or line.startswith(" ")], done)

    def test_its_end_gives_the_traffic_back(self):
        process = self.steal()
        process.terminate()
        process.wait(30)
        self.becomes("target")


class Echo(Server):
    """Servers that run a program, which sends back what it is sent."""

    def test_bodies_come_back_unchanged(self):
        self.steal()
        data = os.urandom(PAGE_SIZE)
        done = self.curl("--data-binary", "@-", "-H", "Expect: 100-continue", stdin=data)
        self.assertEqual(data, done.stdout, done.stderr)


class Nginx(Server, LocalTest):
    hosts = ("127.0.0.1", "::1")

    def server(self, port):
        config = self.local_file("nginx.conf", (NGINX % {"work": self.work, "port": port}).encode())
        os.chmod(self.work, 0o755)
        return [need("nginx"), "-c", config, "-p", self.work]

    def test_a_large_file_is_sent_whole(self):
        data = os.urandom(PAGE_SIZE)
        self.local_file("page", data)
        self.steal()
        self.assertEqual(data, self.curl(path="/page").stdout)


class Gunicorn(Echo, LocalTest):
    def server(self, port):
        self.local_file("service.py", WSGI.encode())
        return [need("gunicorn"), "--workers", "2", "--keep-alive", "5", "--worker-class", "gthread", "--bind",
                "0.0.0.0:%d" % port, "service:app"]


class Uvicorn(Echo, LocalTest):
    def server(self, port):
        self.local_file("service.py", ASGI.encode())
        return [need("uvicorn"), "--host", "0.0.0.0", "--port", str(port), "--no-access-log", "service:app"]


class Node(Echo, LocalTest):
    hosts = ("127.0.0.1", "::1")
    workers = "0"

    def server(self, port):
        return [need("node"), self.local_file("service.js", NODE.encode()), str(port), self.workers]


class NodeCluster(Node):
    workers = "2"


class Go(Echo, LocalTest):
    hosts = ("127.0.0.1", "::1")

    def server(self, port):
        need("go", "gcc")
        folder = build_once("go-server", ["server.go"], lambda out: compile_with(
            "go", "build", "-o", os.path.join(out, "server"), self.app("server.go"),
            env={"CGO_ENABLED": "1", "GOFLAGS": "-p=2", "GO111MODULE": "off"}))
        return [os.path.join(folder, "server"), str(port)]


class Java(Echo, LocalTest):
    def server(self, port):
        need("java", "javac")
        folder = build_once("java-server", ["Server.java"], lambda out: compile_with(
            "javac", "-d", out, self.app("Server.java")))
        return ["java", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", folder, "Server", str(port)]


if __name__ == "__main__":
    unittest.main()
