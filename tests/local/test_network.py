# tests/local/test_network.py — names and connections of programs are the pod's; echo, HTTP, datagrams.
import hashlib
import http.server
import os
import socket
import threading

from support import LocalTest, need, python_with

# Prints one line for each question; run by the Python under test.
ASK = r"""
import errno, json, socket, sys
def names(host, port, *more):
    try:
        return sorted({entry[4][0] for entry in socket.getaddrinfo(host, port, *more)})
    except socket.gaierror as error:
        return "gaierror %d" % error.errno
for host in sys.argv[1:]:
    print(json.dumps(names(host, 80, 0, socket.SOCK_STREAM)))
"""


class Names(LocalTest):
    def ask(self, *hosts):
        import json
        text = self.output(python_with(), "-c", ASK, *hosts)
        return [json.loads(line) for line in text.splitlines()]

    def test_names_of_the_pod_are_found(self):
        self.assertEqual(
            [["10.96.12.34", "fd00:96::12:34"], ["10.96.12.35", "fd00:96::12:35"],
             ["10.96.12.34", "fd00:96::12:34"], ["2001:db8:113::10", "203.0.113.10"],
             ["10.244.1.17", "10.244.1.18", "10.244.1.19"], ["fd00:96::12:34"]],
            self.ask("shop", "echo.demo", "store.demo.svc.cluster.local", "api.partner.example",
                     "headless", "six"))

    def test_hosts_file_of_the_pod_counts(self):
        self.assertEqual([["10.96.12.34"], ["10.244.1.17"]],
                         self.ask("pinned.internal", "shop-7d4b9c6f5-x2k8p"))

    def test_unknown_names_are_unknown(self):
        self.assertEqual(["gaierror %d" % socket.EAI_NONAME], self.ask("no-such-name.example"))

    def test_numeric_and_local_names(self):
        self.assertEqual([["192.0.2.7"], ["2001:db8::7"]], self.ask("192.0.2.7", "2001:db8::7"))

    def test_getent_uses_the_pods_names(self):
        self.assertIn("10.96.12.34", self.output("getent", "ahostsv4", "shop"))
        self.run_remote("getent", "ahosts", "no-such-name.example", status=2)

    def test_names_stay_local_when_dns_is_off(self):
        off = {"feature": {"network": {"dns": False}}}
        self.run_remote("getent", "ahosts", "shop.demo.svc.cluster.local", config=off, status=2)

    def test_addresses_have_the_pods_names(self):
        text = self.output(python_with(), "-c",
                           "import socket; print(socket.gethostbyaddr('10.96.12.35')[0])")
        self.assertEqual("echo.demo.svc.cluster.local\n", text)


class Connections(LocalTest):
    def test_curl_gets_a_page_by_name_and_address(self):
        need("curl")
        page = self.output("curl", "-sS", "http://shop/")
        self.assertIn('"pod": "shop-7d4b9c6f5-x2k8p"', page)
        self.assertIn('"client": "10.96.12.34"', page)
        self.assertEqual("ok\n", self.output("curl", "-sS", "http://203.0.113.10/healthz"))
        self.assertEqual("ok\n", self.output("curl", "-gsS", "http://[fd00:96::12:34]/healthz"))
        self.assertEqual("ok\n", self.output("curl", "-sS", "http://127.0.0.1:8080/healthz"))

    def test_curl_moves_megabytes_both_ways(self):
        need("curl")
        got, _ = self.run_remote("curl", "-sS", "http://shop/bytes/20000000")
        expected = (bytes(range(97, 123)) * (20_000_000 // 26 + 1))[:20_000_000]
        self.assertEqual(hashlib.sha256(expected).digest(), hashlib.sha256(got).digest())
        data = os.urandom(1_000_000)
        got, _ = self.run_remote("curl", "-sS", "--data-binary", "@-", "http://shop/echo", stdin=data)
        self.assertEqual(data, got)

    def test_curl_reuses_and_runs_connections_in_parallel(self):
        need("curl")
        text = self.output("curl", "-sS", "http://shop/healthz", "http://shop/healthz", "http://shop/healthz")
        self.assertEqual("ok\n" * 3, text)
        text = self.output("sh", "-c", "seq 60 | xargs -P 12 -I{} curl -sS 'http://shop/bytes/{}000'")
        self.assertEqual(sum(range(61)) * 1000, len(text))

    def test_wget_gets_a_page(self):
        need("wget")
        self.assertEqual("ok\n", self.output("wget", "-qO-", "http://shop.demo/healthz"))
        _, errors = self.run_remote("wget", "-T", "5", "-t", "1", "http://shop/missing", status=8)
        self.assertIn(b"404", errors)

    def test_refused_and_unreachable_connections_fail_with_their_errno(self):
        program = """
import errno, socket, sys
for address in (("10.96.12.34", 81), ("198.51.100.1", 80), ("fd00:96::12:34", 81)):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(None)
        try:
            s.connect(address); print("connected")
        except OSError as error:
            print(errno.errorcode[error.errno])
"""
        self.assertEqual("ECONNREFUSED\nENETUNREACH\nECONNREFUSED\n",
                         self.output(python_with(), "-c", program))
        if need("curl"):
            self.run_remote("curl", "-sS", "http://10.96.12.34:81/", status=7)

    def test_bash_opens_tcp_by_itself(self):
        need("bash")
        self.assertEqual("hello\n", self.output(
            "bash", "-c", "exec 3<>/dev/tcp/echo/7777; echo hello >&3; read -r line <&3; echo $line"))

    def test_datagrams_reach_the_echo_service(self):
        program = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.connect(("10.96.12.35", 7777))
    for size in (1, 500, 8000):
        s.send(b"x" * size); print(len(s.recv(65536)))
    print(s.getpeername())
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
    s.settimeout(5)
    s.connect(("fd00:96::12:35", 7777)); s.send(b"six"); print(s.recv(100).decode())
"""
        self.assertEqual("1\n500\n8000\n('10.96.12.35', 7777)\nsix\n",
                         self.output(python_with(), "-c", program))

    def test_a_port_where_nobody_is_refuses_datagrams(self):
        program = r"""
import socket, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect(('10.244.1.17', 7099))
    s.settimeout(10)
    for _ in range(2):
        started = time.monotonic()
        s.send(b'anybody?')
        try: print(s.recv(100))
        except OSError as error: print(type(error).__name__, time.monotonic() - started < 5)
    print('ready', flush=True); input()
    s.send(b'and now?')
    print(s.recv(100))
    s.connect(('10.244.1.17', 7098))
    s.send(b'another?')
    try: print(s.recv(100))
    except OSError as error: print(type(error).__name__)
"""

        def answer_once(server):
            data, peer = server.recvfrom(100)
            server.sendto(b'somebody: ' + data, peer)
        process = self.start_remote(python_with(), "-c", program)
        self.assertEqual([b"ConnectionRefusedError True\n"] * 2, [process.stdout.readline() for _ in range(2)])
        self.assertEqual(b"ready\n", process.stdout.readline())
        server = self.pod.inside_socket(("10.244.1.17", 7099))
        self.addCleanup(server.close)
        threading.Thread(target=answer_once, args=(server,), daemon=True).start()
        output, errors = process.communicate(b"\n", timeout=40)
        self.assertEqual(b"b'somebody: and now?'\nConnectionRefusedError\n", output, errors.decode())

    def test_dig_asks_the_pods_name_server(self):
        need("dig")
        self.assertEqual("10.96.12.34\n", self.output(
            "dig", "@10.96.0.10", "+short", "+tries=1", "+time=5", "shop.demo.svc.cluster.local"))
        self.assertEqual("10.96.12.34\n", self.output(
            "dig", "@10.96.0.10", "+tcp", "+short", "+tries=1", "+time=5", "shop.demo.svc.cluster.local"))

    def test_unix_sockets_of_the_pod(self):
        program = """
import socket
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/shop/echo.sock"); s.sendall(b"ping"); print(s.recv(100).decode())
"""
        rules = {"feature": {"network": {"outgoing": {"unix_streams": ["^/run/shop/"]}}}}
        self.assertEqual("ping\n", self.output(python_with(), "-c", program, config=rules))
        _, errors = self.run_remote(python_with(), "-c", program, status=1)
        self.assertIn(b"FileNotFoundError", errors)

    def test_half_closed_connections_deliver_every_byte(self):
        program = """
import hashlib, os, socket, threading
data = os.urandom(6_000_000)
with socket.create_connection(("echo", 7777)) as s:
    def send():
        s.sendall(data); s.shutdown(socket.SHUT_WR)
    threading.Thread(target=send).start()
    got = hashlib.sha256()
    while part := s.recv(100_000):
        got.update(part)
print(got.hexdigest() == hashlib.sha256(data).hexdigest())
"""
        self.assertEqual("True\n", self.output(python_with(), "-c", program))

    def test_a_slow_reader_loses_nothing(self):
        program = """
import hashlib, socket, time
with socket.create_connection(("shop", 80)) as s:
    s.sendall(b"GET /bytes/16000000 HTTP/1.0\\r\\n\\r\\n")
    time.sleep(1.5)
    data = b""
    while part := s.recv(1 << 20):
        data += part
body = data.split(b"\\r\\n\\r\\n", 1)[1]
print(len(body), body == (bytes(range(97, 123)) * (16000000 // 26 + 1))[:16000000])
"""
        self.assertEqual("16000000 True\n", self.output(python_with(), "-c", program))


class Bypass(LocalTest):
    def setUp(self):
        super().setUp()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"this machine\n")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/" % self.server.server_port

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        super().tearDown()

    def test_outgoing_can_be_switched_off(self):
        need("curl")
        off = {"feature": {"network": {"outgoing": False}}}
        self.assertEqual("this machine\n", self.output("curl", "-sS", self.url, config=off))
        self.run_remote("curl", "-sS", "-m", "10", self.url, status=7)

    def test_localhost_can_be_ignored(self):
        need("curl")
        ignore = {"feature": {"network": {"outgoing": {"ignore_localhost": True}}}}
        self.assertEqual("this machine\n", self.output("curl", "-sS", self.url, config=ignore))
        self.assertEqual("ok\n", self.output("curl", "-sS", "http://shop/healthz", config=ignore))

    def test_filters_choose_connections(self):
        need("curl")
        for rules in ({"local": ["127.0.0.0/8"]}, {"remote": ["10.96.0.0/16:80"]}, {"remote": ["shop"]},
                      {"local": ["tcp://127.0.0.1:%d" % self.server.server_port]}):
            config = {"feature": {"network": {"outgoing": {"filter": rules}}}}
            with self.subTest(rules):
                self.assertEqual("this machine\n", self.output("curl", "-sS", self.url, config=config))
                self.assertEqual("ok\n", self.output("curl", "-sS", "http://shop/healthz", config=config))
