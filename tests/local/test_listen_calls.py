# tests/local/test_listen_calls.py — each function of a listening socket: with the target's traffic, without it,
# and with its port mapped; glibc and musl.
import os
import subprocess
import unittest

from support import LocalTest, free_port, python_with
from test_net_calls import program

CLIENT = r"""
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as connection:
    print(connection.getsockname()[1], connection.makefile().read().strip())
"""

OPENING = """\
bind: 0
getsockname: 0.0.0.0 {port} (16 bytes)
listen: 0
getsockname: 0.0.0.0 {port} (16 bytes)
bind again: Address {already} in use
bind to port 0: 0
listen: 0
it got a port: 1
next
{ends:accept}
next
accept4 set its flags: 1
{ends:accept4}
next
{ends:}
next
accept with little room: 16 bytes, port 1, address 0.0.0.0
{ends:}
next
{ends:accept on a duplicate}
next
{ends:accept in a thread}
next
{ends:accept in a child}
shutdown: 0
listen again: 0
next
{ends:accept after listening again}
bind with SO_REUSEPORT: 0 0
listen: 0 0
next
{ends:accept of the one that is left}
bind for both families: 0
listen: 0
getsockname: :: {port} (28 bytes)
next
{ends6:accept for both families}
"""
IPV6 = """\
bind for IPv6 alone: 0
listen: 0
next on IPv6
{ends6:accept for IPv6 alone}
"""


class Ends:
    """Formats to the lines about a connection's ends: of the client's next port."""

    def __init__(self, clients, port, family):
        self.clients, self.port, self.family = clients, port, family

    def __format__(self, function):
        prefix = "::ffff:" if self.family == 6 else ""
        size = 28 if self.family == 6 else 16
        client, host, port = next(self.clients)
        host = host if ":" in host else prefix + host
        lines = ["%s: %s %s (%d bytes)" % (name, host, number, size)
                 for name, number in ((function, client), ("getpeername", client), ("getsockname", port)) if name]
        return "\n".join(lines)


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and redirecting its ports take root")
class ListenCalls(LocalTest):
    def check(self, libc, incoming, inside, is_mapped=False):
        """Runs the program and a client for each connection that it waits for; compares all that it prints."""
        port, other = free_port(), free_port()
        config = {"feature": {"network": {"incoming": incoming(port, other)}}}
        target = self.start_target("sh", "-c", "echo ready && exec sleep 1000")
        process = self.start_remote(program(libc, "listen"), str(port), str(other),
                                    target="process/%d" % target.pid, config=config)
        enter = ["nsenter", "--target", str(target.pid), "--net"] if inside else []
        printed, clients = [], []
        for line in process.stdout:
            printed.append(line.decode())
            if not printed[-1].startswith("next"):
                continue
            is_v6 = printed[-1] == "next on IPv6\n"
            host, number = ("::1", other) if is_v6 else ("127.0.0.1", port)
            reached = number + 1 if is_mapped else number
            done = subprocess.run([*enter, python_with(), "-c", CLIENT, host, str(reached)], capture_output=True,
                                  text=True, timeout=60, check=False)
            self.assertEqual(0, done.returncode, done.stderr + "".join(printed))
            client, answer = done.stdout.split()
            self.assertEqual("local", answer, "".join(printed))
            clients.append((client, host, number))
        _, errors = process.communicate(timeout=60)
        self.assertEqual(0, process.returncode, errors.decode())
        ends = iter(clients)
        already = "already" if libc == "glibc" else ""
        expected = (OPENING + IPV6).format(port=port, already=already, ends=Ends(ends, port, 4),
                                           ends6=Ends(ends, port, 6)) + "done\n"
        self.assertEqual(expected.replace("  ", " "), "".join(printed))

    def test_with_traffic_on_glibc(self):
        self.check("glibc", lambda port, other: "steal", True)

    def test_with_traffic_on_musl(self):
        self.check("musl", lambda port, other: "steal", True)

    def test_mapped_on_glibc(self):
        self.check("glibc", lambda *ports: {"mode": "steal", "port_mapping": [[port, port + 1] for port in ports]},
                   True, is_mapped=True)

    def test_mapped_on_musl(self):
        listen = free_port()
        self.check("musl", lambda port, other: {"mode": "steal", "listen_ports": [[port, listen]]}, True)

    def test_bypassed_on_glibc(self):
        self.check("glibc", lambda port, other: "off", False)

    def test_bypassed_on_musl(self):
        self.check("musl", lambda port, other: {"mode": "steal", "ignore_ports": [port, other]}, False)


if __name__ == "__main__":
    unittest.main()
