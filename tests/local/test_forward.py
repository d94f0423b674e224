# tests/local/test_forward.py — `mirrord port-forward` and `mirrord diagnose`: a target's network without a
# program under mirrord.
import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
import time

from support import LocalTest, free_port, wait_until
from test_reconnect import CuttingRelay


class PortForward(LocalTest):
    def forward(self, *words, target=None):
        process = subprocess.Popen([self.mirrord, "port-forward", *(target or ["-t", self.pod.target]), *words],
                                   env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def line(self, process):
        line = process.stdout.readline().decode()
        self.assertTrue(line, process.stderr.read().decode() if not line else "")
        return line.rstrip("\n")

    def end(self, process, number=signal.SIGINT):
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        self.assertEqual(0, process.returncode, errors.decode())
        return errors.decode()

    def ask(self, port, request=b"GET / HTTP/1.0\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            s.sendall(request)
            answer = b""
            while part := s.recv(65536):
                answer += part
        return answer

    def test_names_and_addresses_each_at_a_port_of_its_own(self):
        by_name, by_address = free_port(), free_port()
        process = self.forward("-L", "%d:shop:80" % by_name, "--port-mapping=%d:10.96.12.35:7777" % by_address)
        self.assertEqual("127.0.0.1:%d -> shop:80" % by_name, self.line(process))
        self.assertEqual("127.0.0.1:%d -> 10.96.12.35:7777" % by_address, self.line(process))
        self.assertIn(b"shop-", self.ask(by_name))
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", by_address), 10) as s:
                s.sendall(b"hello")
                self.assertEqual(b"hello", s.recv(100))
        self.assertEqual("", self.end(process))

    def test_bytes_are_exact_and_ends_arrive(self):
        port = free_port()
        process = self.forward("-L", "%d:echo:7777" % port)
        self.line(process)
        data = os.urandom(8 << 20)

        def talk(results):
            with socket.create_connection(("127.0.0.1", port), 30) as s:
                sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
                sender.start()
                digest = hashlib.sha256()
                while part := s.recv(1 << 20):
                    digest.update(part)
                sender.join()
                results.append(digest.hexdigest())
        results = []
        threads = [threading.Thread(target=talk, args=(results,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual([hashlib.sha256(data).hexdigest()] * 4, results)
        self.end(process)

    def test_a_reader_that_stops_does_not_fill_the_memory(self):
        port = free_port()
        process = self.forward("-L", "%d:echo:7777" % port)
        self.line(process)
        with socket.create_connection(("127.0.0.1", port), 10) as stuck:
            stuck.setblocking(False)
            sent = 0
            quiet_since = time.monotonic()
            while time.monotonic() - quiet_since < 1 and sent < 512 << 20:
                try:
                    sent += stuck.send(b"x" * (1 << 16))
                    quiet_since = time.monotonic()
                except BlockingIOError:
                    time.sleep(0.01)
            self.assertLess(sent, 64 << 20)
            with socket.create_connection(("127.0.0.1", port), 10) as other:
                other.sendall(b"hello")
                self.assertEqual(b"hello", other.recv(100))
        self.end(process)

    def test_failures_are_named_and_others_go_on(self):
        refused, unknown, works = free_port(), free_port(), free_port()
        process = self.forward("-L", "%d:10.96.12.35:1" % refused, "-L", "%d:no-such-name:80" % unknown,
                               "-L", "%d:shop:80" % works)
        for _ in range(3):
            self.line(process)
        for port in (refused, unknown):
            with self.assertRaises(OSError):
                if self.ask(port) == b"":
                    raise OSError("ended")
        self.assertIn(b"shop-", self.ask(works))
        errors = self.end(process, signal.SIGTERM)
        self.assertIn("connect from the target to 10.96.12.35:1: Connection refused", errors)
        self.assertIn("look up no-such-name in the target", errors)

    def test_wrong_words(self):
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for words, text in ((["-L", "80"], "no host"), (["-L", "0:shop:80"], "no port"), (["-L", "shop:x"], "no port"),
                            (["-L", "1:2:3:4"], "parts"), ([], "no port mapping"), (["-L"], "needs a value"),
                            (["-L", "1234:a:80", "-L", "1234:b:80"], "mapped twice"),
                            (["-R", "a"], "not one port"), (["-R", "80:1", "-R", "80:2"], "mapped twice"),
                            (["-L", "1234:a:80", "program"], "unexpected argument"),
                            (["-L", "%d:shop:80" % port], "Address already in use")):
            process = self.forward(*words)
            output, errors = process.communicate(timeout=30)
            self.assertIn(process.returncode, (1, 2), words)
            self.assertEqual(b"", output, words)
            self.assertIn(text, errors.decode(), words)
        taken.close()

    def test_it_survives_a_broken_connection(self):
        agent_port, port = free_port(), free_port()
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(agent_port), "-t", "60", "process", "--pid",
                                  str(self.pod.pid)], env={**self.env, "MIRRORD_AGENT_RECONNECT_TTL": "20"},
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(agent)
        self.assertIn(b"agent ready", agent.stdout.readline())
        relay = CuttingRelay(agent_port)
        process = self.forward("-L", "%d:shop:80" % port, target=["--agent-address", "127.0.0.1:%d" % relay.port])
        self.line(process)
        self.assertIn(b"shop-", self.ask(port))
        relay.cut()
        self.assertTrue(wait_until(lambda: relay.accepted == 2, 10), (relay.accepted, process.poll()))
        self.assertIn(b"shop-", self.ask(port))
        self.assertIn("the agent is back", self.end(process))
        self.assertEqual(0, agent.wait(10), "the agent waits for a client that has said goodbye")
        relay.stop()

    def test_it_ends_with_its_target(self):
        process = self.forward("-L", "%d:shop:80" % free_port())
        self.line(process)
        os.kill(self.pod.pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
        self.assertEqual(1, process.returncode)
        self.assertIn(b"has ended", errors)


class Diagnose(LocalTest):
    def run_command(self, *words, status=0):
        done = subprocess.run([self.mirrord, *words], env=self.env, capture_output=True, timeout=60, check=False)
        self.assertEqual(status, done.returncode, done.stderr.decode())
        return done.stdout.decode(), done.stderr.decode()

    def test_latency_of_a_target(self):
        output, _ = self.run_command("diagnose", "latency", "-t", self.pod.target, "--count", "30")
        number = r"(\d+\.\d{3})ms"
        match = re.fullmatch(r"Latency statistics: min=%s, max=%s, avg=%s, p50=%s, p99=%s\n" % ((number,) * 5), output)
        self.assertTrue(match, output)
        least, most, mean, median, p99 = map(float, match.groups())
        self.assertTrue(0 < least <= median <= p99 <= most and least <= mean <= most, output)

    def test_each_round_is_told_where_progress_is_shown(self):
        self.env["MIRRORD_PROGRESS_MODE"] = "simple"
        output, errors = self.run_command("diagnose", "latency", "-t", self.pod.target, "--count=2")
        self.assertRegex(output + errors, r"2/2 iterations completed, last iteration took \d+\.\d{3}ms")

    def test_wrong_words(self):
        for words in (["diagnose"], ["diagnose", "health"], ["diagnose", "latency", "--count", "0"],
                      ["diagnose", "latency", "more"]):
            _, errors = self.run_command(*words, status=2)
            self.assertIn("mirrord diagnose", errors)

    def test_no_agent(self):
        _, errors = self.run_command("diagnose", "latency", "--agent-address", "127.0.0.1:%d" % free_port(), status=1)
        self.assertIn("Connection refused", errors)
