# tests/local/test_http_filters.py — HTTP requests of the target that a filter picks come to the local program, the
# others reach the target, on the same connections.
import json
import os
import signal
import subprocess
import time
import unittest
from random import Random

from support import LocalTest, free_port, need, python_with, wait_until

# Sends its input on one connection, waits for the marks in the answers, and prints all that came.
TALK = r"""
import json, socket, sys, time
port, steps = int(sys.argv[1]), json.loads(sys.argv[2])
with socket.create_connection(("127.0.0.1", port), 20) as connection:
    connection.settimeout(10)
    received = b""
    seen = 0
    for send, mark in steps:
        if send is None:
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.sendall(send.encode("latin-1"))
        while mark.encode("latin-1") not in received[seen:] or not mark:
            try:
                data = connection.recv(65536)
            except TimeoutError:
                sys.exit("nothing more came than %r" % received)
            if not data:
                break
            received += data
        seen = len(received)
sys.stdout.write(received.decode("latin-1"))
"""

# Sends two pieces with more time between them than a filter waits, and prints what comes.
SLOWLY = r"""
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as connection:
    connection.sendall(sys.argv[2].encode())
    time.sleep(1.5)
    connection.sendall(sys.argv[3].encode())
    received = b""
    while not received.endswith(b"}\n"):
        received += connection.recv(65536)
sys.stdout.write(received.decode())
"""

# Forty requests of one HTTP/2 connection, every other one with the header; prints who answered, how long, and how.
TOGETHER = r"""
const session = require('http2').connect('http://127.0.0.1:' + process.argv[1]);
let open = 40;
for (let number = 0; number < 40; ++number) {
  const request = session.request({':path': '/many?' + 50000 * number, 'x-user': number % 2 ? 'you' : 'me'});
  let size = 0, headers;
  request.on('response', got => { headers = got; });
  request.on('data', chunk => { size += chunk.length; });
  request.on('end', () => {
    console.log(headers['x-server'] + ':' + size + ':' + headers[':status']);
    if (--open === 0) session.close();
  });
}
"""

# Asks on kept connections until the target has answered ten times in a row; prints who answered, or what came instead.
ASKER = r"""
import http.client, sys, time
connection, in_a_row, end = None, 0, time.monotonic() + 20
while in_a_row < 10 and time.monotonic() < end:
    begun = time.monotonic()
    try:
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
        connection.request("GET", "/", headers={"X-User": "me"})
        answer = connection.getresponse()
        answer.read()
        who = answer.headers.get("X-Server") or str(answer.status)
    except (ConnectionError, http.client.HTTPException):
        connection, who = None, "closed"
    if time.monotonic() - begun > 2:
        who = "late"
    print(who, flush=True)
    in_a_row = in_a_row + 1 if who == "target" else 0
    time.sleep(0.005)
"""

MINE = {"header_filter": "^x-user: me$"}


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and redirecting its ports take root")
class HttpFilters(LocalTest):
    protocol = ()  # of both servers

    def setUp(self):
        super().setUp()
        self.port = free_port()
        self.target = self.start_echo()

    def start_echo(self):
        return self.start_target(need("node"), self.app("http_echo.js"), "target", str(self.port), *self.protocol)

    def serve(self, http_filter=MINE, mode="steal", name="local", target=None):
        """Starts the local program with this filter and waits until it listens."""
        incoming = {"mode": mode, **({"http_filter": http_filter} if http_filter else {})}
        process = self.start_remote(need("node"), self.app("http_echo.js"), name, str(self.port), *self.protocol,
                                    target=target or "process/%d" % self.target.pid,
                                    config={"feature": {"network": {"incoming": incoming}}})
        line = process.stdout.readline()
        self.assertEqual(b"ready\n", line, line or process.stderr.read())
        return process

    def stop(self, process):
        process.stdin.close()
        process.wait(20)

    def inside(self, *command, status=0, **keywords):
        done = subprocess.run(["nsenter", "--target", str(self.target.pid), "--net", *command], capture_output=True,
                              timeout=60, check=False, **keywords)
        if status is not None:
            self.assertEqual(status, done.returncode, done.stderr)
        return done.stdout

    def talk(self, *steps):
        """What comes on one connection, byte for byte, after sending each step's text and waiting for its mark."""
        return self.inside(python_with(), "-c", TALK, str(self.port), json.dumps(steps)).decode()

    def curl(self, path, *words, status=0):
        return self.inside(need("curl"), "-sS", "--max-time", "30", *words, "http://127.0.0.1:%d%s" % (self.port, path),
                           status=status)

    def ask(self, path="/", *words):
        return json.loads(self.curl(path, *words))

    def me(self, path="/", *words):
        return self.ask(path, "-H", "X-User: me", *words)


class HttpOne(HttpFilters):
    def answers(self, text):
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def test_requests_of_one_connection_go_their_own_ways(self):
        self.serve()
        get = "GET /%d HTTP/1.1\r\nHost: shop\r\n%s\r\n"
        mine = "X-User: me\r\n"
        text = self.talk((get % (1, ""), "}\n"), (get % (2, mine), "}\n"), (get % (3, ""), "}\n"),
                         (get % (4, mine) + get % (5, "") + get % (6, mine + "Connection: close\r\n"), ""))
        self.assertEqual([("target", "/1"), ("local", "/2"), ("target", "/3"), ("local", "/4"), ("target", "/5"),
                          ("local", "/6")], [(one["server"], one["url"]) for one in self.answers(text)])
        self.assertEqual(6, text.count("HTTP/1.1 200"))

    def test_what_both_servers_are_sent_is_what_the_client_sent(self):
        self.serve()
        for user, server in (("me", "local"), ("you", "target")):
            words = ["-H", "X-User: " + user, "-H", "Empty;", "-H", "Twice: 1", "-H", "Twice: 2", "-A", "curl", "-X", "PATCH",
                     "-d", "a body", "-H", "Host: shop.example"]
            got = self.ask("/p/../q%20r?s=t&u", "--path-as-is", *words)
            self.assertEqual({
                "server": server, "method": "PATCH", "url": "/p/../q%20r?s=t&u", "version": "1.1", "body": "a body",
                "trailers": {}, "peer": "::ffff:127.0.0.1", "headers": {
                    "host": "shop.example", "user-agent": "curl", "accept": "*/*", "x-user": user, "empty": "",
                    "twice": "1, 2", "content-length": "6", "content-type": "application/x-www-form-urlencoded"}}, got)

    def test_answers_are_not_to_be_cached(self):
        self.serve()
        for user in ("me", "you"):
            self.assertIn(b"\r\nCache-Control: no-cache, no-store, must-revalidate\r\n",
                          self.curl("/", "-i", "-H", "X-User: " + user))

    def test_filters_of_every_kind(self):
        post = ["-H", "Content-Type: application/json", "-d", json.dumps({"order": {"customer": "me", "lines": [1, 2]}})]
        body = {"body": "json", "query": "$.order.customer", "matches": "^me$"}
        for http_filter, mine, other in (
                ({"path_filter": "^/api/"}, ["/api/x"], ["/x/api/"]),
                ({"method_filter": "delete"}, ["/", "-X", "DELETE"], ["/"]),
                ({"body_filter": body}, ["/", *post], ["/", "-d", "{}"]),
                ({"header_filter_jq": 'ascii_downcase | startswith("x-user: m")'}, ["/", "-H", "X-User: Me"], ["/"]),
                ({"all_of": [{"path": "/api"}, {"method": "POST"}, body]}, ["/api", *post], ["/ap", *post]),
                ({"any_of": [{"path": "/api"}, body]}, ["/", *post], ["/", "-X", "POST"])):
            with self.subTest(http_filter):
                process = self.serve(http_filter)
                self.assertEqual(("local", "target"), (self.ask(*mine)["server"], self.ask(*other)["server"]))
                self.stop(process)

    def test_a_body_that_is_asked_is_not_lost(self):
        self.serve({"any_of": [{"body": "json", "query": "$.x", "matches": "me"}, {"header": "x-none"}]})
        for text, server in (('{"x": "me"}', "local"), ('{"x": "you"}', "target"), ("no json", "target")):
            got = self.ask("/", "-d", text)
            self.assertEqual((server, text), (got["server"], got["body"]))
        # Longer than a filter reads: announced, and only found out.
        long = self.local_file("long", b'{"x": "me", "rest": "' + b"r" * 100_000 + b'"}')
        for words in ([], ["-H", "Transfer-Encoding: chunked"]):
            got = self.ask("/", "--data-binary", "@" + long, *words)
            self.assertEqual(("target", 100_023), (got["server"], len(got["body"])))
        # Slower than a filter waits.
        head = "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 11\r\n\r\n"
        text = self.inside(python_with(), "-c", SLOWLY, str(self.port), head + '{"x":', ' "me"}').decode()
        self.assertIn('"server":"target"', text)

    def test_bodies_in_pieces_with_trailers_both_ways(self):
        self.serve()
        for user, server in (("me", "local"), ("you", "target")):
            text = self.talk(("POST /echo HTTP/1.1\r\nHost: shop\r\nX-User: %s\r\nTransfer-Encoding: chunked\r\n"
                              "Trailer: sum\r\n\r\n5\r\nhello\r\n" % user, "hello"),
                             ("6\r\n world\r\n0\r\nSum: 11\r\n\r\n", "\r\n\r\n"))
            head, _, body = text.partition("\r\n\r\n")
            self.assertIn("x-server: " + server, head)
            self.assertEqual("5\r\nhello\r\n6\r\n world\r\n0\r\nx-came-back: {\"sum\":\"11\"}\r\n\r\n", body)

    def test_a_client_that_waits_to_be_told_to_go_on(self):
        self.serve()
        for user, server in (("me", "local"), ("you", "target")):
            text = self.talk(("POST / HTTP/1.1\r\nHost: shop\r\nX-User: %s\r\nExpect: 100-continue\r\n"
                              "Content-Length: 5\r\n\r\n" % user, "100 Continue\r\n\r\n"), ("hello", "}\n"))
            self.assertEqual(1, text.count("HTTP/1.1 100"))
            got = self.answers(text)[0]
            self.assertEqual((server, "hello"), (got["server"], got["body"]))
        text = self.talk(("POST /refuse HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
                          "\r\n\r\n"))
        self.assertTrue(text.startswith("HTTP/1.1 417 "), text)

    def test_upgraded_connections_carry_bytes(self):
        self.serve()
        for user, server in (("me", "local"), ("you", "target")):
            text = self.talk(("GET / HTTP/1.1\r\nHost: shop\r\nX-User: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
                              "ahead" % user, "ahead"), ("GET \x00\xff", "GET \x00\xff"), (None, ""))
            self.assertTrue(text.startswith("HTTP/1.1 101 "), text)
            head, _, data = text.partition("\r\n\r\n")
            self.assertIn("x-server: " + server, head)
            self.assertEqual("aheadGET \x00\xff", data)

    def test_every_byte_of_long_bodies(self):
        self.serve()
        data = os.urandom(5 << 20)
        for user in ("me", "you"):
            mine = ["-H", "X-User: " + user]
            for words in ([], ["-H", "Transfer-Encoding: chunked"]):
                self.assertEqual(data, self.inside(
                    need("curl"), "-sS", "--max-time", "30", *mine, *words, "-X", "POST", "--data-binary", "@-",
                    "http://127.0.0.1:%d/echo" % self.port, input=data))
            got = self.curl("/many?%d" % (20 << 20), *mine)
            self.assertEqual(20 << 20, len(got))

    def test_clients_that_read_slowly_get_all_of_it(self):
        self.serve()
        for user in ("me", "you"):
            got = self.curl("/many?%d" % (12 << 20), "-H", "X-User: " + user, "--limit-rate", "6M")
            self.assertEqual(12 << 20, len(got))

    def test_what_is_not_http_reaches_the_target(self):
        self.serve()
        self.assertTrue(self.talk(("\x16\x03\x01nonsense\r\n\r\n", "")).startswith("HTTP/1.1 400"))

    def test_requests_that_mean_two_things_are_refused(self):
        self.serve()
        for fields in ("Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                       "Transfer-Encoding: chunked, identity\r\n", "Content-Length: +5\r\n", "X: a\r\n folded\r\n",
                       "X: a\rContent-Length: 5\r\n", "Bad Name: x\r\n"):
            text = self.talk(("POST / HTTP/1.1\r\nHost: shop\r\nX-User: me\r\n" + fields + "\r\nhello", ""))
            self.assertRegex(text, "^HTTP/1.1 (400|501) ", fields)
            self.assertEqual(1, text.count("HTTP/1.1"), (fields, text))
        text = self.talk(("GET / HTTP/1.1\r\nHost: shop\r\nX: " + 100_000 * "a" + "\r\n\r\n", ""))
        self.assertTrue(text.startswith("HTTP/1.1 431 "), text[:100])

    def test_the_end_of_the_program(self):
        process = self.serve()
        # Asked, and gone before there is an answer.
        waiting = subprocess.Popen(["nsenter", "--target", str(self.target.pid), "--net", need("curl"), "-sS", "-i",
                                    "--max-time", "30", "-H", "X-User: me", "http://127.0.0.1:%d/never" % self.port],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(b"never\n", process.stdout.readline())
        process.kill()
        out, errors = waiting.communicate(timeout=20)
        self.assertTrue(out.startswith(b"HTTP/1.1 502 "), (out, errors))
        self.assertTrue(wait_until(lambda: self.me()["server"] == "target", 10, 0.1))

    def test_a_program_that_dies_within_its_answer(self):
        self.serve()
        out = self.curl("/half", "-H", "X-User: me", status=18)  # a partial file, says curl
        self.assertEqual(b"the beginning", out)

    def test_the_end_of_the_session_breaks_nobody_elses_request(self):
        process = self.serve()
        self.assertEqual("target", self.ask()["server"])
        waiting = subprocess.Popen(["nsenter", "--target", str(self.target.pid), "--net", need("curl"), "-sS",
                                    "--max-time", "30", "http://127.0.0.1:%d/slow" % self.port],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(b"slow\n", self.target.stdout.readline())
        self.stop(process)
        out, errors = waiting.communicate(timeout=20)
        self.assertEqual(0, waiting.returncode, errors)
        self.assertEqual("target", json.loads(out)["server"])

    def test_the_end_of_the_agent(self):
        process = self.serve()
        self.assertEqual("local", self.me()["server"])
        os.kill(self.victim("agent"), 9)
        # What the agent had accepted and not read yet is reset.
        self.assertTrue(wait_until(lambda: b"target" in self.curl("/", "-H", "X-User: me", status=None), 10, 0.1))
        process.kill()

    def test_a_target_that_restarts(self):
        self.serve()
        text = self.talk(("GET /half HTTP/1.1\r\nHost: shop\r\n\r\n", ""))
        self.assertTrue(text.endswith("\r\n\r\nthe beginning"), text)

    def test_a_target_that_nobody_listens_on(self):
        port = free_port()
        incoming = {"mode": "steal", "http_filter": MINE}
        process = self.start_remote(need("node"), self.app("http_echo.js"), "local", str(port),
                                    target="process/%d" % self.target.pid,
                                    config={"feature": {"network": {"incoming": incoming}}})
        self.assertEqual(b"ready\n", process.stdout.readline())
        self.port = port
        self.assertEqual("local", self.me()["server"])
        out = self.curl("/", "-i")
        self.assertTrue(out.startswith(b"HTTP/1.1 502 "), out)
        self.assertIn(b"mirrord-agent v", out)

    def test_mirrored_requests(self):
        process = self.serve(mode="mirror")
        self.assertEqual("target", self.ask("/note/1")["server"])
        self.assertEqual("target", self.me("/note/2", "-d", "a body")["server"])
        got = json.loads(process.stdout.readline())
        self.assertEqual(("local", "POST", "/note/2", "a body"), tuple(got[key] for key in ("server", "method", "url", "body")))

    def test_probes_of_the_kubelet_are_the_targets(self):
        self.serve({"path_filter": ".*"})
        self.assertEqual("local", self.ask()["server"])
        self.assertEqual("target", self.ask("/", "-A", "kube-probe/1.31")["server"])


    def test_killed_at_any_moment_under_load(self):
        # MIRRORD_TEST_KILLS=1000 for the long run, MIRRORD_TEST_SEED for other moments.
        # Every request gets an answer, soon, whoever is killed.
        random = Random(int(os.environ.get("MIRRORD_TEST_SEED", "1")))
        for turn in range(int(os.environ.get("MIRRORD_TEST_KILLS", "6"))):
            process = self.serve()
            client = subprocess.Popen(["nsenter", "--target", str(self.target.pid), "--net", python_with(), "-c", ASKER,
                                       str(self.port)], stdout=subprocess.PIPE, env=self.env)
            self.started.append(client)
            self.assertEqual(b"local\n", client.stdout.readline())
            time.sleep(random.uniform(0, 0.3))
            role = random.choice((None, "intproxy", "agent"))
            os.kill((self.victim(role) if role else None) or process.pid, signal.SIGKILL)
            lines = client.communicate(timeout=30)[0].decode().split()
            self.assertEqual("target", lines[-1], (turn, role, lines))
            self.assertLessEqual(set(lines), {"local", "target", "502", "closed"}, (turn, role, lines))
            process.kill()
            process.wait(20)
            self.assertTrue(wait_until(lambda: self.victim("agent") is None, 20), "an agent stays")
        # The next session takes away what killed ones have left.
        self.stop(self.serve())
        self.assertTrue(wait_until(lambda: self.victim("intproxy") is None, 20))

    def test_requests_are_forwarded_without_a_program(self):
        port = free_port()
        server = subprocess.Popen([need("node"), self.app("http_echo.js"), "forwarded", str(port)], env=self.env,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(server)
        self.assertEqual(b"ready\n", server.stdout.readline())
        config = {"feature": {"network": {"incoming": {"mode": "steal", "http_filter": MINE}}}}
        process = subprocess.Popen([self.mirrord, "port-forward", "-t", "process/%d" % self.target.pid, "-f",
                                    self.local_file("forward.json", json.dumps(config).encode()), "-R",
                                    "%d:%d" % (self.port, port)],
                                   env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.started.append(process)
        self.assertIn(b"of the target -> 127.0.0.1:", process.stdout.readline())
        self.assertEqual(["forwarded", "target"], [self.me()["server"], self.ask()["server"]])


class Sessions(HttpFilters):
    def start_agent(self, **env):
        port = free_port()
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(port), "-t", "60", "process", "--pid",
                                  str(self.target.pid)], env={**self.env, **env}, stdout=subprocess.PIPE)
        self.started.append(agent)
        self.assertIn(b"agent ready", agent.stdout.readline())
        return ["--agent-address", "127.0.0.1:%d" % port]

    def test_of_one_agent_share_a_port_by_their_filters(self):
        agent = self.start_agent()
        first = self.serve({"header_filter": "^x-user: me$"}, name="first", target=agent)
        self.serve({"header_filter": "^x-user: (me|you)$"}, name="second", target=agent)
        copies = self.serve({"path_filter": "^/note"}, mode="mirror", name="copies", target=agent)

        def who(user):
            return self.ask("/note", "-H", "X-User: " + user)["server"]
        self.assertEqual(["first", "second", "target"], [who("me"), who("you"), who("them")])
        self.assertEqual(["me", "you", "them"],
                         [json.loads(copies.stdout.readline())["headers"]["x-user"] for _ in range(3)])
        self.stop(first)
        self.assertTrue(wait_until(lambda: who("me") == "second", 10, 0.1))

    def test_that_want_the_whole_port_replace_others(self):
        agent = self.start_agent()
        first = self.serve(name="first", target=agent)
        self.serve(None, name="second", target=agent)
        self.assertEqual(["second", "second"], [self.me()["server"], self.ask()["server"]])
        self.assertRegex(first.stderr.readline(), b"port %d is no longer stolen for this session" % self.port)

    def test_that_would_replace_others_can_be_refused(self):
        agent = self.start_agent(MIRRORD_AGENT_ON_CONCURRENT_STEAL="abort")
        self.serve(name="first", target=agent)
        late = self.start_remote(need("node"), self.app("http_echo.js"), "second", str(self.port), target=agent,
                                 config={"feature": {"network": {"incoming": "steal"}}})
        _, errors = late.communicate(timeout=30)
        self.assertIn(b"already stolen by someone else", errors)
        self.assertEqual(["first", "target"], [self.me()["server"], self.ask()["server"]])


class HttpTwo(HttpFilters):
    protocol = ("http2",)

    def curl(self, path, *words, status=0):
        return super().curl(path, "--http2-prior-knowledge", *words, status=status)

    def test_requests_go_their_own_ways(self):
        self.serve()
        got = self.me("/a?b", "-d", "hello")
        self.assertEqual(("local", "2.0", "/a?b", "hello"), (got["server"], got["version"], got["url"], got["body"]))
        got = self.ask("/c", "-d", "hello")
        self.assertEqual(("target", "2.0", "/c", "hello"), (got["server"], got["version"], got["url"], got["body"]))

    def test_requests_of_one_connection_at_the_same_time(self):
        self.serve()
        lines = self.inside(need("node"), "-e", TOGETHER, str(self.port)).decode().split()
        self.assertEqual(["%s:%d:200" % (("local", "target")[number % 2], 50_000 * number) for number in range(40)],
                         sorted(lines, key=lambda line: int(line.split(":")[1])))

    def test_every_byte_of_long_bodies(self):
        self.serve()
        data = os.urandom(5 << 20)
        for user in ("me", "you"):
            self.assertEqual(data, self.inside(
                need("curl"), "-sS", "--http2-prior-knowledge", "--max-time", "30", "-H", "X-User: " + user, "-X", "POST",
                "--data-binary", "@-", "http://127.0.0.1:%d/echo" % self.port, input=data))


if __name__ == "__main__":
    unittest.main()
