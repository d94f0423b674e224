# tests/local/test_corrupt_streams.py — the connection between intproxy and agent goes wrong in the middle:
# bytes that nobody sent, an end inside a message, silence. Programs get errors, others are not disturbed.
import os
import random
import select
import socket
import subprocess
import threading
import time

from support import LocalTest, free_port, python_with, wait_until

# Many different calls; each may fail, none may hang.
CALLS = r"""
import os, socket, sys
sys.path_hooks.clear()
bad = 0
def attempt(function):
    global bad
    try: function()
    except (OSError, UnicodeDecodeError, ValueError): bad += 1
def talk():
    with socket.create_connection(('echo', 7777), 10) as s:
        s.settimeout(10); s.sendall(b'x' * 100_000); s.recv(1000)
for number in range(40):
    attempt(lambda: open('/data/archive.bin', 'rb', buffering=0).read(500_000))
    attempt(lambda: os.listdir('/data'))
    attempt(lambda: open('/app/version').read())
    attempt(lambda: os.stat('/data/README'))
    attempt(talk)
print('ended', bad > 0, flush=True)
"""


class Relay:
    """Forwards bytes between intproxy and agent; `wrong(direction, data, sent)` may change them."""

    def __init__(self, agent_port, wrong):
        self.wrong = wrong
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.agent_port = agent_port
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        client, _ = self.listener.accept()
        agent = socket.create_connection(("127.0.0.1", self.agent_port))
        sent = {client: 0, agent: 0}
        with client, agent:
            while True:
                for source in select.select([client, agent], [], [])[0]:
                    target, direction = (agent, "up") if source is client else (client, "down")
                    data = source.recv(1 << 16)
                    changed = self.wrong(direction, data, sent[source])
                    sent[source] += len(data)
                    if not data or changed is None:
                        return
                    target.sendall(changed)

    def close(self):
        self.listener.close()


class CorruptStreams(LocalTest):
    def setUp(self):
        super().setUp()
        self.env["MIRRORD_RECONNECT_TIMEOUT"] = "0"  # test_reconnect.py has the other ends of it
        self.port = free_port()
        self.agent = subprocess.Popen([self.mirrord, "agent", "-l", str(self.port), "--communication-timeout", "30",
                                       "process", "--pid", str(self.pod.pid)], env=self.env,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(self.agent)
        self.assertIn(b"agent ready", self.agent.stdout.readline())

    def through(self, port, *program):
        return [self.mirrord, "exec", "--agent-address", "127.0.0.1:%d" % port, "--", *program]

    def run_with(self, wrong, must_fail=True):
        # Another client of the same agent, which must notice nothing.
        other = subprocess.Popen(self.through(self.port, "sh", "-c", "echo ready; read line; cat /app/version"),
                                 env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(other)
        self.assertEqual(b"ready\n", other.stdout.readline())
        relay = Relay(self.port, wrong)
        started = time.monotonic()
        done = subprocess.run(self.through(relay.port, python_with(), "-c", CALLS), env=self.env, cwd=self.work,
                              capture_output=True, timeout=100, check=False)
        relay.close()
        self.assertLess(time.monotonic() - started, 60)
        trace = done.stderr.decode(errors="replace")[-2000:]
        self.assertEqual(0, done.returncode, trace)
        self.assertEqual(b"ended %s\n" % (b"True" if must_fail else done.stdout.split()[1]), done.stdout, trace)
        self.assertEqual((b"2.14.0\n", None), other.communicate(b"\n", timeout=20))
        self.assertEqual(0, self.agent.wait(20))

    def at(self, direction, offset, change):
        """Applies `change` to the bytes around an offset of one direction, once."""
        def wrong(way, data, sent):
            if way == direction and sent <= offset < sent + len(data):
                cut = offset - sent
                return change(data[:cut], data[cut:])
            return data
        return wrong

    def test_bytes_of_the_agent_that_are_no_message(self):
        self.run_with(self.at("down", 2_000_000, lambda before, after: before + b"\xff" * 5000 + after))

    def test_bytes_of_the_intproxy_that_are_no_message(self):
        self.run_with(self.at("up", 300_000, lambda before, after: before + b"\xff" * 5000 + after))

    def test_missing_bytes(self):
        self.run_with(self.at("down", 1_000_000, lambda before, after: before + after[3:]), must_fail=False)

    def test_an_end_inside_a_message(self):
        self.run_with(self.at("down", 1_234_567, lambda before, after: None))

    def test_an_end_inside_a_request(self):
        self.run_with(self.at("up", 123_456, lambda before, after: None))

    def test_random_changes(self):
        seed = int(os.environ.get("MIRRORD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        choose = random.Random(seed)

        def wrong(way, data, sent):
            if data and sent > 3000 and choose.randrange(40) == 0:
                at = choose.randrange(len(data))
                return data[:at] + choose.randbytes(choose.randrange(1, 20)) + data[at + choose.randrange(9):]
            return data
        try:
            self.run_with(wrong, must_fail=False)
        except AssertionError as error:
            raise AssertionError("MIRRORD_TEST_SEED=%d" % seed) from error
