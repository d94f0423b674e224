# tests/local/test_incoming.py — the target's traffic reaches the local program: stolen or copied, and only
# while the program listens.
import functools
import json
import os
import signal
import subprocess
import time
import unittest
from random import Random

from support import OWN_NETWORK, LocalTest, free_port, need, python_with, wait_until

# Connects, sends what it is given, ends its half and prints its own port and all that came.
CLIENT = r"""
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as connection:
    port = connection.getsockname()[1]
    connection.sendall(sys.argv[3].encode())
    connection.shutdown(socket.SHUT_WR)
    received = b""
    while data := connection.recv(65536):
        received += data
sys.stdout.write("%d\n" % port + received.decode())
"""

# The same with many bytes, in both directions at once; prints whether they came back unchanged.
BULK = r"""
import os, socket, sys, threading
data = os.urandom(8 << 20)
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as connection:
    def send():
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    received = b"".join(iter(lambda: connection.recv(65536), b""))
    sender.join()
greeting, _, rest = received.partition(b"\n")
print(greeting.split()[0].decode(), rest == data)
"""

# Passes connections on to a port of its own host, and says first that it does.
SIDECAR = r"""
import socket, sys, threading

def copy(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)

def serve(peer):
    peer.sendall(b"through a sidecar\n")
    target = socket.create_connection(("127.0.0.1", int(sys.argv[2])), 20)
    threading.Thread(target=copy, args=(peer, target), daemon=True).start()
    copy(target, peer)

listener = socket.create_server(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

# Stays connected: prints who greeted it, then what comes back for each line of its input.
KEEPER = r"""
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as connection:
    stream = connection.makefile("rb")
    print(stream.readline().split()[0].decode(), flush=True)
    for line in sys.stdin.buffer:
        try:
            connection.sendall(line)
            print(stream.readline().decode().strip(), flush=True)
        except OSError:
            print("reset", flush=True)
"""


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and redirecting its ports take root")
class Incoming(LocalTest):
    way = "socket-lookup"

    def setUp(self):
        super().setUp()
        self.env["MIRRORD_AGENT_REDIRECT"] = self.way
        # Free on this machine too: a program that is not to take it listens there for real.
        self.port = free_port()
        self.target = self.start_target(python_with(), self.app("incoming_server.py"), "target", str(self.port))

    def inside(self, script, *words, of=None):
        """Runs a Python script in the target's network, or in that of another process."""
        pid = (of or self.target).pid
        done = subprocess.run(["nsenter", "--target", str(pid), "--net", python_with(), "-c", script, *words],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def ask(self, text="hello", host="127.0.0.1", of=None):
        """What a client inside the target's network is told: its port, and the words of the greeting."""
        own, greeting, rest = self.inside(CLIENT, host, str(self.port), text, of=of).split("\n", 2)
        self.assertEqual(text, rest)
        return own, greeting.split()

    def who(self):
        return self.ask()[1][0]

    def becomes(self, name):
        self.assertTrue(wait_until(lambda: self.who() == name, 20, 0.1), name + " does not answer")

    def serve(self, incoming, *words, port=None, **agent):
        """Starts the local program and waits until it listens."""
        process = self.start_remote(python_with(), self.app("incoming_server.py"), "local", str(port or self.port), *words,
                                    target="process/%d" % self.target.pid,
                                    config={"feature": {"network": {"incoming": incoming}}, "agent": agent})
        line = process.stdout.readline()
        self.assertEqual(b"ready\n", line, line or process.stderr.read())
        return process

    def test_stolen_connections_come_from_the_real_client(self):
        self.serve("steal")
        for host in ("127.0.0.1", "::1"):
            own, words = self.ask(host=host)
            shown = host if ":" in host else "::ffff:" + host
            self.assertEqual(["local", shown, own, shown, str(self.port)], words)

    def other_host(self):
        """A process in a network of its own, with a line to the target's: 10.123.0.1 and fd00:123::1 there."""
        other = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready && exec sleep 1000"], env=self.env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.started.append(other)
        self.assertEqual(b"ready\n", other.stdout.readline())

        def ip(process, *words):
            subprocess.run(["nsenter", "--target", str(process.pid), "--net", "ip", *words], check=True, timeout=20)
        ip(self.target, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", str(other.pid))
        for number, process in enumerate((self.target, other), 1):
            ip(process, "address", "add", "10.123.0.%d/24" % number, "dev", "line")
            ip(process, "address", "add", "fd00:123::%d/64" % number, "dev", "line", "nodad")
            ip(process, "link", "set", "line", "up")
        return other

    def test_stolen_connections_come_from_other_hosts_too(self):
        other = self.other_host()
        for host in ("10.123.0.1", "fd00:123::1"):
            self.assertEqual("target", self.ask(host=host, of=other)[1][0])
        process = self.serve("steal")
        for host, peer in (("10.123.0.1", "::ffff:10.123.0.2"), ("fd00:123::1", "fd00:123::2")):
            own, words = self.ask(host=host, of=other)
            shown = host if ":" in host else "::ffff:" + host
            self.assertEqual(["local", peer, own, shown, str(self.port)], words)
        # From inside the target, by an address that is not loopback.
        self.assertEqual("local", self.ask(host="10.123.0.1")[1][0])
        process.stdin.close()
        process.wait(20)
        self.becomes("target")
        for host in ("10.123.0.1", "fd00:123::1"):
            self.assertEqual("target", self.ask(host=host, of=other)[1][0])

    def start_sidecar(self):
        """What a service mesh puts in front of the target: connections from outside go to a proxy, which makes its own."""
        inside = ["nsenter", "--target", str(self.target.pid), "--net"]
        port = free_port()
        sidecar = subprocess.Popen([*inside, python_with(), "-c", SIDECAR, str(port), str(self.port)], env=self.env,
                                   stdout=subprocess.PIPE)
        self.started.append(sidecar)
        self.assertEqual(b"ready\n", sidecar.stdout.readline())
        rules = "table ip mesh { chain inbound { type nat hook prerouting priority dstnat; " \
                "tcp dport %d redirect to :%d; }; }" % (self.port, port)
        subprocess.run([*inside, need("nft"), rules], check=True, timeout=20)

    def test_connections_that_a_sidecar_makes_for_other_hosts(self):
        other = self.other_host()
        self.start_sidecar()
        self.assertEqual(["through a sidecar", "target"], self.through_sidecar(other))
        process = self.serve("steal")
        self.assertEqual(["through a sidecar", "local"], self.through_sidecar(other))
        self.assertEqual("local", self.who())
        process.stdin.close()
        process.wait(20)
        self.becomes("target")
        self.assertEqual(["through a sidecar", "target"], self.through_sidecar(other))
        process = self.serve("mirror")
        self.assertEqual(["through a sidecar", "target"], self.through_sidecar(other))
        self.assertEqual(b"got hello\n", process.stdout.readline())

    def through_sidecar(self, other):
        _, sidecar, greeting, rest = self.inside(CLIENT, "10.123.0.1", str(self.port), "hello", of=other).split("\n", 3)
        self.assertEqual("hello", rest)
        return [sidecar, greeting.split()[0]]

    def test_mirrored_connections_from_other_hosts(self):
        other = self.other_host()
        process = self.serve("mirror")
        self.assertEqual("target", self.ask("copy of this", host="10.123.0.1", of=other)[1][0])
        self.assertEqual(b"got copy of this\n", process.stdout.readline())

    def test_mirrored_connections_are_answered_by_the_target(self):
        process = self.serve("mirror")
        self.assertEqual("target", self.ask("copy of this")[1][0])
        self.assertEqual(b"got copy of this\n", process.stdout.readline())

    def test_nothing_comes_when_it_is_off(self):
        self.serve("off")
        self.assertEqual("target", self.who())

    def test_ports_that_are_left_alone(self):
        self.serve({"mode": "steal", "ignore_ports": [self.port]})
        self.assertEqual("target", self.who())

    def test_what_is_not_http_passes_a_filter_by(self):
        self.serve({"mode": "steal", "http_filter": {"header_filter": "x: y"}}, http_detection_timeout=1)
        # It waits for the server to speak, which takes the time of the detection; then it is what the target gets.
        self.assertEqual("target", self.who())
        self.assertEqual("target True\n", self.inside(BULK, str(self.port)))

    def test_another_port_of_the_program(self):
        port = free_port()
        self.serve({"mode": "steal", "port_mapping": [[port, self.port]]}, port=port)
        own, words = self.ask()
        self.assertEqual(["local", "::ffff:127.0.0.1", own, "::ffff:127.0.0.1", str(port)], words)

    def test_forked_workers_share_the_listener(self):
        self.serve("steal", "3")
        self.assertEqual(["local"] * 12, [self.who() for _ in range(12)])

    def test_every_byte_both_ways(self):
        self.serve("steal")
        self.assertEqual("local True\n", self.inside(BULK, str(self.port)))
        self.assertEqual("local", self.who())

    def test_a_mirror_costs_the_target_no_byte(self):
        self.serve("mirror")
        self.assertEqual("target True\n", self.inside(BULK, str(self.port)))

    def test_a_program_that_listens_again(self):
        process = self.serve("steal")
        self.assertEqual("local", self.who())
        process.stdin.write(b"again\n")
        process.stdin.flush()
        while process.stdout.readline() != b"ready\n":
            self.assertIsNone(process.poll())
        self.becomes("local")

    def test_the_end_of_the_program_gives_the_traffic_back(self):
        process = self.serve("steal")
        self.assertEqual("local", self.who())
        process.stdin.close()
        process.wait(20)
        self.becomes("target")

    def forward(self, mode, *words, status=None):
        """Starts `mirrord port-forward` and waits until it forwards."""
        process = subprocess.Popen(
            [self.mirrord, "port-forward", "-t", "process/%d" % self.target.pid, "-f",
             self.local_file("forward.json", json.dumps({"feature": {"network": {"incoming": mode}}}).encode()), *words],
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        if status is not None:
            _, errors = process.communicate(timeout=30)
            self.assertEqual(status, process.returncode, errors)
            return errors.decode()
        line = process.stdout.readline()
        self.assertIn(b"of the target -> 127.0.0.1:", line, line or process.stderr.read())
        return process

    def local_server(self):
        """The same server without mirrord; its port."""
        port = free_port()
        process = subprocess.Popen([python_with(), self.app("incoming_server.py"), "local", str(port)], env=self.env,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(process)
        self.assertEqual(b"ready\n", process.stdout.readline())
        return port, process

    def test_a_port_of_the_target_is_forwarded_here(self):
        port, server = self.local_server()
        process = self.forward("steal", "-R", "%d:%d" % (self.port, port))
        for host in ("127.0.0.1", "::1"):
            self.assertEqual("local", self.ask(host=host)[1][0])
        self.assertEqual("local True\n", self.inside(BULK, str(self.port)))
        # Nobody listens here: the client is told, the others go on, and so does the forwarding.
        server.kill()
        server.wait(20)
        refused = "import socket,sys\ntry: print(socket.create_connection(('127.0.0.1', int(sys.argv[1])), 20)" \
                  ".recv(10))\nexcept OSError: print('reset')"
        self.assertIn(self.inside(refused, str(self.port)), ("b''\n", "reset\n"))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        self.assertEqual(0, process.returncode, errors)
        self.assertIn("connect to 127.0.0.1:%d: Connection refused" % port, errors.decode())
        self.becomes("target")

    def test_copies_are_forwarded_here(self):
        port, server = self.local_server()
        self.forward("mirror", "-R", "%d:%d" % (self.port, port))
        self.assertEqual("target", self.ask("copy of this")[1][0])
        self.assertEqual(b"got copy of this\n", server.stdout.readline())

    def test_what_cannot_be_forwarded_here_is_refused(self):
        self.assertIn("is \"off\"", self.forward("off", "-R", "80", status=1))

    def test_killed_parts_give_the_traffic_back(self):
        for role in (None, "intproxy", "agent"):
            with self.subTest(role or "program"):
                process = self.serve("steal")
                self.becomes("local")
                victim = process.pid if role is None else wait_until(lambda: self.victim(role), 5)
                os.kill(victim, signal.SIGKILL)
                self.becomes("target")
                process.kill()
                process.wait(20)
                self.nothing_stays()

    def keep_connected(self):
        """A client inside the target that says what becomes of its connection: "name" after each line that it gets."""
        client = subprocess.Popen(["nsenter", "--target", str(self.target.pid), "--net", python_with(), "-c", KEEPER,
                                   str(self.port)], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(client)
        self.assertEqual(b"target\n", client.stdout.readline())
        return client

    def hello(self, client):
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        return client.stdout.readline()

    def test_a_stolen_port_is_cut_off_from_what_was_connected(self):
        client = self.keep_connected()
        self.assertEqual(b"hello\n", self.hello(client))
        self.serve("steal")
        self.assertEqual(b"reset\n", self.hello(client))

    def test_what_was_connected_can_be_kept(self):
        client = self.keep_connected()
        self.serve("steal", flush_connections=False)
        self.assertEqual("local", self.who())
        self.assertEqual(b"hello\n", self.hello(client))

    def test_a_mirrored_port_keeps_what_was_connected(self):
        client = self.keep_connected()
        self.serve("mirror")
        self.assertEqual(b"hello\n", self.hello(client))

    def test_killed_at_any_moment(self):
        # MIRRORD_TEST_KILLS=1000 for the long run.
        random = Random(self.way)
        for turn in range(int(os.environ.get("MIRRORD_TEST_KILLS", "12"))):
            process = self.start_remote(python_with(), self.app("incoming_server.py"), "local", str(self.port),
                                        target="process/%d" % self.target.pid,
                                        config={"feature": {"network": {"incoming": "steal"}}})
            time.sleep(random.uniform(0, 0.5))
            role = random.choice((None, "intproxy", "agent"))
            victim = self.victim(role) if role else None
            os.kill(victim or process.pid, signal.SIGKILL)
            killed = time.monotonic()
            process.kill()
            process.wait(20)
            self.started.remove(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            self.becomes("target")
            self.assertLess(time.monotonic() - killed, 2 + 4 * self.asking, (turn, role, victim))
            self.assertTrue(wait_until(lambda: self.victim("agent") is None, 20), "an agent stays")
            self.nothing_stays()
        # The next session takes away what killed ones have left; the folder of one that never served is kept some
        # minutes, since it may be about to.
        process = self.serve("steal")
        process.stdin.close()
        process.wait(20)
        self.assertTrue(wait_until(lambda: self.victim("intproxy") is None, 20))
        sessions = os.path.join(self.env["XDG_RUNTIME_DIR"], "mirrord")
        for name in os.listdir(sessions):
            folder = os.path.join(sessions, name)
            if len(name) == 12:
                if os.listdir(folder) == ["settings"]:
                    os.unlink(os.path.join(folder, "settings"))
                os.rmdir(folder)

    @functools.cached_property
    def asking(self):
        """The seconds that a question takes on this machine now."""
        begun = time.monotonic()
        self.who()
        return time.monotonic() - begun

    def nothing_stays(self):
        pass


    def test_a_port_has_one_session_at_a_time(self):
        first = self.serve("steal")
        for mode in ("steal", "mirror"):
            _, errors = self.run_remote(python_with(), self.app("incoming_server.py"), "local", str(self.port),
                                        target="process/%d" % self.target.pid, status=1,
                                        config={"feature": {"network": {"incoming": mode}}})
            self.assertIn("another mirrord session takes the connections to this port", errors.decode())
        self.assertEqual("local", self.who())
        # One that ends at this moment is waited for.
        second = self.start_remote(python_with(), self.app("incoming_server.py"), "other", str(self.port),
                                   target="process/%d" % self.target.pid,
                                   config={"feature": {"network": {"incoming": "steal"}}})
        time.sleep(1)
        first.stdin.close()
        self.assertEqual(b"ready\n", second.stdout.readline())
        self.assertEqual("other", self.who())

    def test_a_refusal_says_why(self):
        self.env["MIRRORD_AGENT_REDIRECT"] = "magic"
        _, errors = self.run_remote(python_with(), self.app("incoming_server.py"), "local", str(self.port),
                                    target="process/%d" % self.target.pid, status=1,
                                    config={"feature": {"network": {"incoming": "steal"}}})
        self.assertIn("port %d of the target cannot be stolen: " % self.port, errors.decode())
        self.assertIn("MIRRORD_AGENT_REDIRECT is `magic`", errors.decode())


class IncomingByNftables(Incoming):
    way = "nftables"

    def tables(self):
        return subprocess.run(["nsenter", "--target", str(self.target.pid), "--net", need("nft"), "list", "tables"],
                              capture_output=True, text=True, timeout=20, check=True).stdout

    def nothing_stays(self):
        self.assertTrue(wait_until(lambda: self.tables() == "", 10), self.tables())

    def test_the_configuration_can_choose_it(self):
        del self.env["MIRRORD_AGENT_REDIRECT"]
        process = self.serve("steal", nftables=True)
        self.assertEqual("local", self.who())
        self.assertRegex(self.tables(), r"^table inet mirrord-[0-9a-f]{8}\n$")
        process.stdin.close()
        process.wait(20)
        self.nothing_stays()

    def test_it_has_a_table_of_its_own(self):
        process = self.serve("steal")
        self.assertRegex(self.tables(), r"^table inet mirrord-[0-9a-f]{8}\n$")
        process.stdin.close()
        process.wait(20)
        self.nothing_stays()


class IncomingByGuardedNftables(IncomingByNftables):
    """As on kernels before 5.12."""
    way = "nftables-guard"

    def test_what_is_killed_with_its_guard_is_removed_by_the_next(self):
        process = self.serve("steal")
        agent = self.victim("agent")
        guards = [int(name) for name in os.listdir("/proc") if name.isdigit() and self.is_guard_of(name, agent)]
        self.assertEqual(1, len(guards))
        for pid in guards + [agent]:
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait(20)
        self.assertRegex(self.tables(), r"^table inet mirrord-[0-9a-f]{8}\n$")
        process = self.serve("steal")
        self.assertRegex(self.tables(), r"^table inet mirrord-[0-9a-f]{8}\n$")
        self.assertEqual("local", self.who())
        process.stdin.close()
        process.wait(20)
        self.becomes("target")
        self.nothing_stays()

    @staticmethod
    def is_guard_of(pid, agent):
        try:
            with open("/proc/%s/stat" % pid, encoding="utf-8") as file:
                name, rest = file.read().rsplit(")", 1)
            return name.endswith("(mirrord-guard") and int(rest.split()[1]) == agent
        except OSError:
            return False


# Listens on the port of a service of the sandbox, and asks that service: who answers?
SELF = r"""
import http.server, threading, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"local")

    def log_message(self, *words):
        pass

server = http.server.ThreadingHTTPServer(("", 80), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen("http://shop/", timeout=20).read().decode()[:80])
"""


class IncomingWithoutRoot(LocalTest):
    def check(self, mode, expected, before=()):
        output = self.output(python_with(), "-c", SELF, config={"feature": {"network": {"incoming": mode}}}, before=before)
        self.assertTrue(output.startswith(expected), output)

    def test_a_sandbox_of_the_user_is_stolen_from(self):
        self.check("steal", "local")

    @unittest.skipUnless(os.geteuid() == 0, "port 80 without mirrord's help takes root")
    def test_a_sandbox_of_the_user_is_left_alone(self):
        # Somebody else may have port 80 of this machine, and nothing but this machine's is used.
        self.check("off", '{"pod"', before=OWN_NETWORK)


if __name__ == "__main__":
    unittest.main()
