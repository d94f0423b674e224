# tests/local/test_targets.py — processes, containers, the demo and a running agent as targets.
import json
import os
import re
import subprocess
import unittest

from support import LocalTest, free_port, need, wait_until


class Targets(LocalTest):
    def test_demo_is_a_target(self):
        self.assertEqual("2.14.0\n", self.output("cat", "/app/version", target="demo"))

    def test_targets_come_from_the_configuration_and_environment(self):
        config = os.path.join(self.folder, "target.json")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"target": {"path": self.pod.target}}, file)
        words = [self.mirrord, "exec", "-f", config, "--", "cat", "/app/version"]
        self.assertEqual(b"2.14.0\n", subprocess.run(words, env=self.env, capture_output=True, check=True).stdout)
        words = [self.mirrord, "exec", "cat", "/app/version"]
        env = {**self.env, "MIRRORD_IMPERSONATED_TARGET": self.pod.target}
        self.assertEqual(b"2.14.0\n", subprocess.run(words, env=env, capture_output=True, check=True,
                                                     cwd=self.work).stdout)

    def test_a_process_that_does_not_exist(self):
        _, errors = self.run_remote("cat", "/app/version", target="process/4190000", status=None)
        self.assertRegex(errors.decode(), r"4190000.*(does not run|no such process)")

    def test_a_process_that_has_ended(self):
        child = subprocess.Popen(["true"])
        child.wait()
        _, errors = self.run_remote("true", target="process/%d" % child.pid, status=None)
        self.assertIn("does not run", errors.decode())

    def test_unknown_kinds_of_targets(self):
        for target in ("nonsense/x", "process/x", "process/", "container/"):
            done = subprocess.run([self.mirrord, "exec", "--target", target, "--", "echo", "ran"], env=self.env,
                                  capture_output=True, timeout=30, check=False)
            self.assertNotEqual(0, done.returncode, target)
            self.assertEqual(b"", done.stdout)
            self.assertIn(target.split("/")[0].encode(), done.stderr)

    def test_a_foreign_process_is_refused(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root to become somebody else")
        need("setpriv")
        for folder in (self.folder, self.work):
            os.chmod(folder, 0o777)
        os.chmod(self.runtime, 0o777)
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", self.mirrord,
                               "exec", "--target", "process/%d" % os.getppid(), "--", "echo", "ran"],
                              env={**self.env, "HOME": self.work, "XDG_RUNTIME_DIR": ""}, capture_output=True,
                              timeout=60, check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertEqual(b"", done.stdout)
        self.assertRegex(done.stderr.decode(), "(?i)permission denied|not permitted")
        self.assertIn("root", done.stderr.decode())


class RunningAgent(LocalTest):
    def start_agent(self, *options):
        self.agent_port = free_port()
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(self.agent_port), *options,
                                  "process", "--pid", str(self.pod.pid)], env=self.env,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(agent)
        return agent

    def listening(self):
        with open("/proc/net/tcp", encoding="ascii") as file:
            text = file.read()
        with open("/proc/net/tcp6", encoding="ascii") as file:
            text += file.read()
        return re.search(r":%04X [0-9A-F]+:0000 0A" % self.agent_port, text)

    def through_agent(self, *program, **options):
        words = [self.mirrord, "exec", "--agent-address", "127.0.0.1:%d" % self.agent_port, "--", *program]
        done = subprocess.run(words, env=self.env, capture_output=True, timeout=60, cwd=self.work,
                              check=False, **options)
        self.assertEqual(0, done.returncode, done.stderr.decode())
        return done.stdout

    def test_programs_use_an_agent_that_already_runs(self):
        agent = self.start_agent("--communication-timeout", "30")
        self.assertTrue(wait_until(self.listening, 10))
        self.assertEqual(b"2.14.0\n", self.through_agent("cat", "/app/version"))
        # It leaves with its last client.
        self.assertEqual(0, agent.wait(20))

    def test_an_agent_serves_several_clients(self):
        agent = self.start_agent("--communication-timeout", "30")
        self.assertTrue(wait_until(self.listening, 10))
        words = [self.mirrord, "exec", "--agent-address", "127.0.0.1:%d" % self.agent_port, "--", "sh", "-c",
                 "echo ready; read line; cat /app/version"]
        first = subprocess.Popen(words, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(first)
        self.assertEqual(b"ready\n", first.stdout.readline())
        for _ in range(3):
            self.assertEqual(self.pod.read("/data/archive.bin"), self.through_agent("cat", "/data/archive.bin"))
        self.assertEqual((b"2.14.0\n", None), first.communicate(b"\n", timeout=20))
        self.assertEqual(0, agent.wait(20))

    def test_the_connect_setting_names_an_agent(self):
        self.start_agent("--communication-timeout", "30")
        self.assertTrue(wait_until(self.listening, 10))
        config = {"connect_tcp": "127.0.0.1:%d" % self.agent_port}
        path = os.path.join(self.folder, "connect.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        done = subprocess.run([self.mirrord, "exec", "-f", path, "--", "printenv", "DB_HOST"], env=self.env,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual((0, b"postgres.demo.svc.cluster.local\n"), (done.returncode, done.stdout), done.stderr)

    def test_no_agent_at_the_address(self):
        self.agent_port = free_port()
        done = subprocess.run([self.mirrord, "exec", "--agent-address", "127.0.0.1:%d" % self.agent_port, "--",
                               "echo", "ran"], env=self.env, capture_output=True, timeout=60, check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertEqual(b"", done.stdout)
        self.assertIn(b"refused", done.stderr)
