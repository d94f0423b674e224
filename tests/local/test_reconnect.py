# tests/local/test_reconnect.py — the connection between intproxy and agent breaks and comes back: what can
# go on goes on, what cannot fails with an error and one line, and nothing stays behind.
import json
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time

from support import END_SECONDS, LocalTest, free_port, python_with, sha256_file, wait_until


class CuttingRelay:
    """Forwards connections to an agent; cut() breaks them, stop() also refuses new ones."""

    def __init__(self, agent_port):
        self.agent_port = agent_port
        self.pairs = []
        self.lock = threading.Lock()
        self.accepted = 0
        self.bytes_down = 0
        self.cut_at = None  # cuts when so many bytes have come from the agent
        self.listener = None
        self.port = free_port()
        self.start()

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                agent = socket.create_connection(("127.0.0.1", self.agent_port))
            except OSError:
                client.close()
                continue
            with self.lock:
                self.pairs.append((client, agent))
                self.accepted += 1
            threading.Thread(target=self.forward, args=(client, agent), daemon=True).start()

    def forward(self, client, agent):
        try:
            while True:
                for source in select.select([client, agent], [], [])[0]:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is agent:
                        self.bytes_down += len(data)
                        if self.cut_at is not None and self.bytes_down >= self.cut_at:
                            self.cut_at = None
                            # In the middle of a message, most of the time.
                            client.sendall(data[:len(data) // 2])
                            return
                    (agent if source is client else client).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            self.close(client, agent)

    @staticmethod
    def close(*sockets):
        for end in sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for client, agent in pairs:
            self.close_quietly(client, agent)

    def close_quietly(self, *sockets):
        for end in sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        listener, self.listener = self.listener, None
        if listener is not None:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        self.cut()


class Reconnect(LocalTest):
    def setUp(self):
        super().setUp()
        self.agent_port = free_port()
        self.agent = self.start_agent()
        self.relay = CuttingRelay(self.agent_port)

    def tearDown(self):
        self.relay.stop()
        if self.agent.poll() is None:
            self.agent.send_signal(signal.SIGTERM)
        super().tearDown()

    def start_agent(self, ttl="20"):
        env = {**self.env, "MIRRORD_AGENT_RECONNECT_TTL": ttl}
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(self.agent_port), "-t", "60",
                                  "process", "--pid", str(self.pod.pid)], env=env,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(agent)
        self.assertIn(b"agent ready", agent.stdout.readline())
        return agent

    def start(self, text, *arguments, seconds=None, **options):
        """Runs Python code through the relay."""
        env = dict(self.env)
        if seconds is not None:
            env["MIRRORD_RECONNECT_TIMEOUT"] = str(seconds)
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        path = os.path.join(self.folder, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"feature": {"fs": "write"}}, file)
        process = subprocess.Popen(
            [self.mirrord, "exec", "-f", path, "--agent-address", "127.0.0.1:%d" % self.relay.port, "--",
             python_with(), "-u", "-c", text, *arguments], env=env, cwd=self.work, **settings)
        self.started.append(process)
        return process

    def say(self, process, text="go"):
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()

    def hear(self, process, expected):
        line = process.stdout.readline().decode()
        self.assertEqual(expected + "\n", line, "" if line else process.stderr.read().decode())

    def finish(self, process, output="", warnings=0):
        out, errors = process.communicate(timeout=60)
        lines = [line for line in errors.decode().splitlines() if line.startswith("mirrord: ")]
        self.assertEqual((0, output), (process.returncode, out.decode()), errors.decode()[-3000:])
        self.assertEqual(warnings, len(lines), errors.decode()[-3000:])
        return lines

    def vast(self, size=64 << 20):
        def make(path):
            block = os.urandom(1 << 20)
            with open(path, "wb") as file:
                for number in range(size >> 20):
                    file.write(number.to_bytes(8, "big") + block[8:])
        self.pod.inside(make, "/data/vast")
        return self.pod.inside(sha256_file, "/data/vast")

    READ = r"""
import hashlib, sys
digest = hashlib.sha256()
with open('/data/vast', 'rb', buffering=0) as file:
    print('open', flush=True)
    while part := file.read(200_000): digest.update(part)
print(digest.hexdigest())
"""

    def test_a_big_file_is_exact_across_twenty_cuts(self):
        expected = self.vast()
        process = self.start(self.READ)
        self.hear(process, "open")
        step = (64 << 20) // 22
        cuts = 0
        while cuts < 20 and process.poll() is None:
            before = self.relay.accepted
            self.relay.cut_at = self.relay.bytes_down + random.randrange(1000, step)
            if not wait_until(lambda: self.relay.accepted > before or process.poll() is not None, 20, 0.002):
                break
            cuts += 1
        self.finish(process, expected + "\n")
        self.assertEqual(20, cuts)

    def test_listings_stats_and_names_go_on(self):
        process = self.start(r"""
import os, socket, sys
print('ready', flush=True)
truth = None
for round in range(60):
    found = [sorted(os.listdir('/data/catalog')), sorted(os.listdir('/data')),
             os.stat('/data/README').st_size, open('/app/version').read(), os.readlink('/proc/self/cwd') != '',
             socket.gethostbyname('shop')]
    truth = truth or found
    if found != truth: print('differs', found, truth)
print('done')
""")
        self.hear(process, "ready")
        while process.poll() is None:
            time.sleep(random.random() / 8)
            self.relay.cut()
        self.finish(process, "done\n")
        self.assertGreater(self.relay.accepted, 2)

    LOSSES = r"""
import errno, os, socket, sys
connection = socket.create_connection(('10.96.12.35', 7777))
connection.sendall(b'hello'); connection.recv(100)
packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); packets.connect(('10.96.12.35', 7777)); packets.send(b'x'); packets.recv(9)
out = open('/data/out', 'wb', buffering=0); out.write(b'first')
both = os.open('/data/both', os.O_RDWR | os.O_CREAT)
os.write(both, b'x')
kept = open('/data/archive.bin', 'rb', buffering=0); kept.seek(1000)
print('ready', flush=True)
sys.stdin.readline()
def attempt(function):
    try: function()
    except OSError as error: return errno.errorcode[error.errno]
    return 'fine'
def receive():
    if connection.recv(100) == b'': return
print(attempt(receive), flush=True)
packets.settimeout(5)
for _ in range(3):
    attempt(lambda: packets.send(b'again'))
    try: print(packets.recv(100)); break
    except OSError: pass
def write():
    for _ in range(20):
        out.write(b'second'); os.fsync(out.fileno())
print(attempt(write), flush=True)
print(attempt(lambda: os.pwrite(both, b'y', 1)), flush=True)
attempt(out.close)
with open('/data/new', 'wb') as file: file.write(b'new')
print(len(kept.read(50)), open('/data/new').read(), flush=True)
again = socket.create_connection(('10.96.12.35', 7777))
again.sendall(b'hello'); print(again.recv(100) != b'', flush=True)
"""

    def test_what_cannot_be_restored_fails_and_the_program_lives_on(self):
        process = self.start(self.LOSSES)
        self.hear(process, "ready")
        self.relay.cut()
        self.say(process)
        lines = self.finish(process, "ECONNRESET\nb'again'\nEIO\nEIO\n50 new\nTrue\n", warnings=1)
        self.assertRegex(lines[0], r"^mirrord: warning: the connection to the agent broke and is back after \d+\.\d s; "
                                   r"lost: 1 connection and 2 files open for writing \(/data/(out|both), /data/(out|both)\)$")
        self.assertEqual(b"first", self.pod.read("/data/out")[:5])

    def test_lines_go_to_a_regular_file_too(self):
        path = os.path.join(self.work, "errors")
        with open(path, "wb") as errors:
            process = self.start(self.LOSSES + "\nsys.stderr.write('program\\n')", stderr=errors)
            self.hear(process, "ready")
            self.relay.cut()
            self.say(process)
            self.assertIn(b"True", process.communicate(timeout=60)[0])
        with open(path, encoding="utf-8") as errors:
            lines = errors.read().splitlines()
        self.assertEqual(2, len(lines), lines)
        self.assertIn("lost: 1 connection", lines[0])
        self.assertEqual("program", lines[1])

    def test_calls_wait_while_there_is_no_agent(self):
        process = self.start(r"""
import os, sys, time
print('ready', flush=True); sys.stdin.readline()
begin = time.monotonic()
text = open('/app/version').read().strip()
os.mkdir('/data/made'); open('/data/made/file', 'w').write('x')
print(text, 1 < time.monotonic() - begin < 20)
""")
        self.hear(process, "ready")
        self.relay.stop()
        self.say(process)
        time.sleep(1.5)
        self.relay.start()
        self.finish(process, "2.14.0 True\n")
        self.assertEqual(b"x", self.pod.read("/data/made/file"))

    CHANGED = r"""
import os, sys
file = open('/data/vast', 'rb', buffering=0); file.read(1000)
print('ready', flush=True); sys.stdin.readline()
try:
    file.seek(60 << 20)
    while file.read(1 << 20): pass
    print('mixed')
except OSError as error:
    print(error.errno == 5)
print(len(open('/data/vast', 'rb').read(100)))
"""

    def test_a_file_that_has_changed_is_not_mixed(self):
        self.vast()
        process = self.start(self.CHANGED)
        self.hear(process, "ready")
        self.relay.stop()
        self.vast(size=65 << 20)
        self.relay.start()
        self.say(process)
        lines = self.finish(process, "True\n100\n", warnings=1)
        self.assertIn("lost: 1 file that has changed meanwhile (/data/vast)", lines[0])

    def test_another_agent_takes_over(self):
        expected = self.vast()
        process = self.start(self.READ)
        self.hear(process, "open")
        wait_until(lambda: self.relay.bytes_down > 8 << 20, 20, 0.002)
        self.agent.kill()
        self.agent.wait(10)
        self.agent = self.start_agent()
        self.finish(process, expected + "\n")

    def test_an_agent_that_never_comes_back_is_told(self):
        process = self.start(r"""
import sys
print('ready', flush=True); sys.stdin.readline()
try: open('/app/version').read(); print('read')
except OSError as error: print(error.errno)
""", seconds=2)
        self.hear(process, "ready")
        self.agent.kill()
        self.relay.stop()
        begin = time.monotonic()
        self.say(process)
        lines = self.finish(process, "5\n", warnings=1)
        self.assertLess(time.monotonic() - begin, 12)
        self.assertRegex(lines[0], r"the agent cannot be reached any more \(tried for [23] s\): connect to the agent at "
                                   r"127\.0\.0\.1:\d+: Connection refused")

    def test_the_intproxy_is_killed_while_it_has_no_agent(self):
        process = self.start(r"""
import sys
print('ready', flush=True); sys.stdin.readline()
try: open('/app/version').read(); print('read')
except OSError as error: print('failed')
""")
        self.hear(process, "ready")
        self.relay.stop()
        self.say(process)
        time.sleep(0.5)
        for pid, command in self.processes().items():
            if "exec" in command and pid != process.pid and str(self.relay.port) in command:
                os.kill(pid, signal.SIGKILL)
        self.finish(process, "failed\n", warnings=1)
        # Nobody is left to remove the session's files: the next session does.
        time.sleep(2.1)
        self.run_remote("true")

    def test_the_program_is_killed_while_it_has_no_agent(self):
        process = self.start("print('ready', flush=True)\nimport sys; sys.stdin.readline(); open('/app/version').read()")
        self.hear(process, "ready")
        self.relay.stop()
        self.say(process)
        time.sleep(0.3)
        process.kill()
        sessions = os.path.join(self.runtime, "mirrord")
        self.assertTrue(wait_until(lambda: not os.listdir(sessions), END_SECONDS))

    def test_the_agent_leaves_with_a_client_that_says_goodbye(self):
        process = self.start("print(open('/app/version').read().strip())")
        self.finish(process, "2.14.0\n")
        self.assertEqual(0, self.agent.wait(10))

    def test_the_agent_waits_for_a_client_that_broke_off(self):
        self.agent.kill()
        self.agent.wait(10)
        self.agent = self.start_agent(ttl="2")
        process = self.start("print('ready', flush=True)\nimport sys; sys.stdin.readline()")
        self.hear(process, "ready")
        self.relay.stop()
        begin = time.monotonic()
        self.assertEqual(0, self.agent.wait(20))
        self.assertGreater(time.monotonic() - begin, 1.5)
        process.kill()
