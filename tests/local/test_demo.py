# tests/local/test_demo.py — `mirrord demo`: the pod itself, its life, the tour.
import os
import re
import signal
import subprocess
import time
import unittest

from support import LocalTest, need, wait_until


class Demo(LocalTest):
    def run_demo(self, *arguments, **options):
        return subprocess.run([self.mirrord, "demo", *arguments], env=self.env, capture_output=True,
                              timeout=90, cwd=self.work, check=False, **options)

    def test_runs_a_program(self):
        for words in (("--", "cat", "/app/version"), ("cat", "/app/version")):
            done = self.run_demo(*words)
            self.assertEqual((0, b"2.14.0\n"), (done.returncode, done.stdout), done.stderr)

    def test_every_run_has_a_pod_of_its_own(self):
        write = os.path.join(self.folder, "write.json")
        with open(write, "w", encoding="utf-8") as file:
            file.write('{"feature": {"fs": "write"}}')
        done = self.run_demo("-f", write, "--", "sh", "-c", "echo new > /app/version; cat /app/version")
        self.assertEqual((0, b"new\n"), (done.returncode, done.stdout), done.stderr)
        self.assertEqual(b"2.14.0\n", self.run_demo("--", "cat", "/app/version").stdout)

    def test_the_tour_compares_here_and_there(self):
        done = self.run_demo()
        self.assertEqual(0, done.returncode, done.stderr)
        text = done.stdout.decode()
        for words in ("environment: staging", "postgres.demo.svc.cluster.local", "shop-7d4b9c6f5-x2k8p",
                      "catalog", "mirrord demo -- "):
            self.assertIn(words, text)
        self.assertEqual([], [line for line in text.splitlines() if len(line) > 80])
        self.assertNotIn("\x1b", text)

    def test_the_tour_works_without_curl(self):
        tools = os.path.join(self.folder, "tools")
        os.mkdir(tools)
        for name in ("cat", "ls", "printenv", "sh", "head", "bash", "timeout"):
            os.symlink(need(name), os.path.join(tools, name))
        self.env["PATH"] = tools
        done = self.run_demo()
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("shop-7d4b9c6f5-x2k8p", done.stdout.decode())

    def test_needs_no_root(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("this user is not root anyway: all other tests show it")
        need("setpriv")
        for folder in (self.folder, self.work):
            os.chmod(folder, 0o777)
        os.chown(self.runtime, 65534, 65534)
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", self.mirrord,
                               "demo", "--", "sh", "-c", "cat /app/version; printenv DB_HOST; id -u; getent hosts pinned.internal"],
                              env={**self.env, "HOME": self.work}, cwd=self.work, capture_output=True,
                              timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(b"2.14.0\npostgres.demo.svc.cluster.local\n65534\n", done.stdout.split(b"10.96")[0])

    def test_says_what_to_do_where_namespaces_are_forbidden(self):
        need("unshare")
        # The limit belongs to the user namespace that this makes: nothing outside changes.
        script = "echo 0 > /proc/sys/user/max_user_namespaces && exec '%s' demo -- true" % self.mirrord
        os.chmod(self.folder, 0o777)
        done = subprocess.run(["unshare", "-U", "--map-user=1000", "--keep-caps", "sh", "-c", script],
                              env={**self.env, "HOME": self.work}, capture_output=True, timeout=30, check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertIn(b"namespaces", done.stderr)
        self.assertIn(b"sudo", done.stderr)


class Pod(LocalTest):
    def test_it_shows_its_surroundings(self):
        self.assertEqual("shop-7d4b9c6f5-x2k8p", self.pod.inside(os.uname).nodename)
        self.assertGreater(len(self.pod.tree("/data")), 350)
        self.assertEqual(["1"], self.pod.inside(lambda: [n for n in os.listdir("/proc") if n.isdigit()]))
        with open("/proc/%d/environ" % self.pod.pid, encoding="utf-8") as file:
            self.assertIn("DB_HOST=postgres.demo.svc.cluster.local", file.read().split("\0"))

    def test_it_ends_with_its_owner_however_that_ends(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP):
            pod = self.pod
            os.kill(pod.owner.pid, number)
            status = pod.owner.wait(10)
            self.assertEqual(-number if number == signal.SIGKILL else 0, status)
            self.assertTrue(wait_until(lambda: not self.processes(), 5), self.processes())
            pod.stop()
            self._pod = None

    def test_its_owner_notices_its_death(self):
        os.kill(self.pod.pid, signal.SIGKILL)
        self.assertEqual(1, self.pod.owner.wait(10))

    def test_processes_inside_end_with_it(self):
        # A child of the one that enters is in the pod's PID namespace.
        shell = self.pod.popen("sh", "-c", "sleep 1000 & wait", kinds=("net", "pid"), env=self.env)
        self.started.append(shell)
        self.assertTrue(wait_until(lambda: "sleep 1000 " in self.processes().values(), 10))
        os.kill(self.pod.pid, signal.SIGKILL)
        shell.wait(10)
        self.assertNotIn("sleep 1000 ", self.processes().values())

    def test_help_says_what_it_does(self):
        done = subprocess.run([self.mirrord, "demo", "--help"], env=self.env, capture_output=True, check=True)
        self.assertRegex(done.stdout.decode(), re.compile("no root.*--serve", re.S))

