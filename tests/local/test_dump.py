# tests/local/test_dump.py — `mirrord dump`: copies of a target's traffic on standard output.
import json
import os
import re
import signal
import subprocess
import threading
import time
import unittest

from support import LocalTest, free_port, python_with, wait_until
from test_reconnect import CuttingRelay

# Sends hex words, each as a part of its own, and reads the echo before the next.
CLIENT = r"""
import socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as connection:
    print(connection.getsockname()[1])
    for word in sys.argv[2:]:
        connection.sendall(bytes.fromhex(word))
        time.sleep(0.1)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass
"""

# Much text over one connection, as fast as the target echoes it.
FLOOD = r"""
import socket, sys, threading
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60) as connection:
    def send():
        for _ in range(int(sys.argv[2])):
            connection.sendall(b"flood\n" * 10000)
        connection.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    while connection.recv(1 << 20):
        pass
    sender.join()
"""


def read_until(process, pattern, seconds=20, count=1):
    """What the process writes up to so many lines that match; they must come."""
    lines = []
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        while count > 0:
            line = process.stdout.readline()
            if not line:
                raise AssertionError("ended before %r: %r" % (pattern, b"".join(lines[:20])))
            lines.append(line)
            count -= bool(re.search(pattern, line))
    finally:
        watchdog.cancel()
    return b"".join(lines)


@unittest.skipUnless(os.geteuid() == 0, "making the target's network and watching its ports take root")
class Dump(LocalTest):
    def setUp(self):
        super().setUp()
        self.env["MIRRORD_AGENT_REDIRECT"] = "socket-lookup"
        self.port = free_port()
        self.target = self.start_target(python_with(), self.app("incoming_server.py"), "target", str(self.port))

    def client(self, script, *words):
        process = subprocess.Popen(["nsenter", "--target", str(self.target.pid), "--net", python_with(), "-c", script,
                                    str(self.port), *words], stdout=subprocess.PIPE)
        self.started.append(process)
        return process

    def send(self, *words):
        """A whole connection; the client's port."""
        output, _ = self.client(CLIENT, *words).communicate(timeout=60)
        return int(output)

    def dump(self, *words, target=None, stdout=subprocess.PIPE):
        """Runs it and waits until it dumps."""
        process = subprocess.Popen([self.mirrord, "dump", *(target or ["-t", "process/%d" % self.target.pid]), *words],
                                   env=self.env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
        self.started.append(process)
        line = process.stderr.readline()
        self.assertIn(b"dumping what comes to port", line, line + (process.stderr.read() if not line else b""))
        return process

    def fails(self, *words, status=1):
        done = subprocess.run([self.mirrord, "dump", *words], env=self.env, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(status, done.returncode, done.stderr)
        self.assertEqual(b"", done.stdout)
        return done.stderr.decode()

    def end(self, process, number=signal.SIGINT):
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        self.assertEqual(0, process.returncode, errors)
        return output

    def test_text_and_binary_of_several_connections(self):
        process = self.dump("-p", str(self.port))
        first = self.send("hello, grüße\n".encode().hex(), "00ff1b")
        seen = read_until(process, rb"closed")
        number = re.search(rb"Connection ID (\d+) from", seen)[1].decode()
        self.assertIn("## New TCP connection established: Connection ID %s from 127.0.0.1:%d to 127.0.0.1:%d\n"
                      % (number, first, self.port), seen.decode())
        self.assertIn("## Connection ID %s: 15 bytes\nData:\nhello, grüße\n\n" % number, seen.decode())
        self.assertIn("## Connection ID %s: 3 bytes\nData (hex):\n00ff1b\n" % number, seen.decode())
        clients = [self.client(CLIENT, b"client".hex()) for _ in range(3)]
        ports = [int(client.communicate(timeout=60)[0]) for client in clients]
        seen = read_until(process, rb"closed", count=3).decode()
        for port in ports:
            self.assertIn("from 127.0.0.1:%d to" % port, seen)
        self.assertEqual(3, seen.count("Data:\nclient\n"), seen)
        self.assertEqual(b"", self.end(process))

    def test_controls_do_not_reach_the_terminal(self):
        process = self.dump("-p", str(self.port))
        self.send("c29b", "1b5b324a")  # two forms of CSI
        seen = read_until(process, rb"closed")
        self.assertIn(b"Data (hex):\nc29b", seen)
        self.assertNotIn(b"\x1b", seen)
        self.end(process, signal.SIGTERM)

    def test_requests_by_the_filter(self):
        config = self.local_file("filter.json", json.dumps({"feature": {"network": {"incoming": {
            "mode": "steal", "http_filter": {"header_filter": "x-user: me", "ports": [self.port]}}}}}).encode())
        process = self.dump("-f", config, "-p", str(self.port))
        self.send(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n".hex())
        self.send(b"POST /mine HTTP/1.1\r\nhost: a\r\nx-user: me\r\ncontent-length: 4\r\n\r\nbody".hex())
        seen = read_until(process, rb"finished").decode()
        self.assertRegex(seen, r"## New HTTP request received: Request ID \[\d+:\d+\] ")
        self.assertIn("POST /mine HTTP/1.1\n", seen)
        self.assertIn("x-user: me\n", seen)
        self.assertIn("Data:\nbody\n", seen)
        self.assertNotIn("/other", seen)
        self.end(process)

    def test_what_is_refused(self):
        target = "process/%d" % self.target.pid
        for port in ("0", "65536", "x", ""):
            self.assertIn("is not a port", self.fails("-t", target, "-p", port, status=2))
        self.assertIn("needs a target", self.fails("-p", "80"))
        self.assertIn("--ports", self.fails("-t", target))
        self.assertIn("unexpected argument", self.fails("-t", target, "-p", "80", "program", status=2))
        self.assertIn("Error: ", self.fails("-t", "process/999999999", "-p", "80"))

    def test_a_reader_that_leaves(self):
        reading, writing = os.pipe()
        process = self.dump("-p", str(self.port), stdout=writing)
        os.close(writing)
        os.close(reading)
        self.send(b"nobody reads".hex())
        _, errors = process.communicate(timeout=20)
        self.assertEqual((0, b""), (process.returncode, errors))

    def test_a_full_disk_is_an_error(self):
        with open("/dev/full", "wb") as full:
            process = self.dump("-p", str(self.port), stdout=full)
        self.send(b"no room".hex())
        _, errors = process.communicate(timeout=20)
        self.assertEqual(1, process.returncode)
        self.assertIn(b"No space left", errors)

    def test_a_slow_reader_is_told_what_it_missed(self):
        process = self.dump("-p", str(self.port))
        self.client(FLOOD, "800").communicate(timeout=60)  # 48 MB
        with open("/proc/%d/status" % process.pid, encoding="ascii") as status:
            peak = int(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
        if not self.env.get("ASAN_OPTIONS"):
            self.assertLess(peak, 100 << 10)
        # What the queue has room for, then the line; the flood's end is among the lost.
        read_until(process, rb"## \d+ records of \d+ bytes were lost", 60)
        self.send(b"after".hex())
        read_until(process, rb"^after$")
        self.end(process)

    def test_a_reader_that_stands_still_does_not_hold_up_the_end(self):
        process = self.dump("-p", str(self.port))
        self.send("61" * 1000)
        self.client(FLOOD, "20").communicate(timeout=60)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(15))
        self.assertLess(time.monotonic() - began, 10)

    def test_the_end_of_the_agent(self):
        port = free_port()
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(port), "-t", "60", "process", "--pid",
                                  str(self.target.pid)], env=self.env, stdout=subprocess.PIPE)
        self.started.append(agent)
        self.assertIn(b"agent ready", agent.stdout.readline())
        config = self.local_file("once.json", b'{"internal_proxy": {"reconnect_timeout": 0}}')
        process = self.dump("-f", config, "-p", str(self.port), target=["--agent-address", "127.0.0.1:%d" % port])
        agent.kill()
        _, errors = process.communicate(timeout=20)
        self.assertEqual(1, process.returncode, errors)
        self.assertIn(b"Error: ", errors)

    def test_it_goes_on_after_a_broken_connection(self):
        port = free_port()
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(port), "-t", "60", "process", "--pid",
                                  str(self.target.pid)], env={**self.env, "MIRRORD_AGENT_RECONNECT_TTL": "20"},
                                 stdout=subprocess.PIPE)
        self.started.append(agent)
        self.assertIn(b"agent ready", agent.stdout.readline())
        relay = CuttingRelay(port)
        self.addCleanup(relay.stop)
        process = self.dump("-p", str(self.port), target=["--agent-address", "127.0.0.1:%d" % relay.port])
        self.send(b"before".hex())
        read_until(process, rb"closed")
        relay.cut()
        self.assertTrue(wait_until(lambda: relay.accepted == 2, 10), relay.accepted)
        for line in iter(process.stderr.readline, b""):
            if b"the agent is back" in line:
                break
        time.sleep(1)  # for the subscription, whose answer is told once only
        self.send(b"after".hex())
        read_until(process, rb"^after$")
        self.end(process)
        self.assertEqual(0, agent.wait(10))

    def test_the_end_of_the_target(self):
        process = self.dump("-p", str(self.port))
        self.target.kill()
        self.target.wait(20)
        self.assertTrue(wait_until(lambda: process.poll() is not None, 20))
        self.assertEqual(1, process.returncode)
