# tests/local/test_local_redis.py — database branches that are a Redis on this machine: started for the session,
# found by the program, gone with the session.
import os
import signal
import socket
import subprocess
import unittest

from support import LocalTest, free_port, need, python_with, read_file, wait_until

# Speaks to the server that a variable names, by an URL or as HOST:PORT: keeps a value and reads it back.
CLIENT = r"""
import os, socket, sys
address = os.environ[sys.argv[1]]
host, port = address.removeprefix("redis://").removesuffix("/0").split(":")
with socket.create_connection((host, int(port)), 20) as server:
    server.sendall(b"SET greeting hello\r\nGET greeting\r\n")
    received = b""
    while received.count(b"\r\n") < 3:
        received += server.recv(100)
print(address, received.split(b"\r\n")[2].decode(), flush=True)
sys.stdin.readline()
"""


def ask(port, *commands, host="127.0.0.1"):
    """The server's answers to a few commands, as one text."""
    with socket.create_connection((host, port), 10) as server:
        server.sendall("".join(command + "\r\n" for command in (*commands, "QUIT")).encode())
        return b"".join(iter(lambda: server.recv(65536), b"")).decode()


def is_open(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class LocalRedis(LocalTest):
    def setUp(self):
        super().setUp()
        need("redis-server")
        self.port = free_port()
        self.env["REDIS_URL"] = self.env["REDIS_ADDR"] = "redis.this-machine:1"

    def config(self, connection=None, **local):
        settings = {"port": self.port, "runtime": "redis_server", **local}
        branch = {"type": "redis", "location": "local", "local": settings,
                  "connection": connection or {"url": {"type": "env", "variable": "REDIS_URL"}}}
        return {"feature": {"db_branches": [branch]}}

    def start(self, variable="REDIS_URL", config=None):
        """A program that has found its server; what it printed."""
        process = self.start_remote(python_with(), "-c", CLIENT, variable, config=config or self.config())
        line = process.stdout.readline().decode()
        return process, line or process.stderr.read().decode()

    def refused(self, config):
        process = self.start_remote("sh", "-c", "echo started", config=config)
        output, errors = process.communicate(timeout=60)
        self.assertEqual((1, b""), (process.returncode, output), errors)
        return errors.decode()

    def test_it_lives_as_long_as_the_session(self):
        process, line = self.start()
        self.assertEqual("redis://localhost:%d/0 hello\n" % self.port, line)
        self.assertIn("\r\nhello\r\n", ask(self.port, "GET greeting"))
        self.assertRaises(ConnectionRefusedError, ask, self.port, host="127.0.0.2")
        process.communicate(b"\n", timeout=30)
        self.assertEqual(0, process.returncode)
        self.assertTrue(wait_until(lambda: not is_open(self.port), 10))
        self.assertEqual([], os.listdir(self.work), "files of the server")

    def test_a_host_variable_gets_host_and_port(self):
        process, line = self.start("REDIS_ADDR", self.config({"host": {"type": "env", "variable": "REDIS_ADDR"}}))
        self.assertEqual("localhost:%d hello\n" % self.port, line)
        process.communicate(b"\n", timeout=30)

    def test_arguments_and_command(self):
        command = self.local_file("my-redis", b"#!/bin/sh\nexec redis-server \"$@\"\n", 0o755)
        process, line = self.start(config=self.config(server_command=command,
                                                      options={"args": ["--maxmemory", "64mb"]}))
        self.assertIn("hello", line)
        self.assertIn("67108864", ask(self.port, "CONFIG GET maxmemory"))
        process.communicate(b"\n", timeout=30)

    def test_one_that_wants_a_password_is_ready_too(self):
        process = self.start_remote("sh", "-c", "echo started; read line",
                                    config=self.config(options={"args": ["--requirepass", "open sesame"]}))
        self.assertEqual(b"started\n", process.stdout.readline())
        self.assertIn("NOAUTH", ask(self.port, "GET greeting"))
        process.communicate(b"\n", timeout=30)

    def test_two_of_them(self):
        other = free_port()
        config = self.config()
        config["feature"]["db_branches"] += self.config({"host": {"type": "env", "variable": "REDIS_ADDR"}},
                                                        port=other)["feature"]["db_branches"]
        process, line = self.start(config=config)
        self.assertEqual("redis://localhost:%d/0 hello\n" % self.port, line)
        self.assertIn("$-1", ask(other, "GET greeting"))
        process.communicate(b"\n", timeout=30)

    def test_the_program_is_not_its_parent(self):
        process = self.start_remote(python_with(), "-c", "import os\ntry: print(os.wait())\nexcept OSError as e: print(e)",
                                    config=self.config())
        output, errors = process.communicate(timeout=60)
        self.assertEqual(b"[Errno 10] No child processes\n", output, errors)

    def test_it_ends_with_a_killed_session(self):
        for role in ("intproxy", "program"):
            process, line = self.start()
            self.assertIn("hello", line)
            os.kill(process.pid if role == "program" else self.victim("intproxy"), signal.SIGKILL)
            self.assertTrue(wait_until(lambda: not is_open(self.port), 20), role)
            process.kill()
            process.communicate(timeout=30)

    def test_it_ends_with_its_killed_keeper(self):
        process, line = self.start()
        keepers = [pid for pid in self.processes() if read_file("/proc/%d/comm" % pid) == b"mirrord-redis\n"]
        self.assertEqual(1, len(keepers), line)
        os.kill(keepers[0], signal.SIGKILL)
        self.assertTrue(wait_until(lambda: not is_open(self.port), 10))
        process.communicate(b"\n", timeout=30)

    def test_a_start_that_is_interrupted_leaves_nothing(self):
        # It never answers.
        command = self.local_file("my-redis", b"#!/bin/sh\nexec sleep 1000\n", 0o755)
        process = self.start_remote("true", config=self.config(server_command=command))
        self.assertTrue(wait_until(lambda: any(b"sleep" in read_file("/proc/%d/cmdline" % pid)
                                               for pid in self.processes()), 10))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    def test_a_taken_port_is_told(self):
        with socket.create_server(("127.0.0.1", self.port)):
            errors = self.refused(self.config())
        self.assertIn("start a local Redis: listen at 127.0.0.1:%d: Address already in use" % self.port, errors)
        self.assertIn("local.port", errors)

    def test_one_that_cannot_start_is_told(self):
        errors = self.refused(self.config(server_command="/no/such/server"))
        self.assertIn("start a local Redis with `/no/such/server`: No such file or directory", errors)
        errors = self.refused(self.config(options={"args": ["--no-such-option", "1"]}))
        self.assertIn("start a local Redis with `redis-server`: ", errors)
        self.assertIn("no-such-option", errors)

    def test_a_container_that_cannot_start_makes_way_for_a_program(self):
        process, line = self.start(config=self.config(runtime="auto", container_command="/no/such/docker"))
        self.assertIn("hello", line)
        process.communicate(b"\n", timeout=30)
        self.assertTrue(wait_until(lambda: not is_open(self.port), 10))
        errors = self.refused(self.config(runtime="auto", container_command="/no/such/docker", server_command="/no/server"))
        self.assertIn("`/no/such/docker`: No such file or directory; start a local Redis with `/no/server`: No such", errors)

    def test_containers_do_not_reach_it(self):
        done = subprocess.run(self.command("docker", "run", "box", config=self.config(), verb=("container",)), env=self.env,
                              capture_output=True, timeout=30, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn(b"a local Redis listens on this machine's loopback", done.stderr)

    def test_what_it_is_shown_as(self):
        output, errors = self.run_remote("true", config=self.config(), env={"MIRRORD_PROGRESS_MODE": "simple"})
        self.assertIn(b"Redis (native) on localhost:%d\n" % self.port, output)
        self.assertNotIn(b"operator", output + errors)


if __name__ == "__main__":
    unittest.main()
