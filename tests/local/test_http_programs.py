# tests/local/test_http_programs.py — filters between servers and clients that others wrote: gRPC, WebSocket, load tools.
import os
import re
import subprocess
import unittest
from xml.etree import ElementTree

from support import LocalTest, free_port, go_program, need, python_with

MINE = {"mode": "steal", "http_filter": {"header_filter": "^x-user: me$"}}

# Frames on closed streams: nghttp2 ignores them on purpose, since their sender may not know yet that they are closed.
IGNORED_BY_NGHTTP2 = {
    "http2/5.1 closed: Sends a DATA frame", "http2/5.1 closed: Sends a HEADERS frame",
    "http2/5.1 closed: Sends a DATA frame after sending RST_STREAM frame",
    "http2/5.1 closed: Sends a HEADERS frame after sending RST_STREAM frame",
    "http2/5.1.1 Sends stream identifier that is numerically smaller than previous"}
GRPC_ANSWERS = ("{0} got hello {0}\nFAILED_PRECONDITION {0} fails\n{0} 0\n{0} 1\n{0} 2\n"
                "{0} heard 0\n{0} heard 1\n{0} heard 2\n")


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and redirecting its ports take root")
class Programs(LocalTest):
    def setUp(self):
        super().setUp()
        self.port = free_port()

    def start_local(self, *server):
        process = self.start_remote(*server, target="process/%d" % self.target.pid,
                                    config={"feature": {"fs": "local", "network": {"incoming": MINE}}})
        line = process.stdout.readline()
        self.assertEqual(b"ready\n", line, line or process.stderr.read())

    def inside(self, *command):
        done = subprocess.run(["nsenter", "--target", str(self.target.pid), "--net", *command], capture_output=True,
                              text=True, timeout=100, check=False, env={**self.env, "no_proxy": "*", "http_proxy": ""})
        self.assertEqual(0, done.returncode, done.stderr + done.stdout)
        return done.stdout

    def start_both(self, target, local=None):
        """Starts the same server, or two, as the target and as the local program."""
        self.target = self.start_target(*target, "serve", "target", str(self.port))
        self.start_local(*(local or target), "serve", "local", str(self.port))

    def ask_both(self, *client):
        """What a user whose requests are stolen and one whose are not get to see."""
        self.assertEqual(GRPC_ANSWERS.format("local"), self.inside(*client, "ask", str(self.port), "me"))
        self.assertEqual(GRPC_ANSWERS.format("target"), self.inside(*client, "ask", str(self.port), "you"))

    def test_grpc_calls_of_every_kind(self):
        python = [python_with("grpc"), self.app("grpc_echo.py")]
        self.start_both(python)
        self.ask_both(*python)

    def test_grpc_go_calls_of_every_kind(self):
        go = [go_program("grpc_echo", "./grpc_echo", "grpc_echo/main.go")]
        self.start_both(go)
        self.ask_both(*go)

    def test_grpc_between_libraries(self):
        python = [python_with("grpc"), self.app("grpc_echo.py")]
        go = [go_program("grpc_echo", "./grpc_echo", "grpc_echo/main.go")]
        self.start_both(python, go)
        self.ask_both(*python)
        self.ask_both(*go)

    def test_http2_conformance(self):
        h2spec = go_program("h2spec", "github.com/summerwind/h2spec/cmd/h2spec")
        self.start_node("http2")
        report = os.path.join(self.work, "h2spec.xml")
        done = subprocess.run(["nsenter", "--target", str(self.target.pid), "--net", h2spec, "-h", "127.0.0.1", "-p",
                               str(self.port), "-o", "3", "-j", report], capture_output=True, text=True, timeout=200,
                              check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))
        failed = {case.get("package") + " " + case.get("classname") for case in cases if len(case) > 0}
        self.assertGreater(len(cases), 140, done.stdout)
        self.assertEqual(set(), failed - IGNORED_BY_NGHTTP2, done.stdout)

    def test_websockets(self):
        python = python_with("websockets")
        self.start_both([python, self.app("websocket_echo.py")])
        for user, name in (("me", "local"), ("you", "target")):
            self.assertEqual(name + " True text\n",
                             self.inside(python, self.app("websocket_echo.py"), "ask", str(self.port), user))

    def start_node(self, *protocol):
        server = [need("node"), self.app("http_echo.js")]
        self.target = self.start_target(*server, "target", str(self.port), *protocol)
        self.start_local(*server, "local", str(self.port), *protocol)

    def h2load(self, *words):
        output = self.inside(need("h2load"), "-n", "2000", "-c", "10", *words, "http://127.0.0.1:%d/" % self.port)
        self.assertIn("2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout", output)
        self.assertIn("status codes: 2000 2xx", output)

    def test_many_requests_at_the_same_time_with_http2(self):
        self.start_node("http2")
        self.h2load("-m", "10", "-H", "x-user: me")
        self.h2load("-m", "10")

    def test_many_requests_with_http1(self):
        self.start_node()
        self.h2load("--h1", "-H", "x-user: me")
        self.h2load("--h1", "-m", "5")  # pipelined

    def test_constant_load(self):
        self.start_node()
        for words in (["-H", "X-User: me"], []):
            output = self.inside(need("wrk"), "-t1", "-c20", "-d2s", *words, "http://127.0.0.1:%d/" % self.port)
            self.assertGreater(int(re.search(r"(\d+) requests in", output)[1]), 100, output)
            self.assertNotIn("Socket errors", output)
            self.assertNotIn("Non-2xx", output)


if __name__ == "__main__":
    unittest.main()
