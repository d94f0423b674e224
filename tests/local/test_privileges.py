# tests/local/test_privileges.py — an ordinary user without any privilege: what works, and what says why not.
import os
import shutil
import subprocess

from support import LocalTest, need

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all",
          "--inh-caps", "-all", "--no-new-privs"]


class Privileges(LocalTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("needs root to become somebody else")
        need("setpriv")
        self.home = os.path.join(self.folder, "home")
        os.mkdir(self.home)
        for folder in (self.folder, self.work, self.runtime, self.temporary, self.home):
            os.chown(folder, 65534, 65534)

    def as_nobody(self, *words, env=None, timeout=60):
        return subprocess.run([*NOBODY, *words], env={**self.env, "HOME": self.home, **(env or {})}, cwd=self.work,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)

    def user_namespaces_work(self):
        done = self.as_nobody("unshare", "--user", "--map-root-user", "--net", "true")
        return done.returncode == 0

    def test_the_demo_needs_no_root(self):
        done = self.as_nobody(self.mirrord, "exec", "--target", "demo", "--", "sh", "-c",
                              "cat /app/version; id -u; printenv DB_HOST; getent ahostsv4 shop | head -1")
        if not self.user_namespaces_work():
            self.assertNotEqual(0, done.returncode)
            self.assertIn(b"sudo", done.stderr)
            return
        self.assertEqual(0, done.returncode, done.stderr.decode())
        lines = done.stdout.decode().splitlines()
        self.assertEqual(["2.14.0", "65534", "postgres.demo.svc.cluster.local"], lines[:3])
        self.assertIn("10.96.12.34", lines[3])

    def test_ones_own_process_is_a_target(self):
        program = "exec 3<&0; %s exec --target process/$$ -- printenv MARKED" % self.mirrord
        done = self.as_nobody("sh", "-c", program, env={"MARKED": "yes"})
        self.assertEqual((0, b"yes\n"), (done.returncode, done.stdout), done.stderr.decode())

    def test_a_container_of_root(self):
        done = self.as_nobody(self.mirrord, "exec", "--target", "container/somebodys", "--", "echo", "ran")
        self.assertNotEqual(0, done.returncode)
        self.assertEqual(b"", done.stdout)
        self.assertIn(b"somebodys", done.stderr)

    def test_a_foreign_agent_command(self):
        done = self.as_nobody(self.mirrord, "agent", "-l", "0", "process", "--pid", str(os.getpid()))
        self.assertNotEqual(0, done.returncode)
        self.assertRegex(done.stderr.decode(), "(?i)permission|permitted")

    def test_no_home_and_no_runtime_folder(self):
        """Nowhere to put the hook or the session but the temporary folder of all."""
        done = self.as_nobody(self.mirrord, "exec", "--target", "process/1", "--", "echo", "ran",
                              env={"HOME": "/nonexistent", "XDG_RUNTIME_DIR": "", "XDG_CACHE_HOME": ""})
        self.assertNotEqual(0, done.returncode)
        self.assertEqual(b"", done.stdout)
        self.assertNotEqual(b"", done.stderr)
        shutil.rmtree("/tmp/mirrord-65534", ignore_errors=True)
