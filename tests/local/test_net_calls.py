# tests/local/test_net_calls.py — each name and socket function: remote, bypassed, filtered; glibc and musl.
import os
import socket
import subprocess
import threading

from support import APPS, LocalTest, build_once, compile_with, need

COMPILERS = {"glibc": "gcc", "musl": "musl-gcc"}


def program(libc):
    need(COMPILERS[libc])

    def make(folder):
        compile_with(COMPILERS[libc], "-O1", "-Wall", "-Wextra", "-Wno-deprecated-declarations",
                     os.path.join(APPS, "net.c"), "-o", os.path.join(folder, "net"))
    return os.path.join(build_once("net-" + libc, ["net.c"], make), "net")


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

    def test_names_on_glibc(self):
        self.check_names("glibc")

    def test_names_on_musl(self):
        self.check_names("musl")

    def test_traffic_on_glibc(self):
        self.check_traffic("glibc")

    def test_traffic_on_musl(self):
        self.check_traffic("musl")
