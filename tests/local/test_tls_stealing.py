# tests/local/test_tls_stealing.py — the agent takes TLS off what reaches the target, as the original's operator
# configures it, and puts it on again on the way to the target.
import base64
import json
import os
import subprocess
import unittest

from support import LocalTest, free_port, need, python_with, wait_until, write_file

# Answers every connection with its name, what was agreed on, and whose certificate came.
SERVER = r"""
import json, socket, ssl, sys, threading
name, port, folder, alpn = sys.argv[1:5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/server.pem", folder + "/server.key")
context.load_verify_locations(folder + "/root.pem")
context.verify_mode = ssl.CERT_OPTIONAL
context.set_alpn_protocols(alpn.split(","))
names = []
context.sni_callback = lambda connection, name, _: names.append(name)

def serve(raw):
    try:
        with context.wrap_socket(raw, server_side=True) as connection:
            seen = {"server": name, "alpn": connection.selected_alpn_protocol(), "name": names[-1],
                    "client": dict(x[0] for x in connection.getpeercert()["subject"]) if connection.getpeercert() else None}
            stream = connection.makefile("rb")
            while request := stream.readline():
                fields = iter(stream.readline, b"\r\n")
                length = sum(int(f.split(b":")[1]) for f in fields if f.lower().startswith(b"content-length"))
                seen.update(request=request.decode().strip(), body=len(stream.read(length)))
                text = json.dumps(seen).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    except OSError:
        pass

listener = socket.create_server(("", int(port)))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

# The same in plain text.
PLAIN = SERVER[:SERVER.index("context =")] + r"""
def serve(connection):
    stream = connection.makefile("rb")
    while request := stream.readline():
        fields = iter(stream.readline, b"\r\n")
        length = sum(int(f.split(b":")[1]) for f in fields if f.lower().startswith(b"content-length"))
        text = json.dumps({"server": name, "request": request.decode().strip(), "body": len(stream.read(length))}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
""" + SERVER[SERVER.index("\nlistener ="):]


# HTTP/2 by ALPN.
HTTP2 = r"""
const fs = require('fs');
const [name, port, folder] = process.argv.slice(1);
require('http2').createSecureServer({cert: fs.readFileSync(folder + '/server.pem'), key: fs.readFileSync(folder + '/server.key')},
  (request, response) => response.end(JSON.stringify({
    server: name, version: request.httpVersion, alpn: request.socket.alpnProtocol, name: request.socket.servername}))
).listen(Number(port), '::', () => console.log('ready'));
"""


def openssl(*words, cwd):
    subprocess.run([need("openssl"), *words], cwd=cwd, check=True, capture_output=True, timeout=60)


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and redirecting its ports take root")
class TlsStealing(LocalTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.make_certificates()
        self.target = self.start_target(python_with(), "-c", SERVER, "target", str(self.port), self.work, "http/1.1")

    def make_certificates(self):
        """A root, and by it a server's certificate and those of two clients; and somebody else's."""
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        openssl("req", "-x509", *curve, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=root", cwd=self.work)
        openssl("req", "-x509", *curve, "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", "/CN=stranger",
                cwd=self.work)
        write_file(os.path.join(self.work, "names"), b"subjectAltName=DNS:shop.test")
        for name in ("server", "agent", "caller"):
            openssl("req", *curve, "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name, cwd=self.work)
            openssl("x509", "-req", "-in", name + ".csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
                    "-days", "2", "-extfile", "names", "-out", name + ".pem", cwd=self.work)

    def path(self, name):
        return os.path.join(self.work, name)

    def serve(self, server=None, client=None, http_filter=None, status=None, delivery=None, program=None):
        """Starts the local program, by itself in plain text."""
        tls = [{"port": self.port,
                "agentAsServer": {"authentication": {"certPem": self.path("server.pem"), "keyPem": self.path("server.key")},
                                  "alpnProtocols": ["http/1.1"], **(server or {})},
                "agentAsClient": {"verification": {"acceptAnyCert": False, "trustRoots": [self.path("root.pem")]},
                                  **(client or {})}}]
        self.env["MIRRORD_AGENT_STEAL_TLS_CONFIG"] = base64.b64encode(json.dumps(tls).encode()).decode().rstrip("=")
        incoming = {"mode": "steal", **({"http_filter": {"header_filter": "^x-user: me$"}} if http_filter is None else {})}
        delivery = {"protocol": "tcp"} if delivery is None else delivery
        if delivery:
            incoming["tls_delivery"] = delivery
        is_plain = delivery.get("protocol") == "tcp"
        program = program or [python_with(), "-c", PLAIN if is_plain else SERVER, "local", str(self.port), self.work, "http/1.1"]
        process = self.start_remote(*program,
                                    target="process/%d" % self.target.pid,
                                    config={"feature": {"fs": "local", "network": {"incoming": incoming}}})
        if status is not None:
            _, errors = process.communicate(timeout=30)
            self.assertEqual(status, process.returncode, errors)
            return errors.decode()
        line = process.stdout.readline()
        self.assertEqual(b"ready\n", line, line or process.stderr.read())
        return process

    def curl(self, *words, status=(0,)):
        done = subprocess.run(
            ["nsenter", "--target", str(self.target.pid), "--net", need("curl"), "-sS", "--max-time", "20", "--noproxy", "*",
             "--cacert", self.path("root.pem"), "--resolve", "shop.test:%d:127.0.0.1" % self.port, *words,
             "https://shop.test:%d/" % self.port], capture_output=True, timeout=60, check=False)
        self.assertIn(done.returncode, status, done.stderr)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.decode()

    def test_requests_inside_tls_go_their_own_ways(self):
        self.assertEqual("target", self.curl()["server"])
        self.serve()
        got = self.curl("-H", "X-User: me")
        self.assertEqual(("local", "GET / HTTP/1.1"), (got["server"], got["request"]))
        got = self.curl("-H", "X-User: you")
        self.assertEqual(("target", "http/1.1", "shop.test", None),
                         (got["server"], got["alpn"], got["name"], got["client"]))

    def test_bodies_of_both_ways(self):
        self.serve()
        body = self.local_file("body", os.urandom(3_000_000))
        for user, server in (("me", "local"), ("you", "target")):
            got = self.curl("-H", "X-User: " + user, "--data-binary", "@" + body)
            self.assertEqual((server, 3_000_000), (got["server"], got["body"]))

    def test_the_agent_shows_the_target_a_certificate(self):
        self.serve(client={"authentication": {"certPem": self.path("agent.pem"), "keyPem": self.path("agent.key")},
                           "verification": {"acceptAnyCert": True, "trustRoots": []}})
        self.assertEqual({"commonName": "agent"}, self.curl()["client"])

    def test_clients_certificates(self):
        roots = {"trustRoots": [self.path("root.pem")], "acceptAnyCert": False}
        mine = ("-H", "X-User: me")
        refused = (52, 56)  # no answer, an alert
        caller = ("--cert", self.path("caller.pem"), "--key", self.path("caller.key"))
        stranger = ("--cert", self.path("stranger.pem"), "--key", self.path("stranger.key"))
        for rules, anonymous, wrong in (({"allowAnonymous": False}, refused, refused), ({"allowAnonymous": True}, (0,), refused),
                                        ({"allowAnonymous": False, "acceptAnyCert": True}, (0,), (0,))):
            with self.subTest(rules):
                process = self.serve(server={"verification": {**roots, **rules}})
                self.assertEqual("local", self.curl(*mine, *caller)["server"])
                self.curl(*mine, status=anonymous)
                self.curl(*mine, *stranger, status=wrong)
                process.kill()
                process.wait(20)

    def test_a_target_that_shows_a_wrong_certificate(self):
        self.serve(client={"verification": {"acceptAnyCert": False, "trustRoots": [self.path("stranger.pem")]}})
        self.assertEqual("local", self.curl("-H", "X-User: me")["server"])
        done = self.curl("-f", "-w", "%{http_code}", status=(22,))
        self.assertIn("502", done)

    def test_the_program_gets_tls(self):
        for delivery in ({}, {"protocol": "tls", "server_cert": self.path("server.pem")},
                         {"protocol": "tls", "trust_roots": [self.path("root.pem")]}):
            with self.subTest(delivery):
                process = self.serve(delivery=delivery)
                for _ in range(2):
                    got = self.curl("-H", "X-User: me")
                    self.assertEqual(("local", "http/1.1", "shop.test"), (got["server"], got["alpn"], got["name"]))
                self.assertEqual("target", self.curl()["server"])
                process.kill()
                process.wait(20)
                self.assertTrue(wait_until(lambda: self.curl("-H", "X-User: me")["server"] == "target", 20, 0.2))

    def test_http2_inside_tls(self):
        self.target.kill()
        self.target.wait(20)
        self.target = self.start_target(need("node"), "-e", HTTP2, "target", str(self.port), self.work)
        self.serve(server={"alpnProtocols": ["h2", "http/1.1"]}, delivery={},
                   program=[need("node"), "-e", HTTP2, "local", str(self.port), self.work])
        for user, server in (("me", "local"), ("you", "target")):
            self.assertEqual({"server": server, "version": "2.0", "alpn": "h2", "name": "shop.test"},
                             self.curl("--http2", "-H", "X-User: " + user))

    def test_the_whole_port_inside_tls(self):
        self.serve(http_filter=False, delivery={})
        body = self.local_file("body", os.urandom(3_000_000))
        got = self.curl("--data-binary", "@" + body)
        self.assertEqual(("local", "shop.test", 3_000_000), (got["server"], got["name"], got["body"]))

    def test_a_program_that_shows_a_wrong_certificate(self):
        for delivery in ({"protocol": "tls", "trust_roots": [self.path("stranger.pem")]},
                         {"protocol": "tls", "server_cert": self.path("stranger.pem")},
                         {"protocol": "tls", "trust_roots": [self.path("root.pem")], "server_name": "other.test"}):
            with self.subTest(delivery):
                process = self.serve(delivery=delivery)
                self.assertIn("502", self.curl("-H", "X-User: me", "-f", "-w", "%{http_code}", status=(22,)))
                process.kill()
                process.wait(20)
                self.assertTrue(wait_until(lambda: self.curl("-H", "X-User: me", status=(0, 22))["server"] == "target", 20, 0.2))

    def test_wrong_files_are_named_at_the_start(self):
        for delivery, words in (({"protocol": "tls", "server_cert": self.path("names")}, "server_cert"),
                                ({"protocol": "tls", "trust_roots": [self.path("nowhere")]}, "trust_roots")):
            errors = self.serve(delivery=delivery, status=1)
            self.assertIn("feature.network.incoming.tls_delivery." + words, errors)

    def test_what_is_not_tls_ends(self):
        self.serve()
        done = subprocess.run(["nsenter", "--target", str(self.target.pid), "--net", need("curl"), "-sS", "--max-time", "20",
                               "http://127.0.0.1:%d/" % self.port], capture_output=True, timeout=60, check=False)
        self.assertIn(done.returncode, (1, 52, 56), done)

    def test_a_wrong_configuration_says_what_is_wrong(self):
        self.env["MIRRORD_AGENT_STEAL_TLS_CONFIG"] = "e30"
        _, errors = self.run_remote("true", target="process/%d" % self.target.pid, status=1)
        self.assertIn(b"MIRRORD_AGENT_STEAL_TLS_CONFIG", errors)


if __name__ == "__main__":
    unittest.main()
