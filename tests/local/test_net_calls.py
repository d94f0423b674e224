# tests/local/test_net_calls.py — each name and socket function: remote, bypassed, filtered; glibc and musl.
import os
import socket
import subprocess
import threading

from support import APPS, LocalTest, build_once, compile_with, need

COMPILERS = {"glibc": "gcc", "musl": "musl-gcc"}


def program(libc, name="net"):
    need(COMPILERS[libc])

    def make(folder):
        compile_with(COMPILERS[libc], "-O1", "-Wall", "-Wextra", "-Wno-deprecated-declarations",
                     os.path.join(APPS, name + ".c"), "-o", os.path.join(folder, name), "-lresolv", "-lpthread")
    return os.path.join(build_once(name + "-" + libc, [name + ".c"], make), name)


def network(**keys):
    return {"feature": {"network": {"incoming": False, **keys}}}


class LocalEcho:
    """TCP and UDP echo on one port of this machine's loopback."""

    def __init__(self):
        while True:
            self.stream = socket.socket()
            self.stream.bind(("127.0.0.1", 0))
            self.port = self.stream.getsockname()[1]
            self.packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.packets.bind(("127.0.0.1", self.port))
                break
            except OSError:  # taken for datagrams
                self.close()
        self.stream.listen()
        for work in (self.serve_stream, self.serve_packets):
            threading.Thread(target=work, daemon=True).start()

    def serve_stream(self):
        try:
            while True:
                peer, _ = self.stream.accept()
                with peer:
                    while data := peer.recv(1000):
                        peer.sendall(data)
        except OSError:
            pass

    def serve_packets(self):
        try:
            while True:
                data, peer = self.packets.recvfrom(1000)
                if peer is None:  # closed
                    return
                self.packets.sendto(data, peer)
        except OSError:
            pass

    def close(self):
        for one in (self.stream, self.packets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


REMOTE_NAMES = """\
getaddrinfo: 10.96.12.34 port 80
gethostbyname: 10.96.12.34
gethostbyname2: fd00:96::12:34
gethostbyname_r: 10.96.12.34
gethostbyname2_r: fd00:96::12:34
gethostbyaddr: echo.demo.svc.cluster.local
gethostbyaddr_r: echo.demo.svc.cluster.local
getnameinfo: 0 echo.demo.svc.cluster.local 80
gethostname: shop-7d4b9c6f5-x2k8p
uname: shop-7d4b9c6f5-x2k8p
"""


# h_errno: 1 no such name, 2 try again, 3 no recovery, 4 no such record.
REMOTE_QUERIES = """\
res_query: 10 mx1.partner.example 20 mx2.partner.example
res_search: 80 shop.demo.svc.cluster.local
res_querydomain: 14 bytes: v=spf1 mx -all ... 
long: 549 bytes: These terms ar ... here.
res_send: 14 bytes: v=spf1 mx -all ... 
res_send keeps the id: 1
no name: h_errno 1
no data: h_errno 4
no name in any domain: h_errno 1
no data in a domain: h_errno 4
a label too long: h_errno 3
"""
REMOTE_STATE_QUERIES = """\
res_nquery: 10 mx1.partner.example 20 mx2.partner.example
res_nsearch: 80 shop.demo.svc.cluster.local
res_nquerydomain: 14 bytes: v=spf1 mx -all ... 
res_nsend: 14 bytes: v=spf1 mx -all ... 
res_nquery: -1, res_h_errno 1
"""


def echoes(address, port, is_loopback):
    where = "%s:%d" % (address, port)
    return """\
getpeername: %s
getsockname is on loopback: %d
stream: 6
sendto: 2
recvfrom: 2 from %s
sendmsg: 7
recvmsg: 7 from %s
sendmsg left its target alone: 1
sendmmsg: 2
recvmmsg: 7 from %s
recvmmsg: 7 from %s
""" % (where, is_loopback, where, where, where, where)


class NetCalls(LocalTest):
    def check_names(self, libc):
        words = (program(libc), "names", "shop", "10.96.12.35")
        self.assertEqual(REMOTE_NAMES, self.output(*words))
        bare = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
        off = network(dns=False)
        off["feature"]["hostname"] = False
        self.assertEqual(bare, self.output(*words, config=off))
        # The filter keeps the look-ups of this one name here; all else stays remote.
        filtered = self.output(*words, config=network(dns={"filter": {"local": ["shop"]}})).splitlines()
        self.assertEqual(bare.splitlines()[:5] + REMOTE_NAMES.splitlines()[5:], filtered)

    def check_traffic(self, libc):
        remote = ("10.96.12.35", 7777)
        words = (program(libc), "traffic")
        self.assertEqual(echoes(*remote, 0), self.output(*words, remote[0], str(remote[1])))
        local = LocalEcho()
        self.addCleanup(local.close)
        here = echoes("127.0.0.1", local.port, 1)
        for config in (network(outgoing=False),
                       network(outgoing={"filter": {"local": ["127.0.0.0/8"]}}),
                       network(outgoing={"filter": {"remote": ["10.96.0.0/16"]}})):
            with self.subTest(config):
                self.assertEqual(here, self.output(*words, "127.0.0.1", str(local.port), config=config))
        filtered = network(outgoing={"filter": {"local": ["127.0.0.0/8"]}})
        self.assertEqual(echoes(*remote, 0), self.output(*words, remote[0], str(remote[1]), config=filtered))

    def check_queries(self, libc):
        words = (program(libc, "resolver"), "all")
        self.assertEqual(REMOTE_QUERIES + (REMOTE_STATE_QUERIES if libc == "glibc" else ""), self.output(*words))
        # Not remote: the name server of this machine, if there is one, knows no such record.
        one = (program(libc, "resolver"), "one", "partner.example", "15")
        for dns in (False, {"filter": {"local": ["partner.example"]}}):
            with self.subTest(dns):
                printed = self.output(*one, config=network(dns=dns), env={"RES_OPTIONS": "timeout:1 attempts:1"})
                self.assertNotIn("mx1", printed)
        only_others = network(dns={"filter": {"local": ["shop"]}})
        self.assertIn("mx1.partner.example", self.output(*one, config=only_others))

    def test_queries_on_glibc(self):
        self.check_queries("glibc")

    def test_queries_on_musl(self):
        self.check_queries("musl")

    def test_names_on_glibc(self):
        self.check_names("glibc")

    def test_names_on_musl(self):
        self.check_names("musl")

    def test_traffic_on_glibc(self):
        self.check_traffic("glibc")

    def test_traffic_on_musl(self):
        self.check_traffic("musl")
