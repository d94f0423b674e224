# tests/local/test_ci.py — `mirrord ci`: programs in the background, their output, their exit status and their end.
import os
import re
import signal
import subprocess
import time

from support import LocalTest, read_file, wait_until


class Ci(LocalTest):
    def setUp(self):
        super().setUp()
        self.runs = os.path.join(self.temporary, "mirrord-%d" % os.geteuid())

    def tearDown(self):
        self.ci("stop")
        subprocess.run(["rm", "-rf", self.runs], check=True)
        super().tearDown()

    def ci(self, *words, status=0, **options):
        # Files, not pipes: whoever inherits one must not keep the test waiting.
        with open(os.path.join(self.folder, "out"), "wb+") as out, open(os.path.join(self.folder, "err"), "wb+") as err:
            done = subprocess.run([self.mirrord, "ci", *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=90,
                                  env={**self.env, **options.pop("env", {})}, check=False, **options)
            out.seek(0)
            err.seek(0)
            text, errors = out.read().decode(), err.read().decode()
        self.assertEqual(status, done.returncode, text + errors)
        return text + errors if status else text

    def start(self, *program, flags=(), **options):
        text = self.ci("start", "-t", self.pod.target, *flags, "--", *program, **options)
        found = re.fullmatch(r"child pid: (\d+)\nrun: (\S+)\noutput: (\S+)\n", text)
        self.assertTrue(found, text)
        return int(found[1]), found[2], found[3]

    def output(self, folder, name="stdout"):
        return read_file(os.path.join(folder, name)).decode()

    def is_running(self, pid):
        return pid in self.processes()

    def test_a_program_in_the_background(self):
        pid, run, folder = self.start("sh", "-c", "cat /etc/hostname; echo problem >&2; exec sleep 1000")
        self.assertTrue(wait_until(lambda: self.output(folder) and self.output(folder, "stderr"), 10))
        self.assertEqual("shop-7d4b9c6f5-x2k8p\n", self.output(folder))
        self.assertEqual("problem\n", self.output(folder, "stderr"))
        self.assertTrue(self.is_running(pid))
        self.assertEqual("%s (child pid %d) stopped, exit status 143\n  output: %s\n" % (run, pid, folder), self.ci("stop"))
        self.assertFalse(self.is_running(pid))
        self.assertEqual("143\n", self.output(folder, "exit_status"))
        self.assertIn("nothing is running", self.ci("stop"))

    def test_it_returns_when_the_program_runs(self):
        begun = time.monotonic()
        pid, _, _ = self.start("sleep", "1000")
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(b"sleep\0001000\0", read_file("/proc/%d/cmdline" % pid))

    def test_several_and_one_of_them_stopped(self):
        first, first_run, _ = self.start("sleep", "1000")
        second, _, _ = self.start("sleep", "1001")
        bystander = subprocess.Popen(["sleep", "1000"], env=self.env)
        self.started.append(bystander)
        self.assertIn(first_run, self.ci("stop", first_run))
        self.assertFalse(self.is_running(first))
        self.assertTrue(self.is_running(second))
        self.ci("stop")
        self.assertFalse(self.is_running(second))
        self.assertIsNone(bystander.poll())

    def test_everything_that_it_has_started_ends(self):
        script = "sleep 1001 & setsid sleep 1002 & (setsid sleep 1003 &); trap '' TERM; echo ready; while :; do sleep 1; done"
        _, _, folder = self.start("sh", "-c", script)
        self.assertTrue(wait_until(lambda: self.output(folder), 10))
        self.ci("stop")
        self.assertEqual("137\n", self.output(folder, "exit_status"))
        self.assertEqual({}, {pid: text for pid, text in self.processes().items() if "sleep" in text})

    def test_the_exit_status_of_one_that_has_ended_is_kept(self):
        _, run, folder = self.start("sh", "-c", "sleep 0.5; exit 7")
        self.assertTrue(wait_until(lambda: os.path.exists(os.path.join(folder, "exit_status")), 10))
        self.assertIn(run, os.listdir(os.path.dirname(folder))[0])
        self.assertIn("had ended, exit status 7", self.ci("stop"))

    def test_one_that_ends_at_once_says_so(self):
        text = self.ci("start", "-t", self.pod.target, "--", "sh", "-c", "echo no database >&2; exit 3", status=3)
        self.assertIn("no database\n", text)
        self.assertIn("`sh` has ended at once, with exit status 3", text)

    def test_one_that_cannot_start(self):
        self.assertIn("the program `no-such` was not found in PATH",
                      self.ci("start", "-t", self.pod.target, "--", "no-such", status=127))
        self.assertIn("process 999999999 does not run", self.ci("start", "-t", "process/999999999", "--", "true", status=1))
        self.assertIn("no program to run is given", self.ci("start", "-t", self.pod.target, status=2))
        self.assertIn("MIRRORD_CI_API_KEY", self.ci("start", "--", "true", status=1, env={"MIRRORD_CI_API_KEY": "secret"}))
        self.assertIn("nothing is running", self.ci("stop"))

    def test_foreground(self):
        self.ci("start", "--foreground", "-t", self.pod.target, "--", "sh", "-c", "exit 9", status=9)
        config = os.path.join(self.folder, "ci.json")
        with open(config, "w", encoding="utf-8") as file:
            file.write('{"ci": {"output_dir": "%s"}}' % os.path.join(self.work, "logs"))
        self.ci("start", "--foreground", "-f", config, "-t", self.pod.target, "--", "sh", "-c", "cat /etc/hostname; kill -9 $$",
                status=137)
        (run,) = os.listdir(os.path.join(self.work, "logs"))
        folder = os.path.join(self.work, "logs", run)
        self.assertEqual("shop-7d4b9c6f5-x2k8p\n", self.output(folder))
        self.assertEqual("137\n", self.output(folder, "exit_status"))

    def test_a_supervisor_that_was_killed(self):
        pid, _, _ = self.start("sleep", "1000")
        (supervisor,) = [int(line) for line in subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True,
                                                              check=True).stdout.split()]
        os.kill(supervisor, signal.SIGKILL)
        self.assertIn("stopped, exit status unknown", self.ci("stop"))
        self.assertFalse(self.is_running(pid))

    def test_a_number_that_was_given_to_another_process(self):
        pid, run, _ = self.start("sleep", "1000")
        record = os.path.join(self.runs, "ci", run + ".json")
        bystander = subprocess.Popen(["sleep", "1000"], env=self.env, start_new_session=True)
        self.started.append(bystander)
        text = read_file(record).decode()
        self.ci("stop")
        self.assertFalse(self.is_running(pid))
        # The same record, but the numbers are those of a process that started at another time.
        with open(record, "w", encoding="utf-8") as file:
            file.write(re.sub(r'"pid":\d+', '"pid":%d' % bystander.pid, text))
        self.assertIn("had ended, exit status unknown", self.ci("stop"))
        self.assertIsNone(bystander.poll())

    def test_a_damaged_record_is_named(self):
        pid, run, _ = self.start("sleep", "1000")
        path = os.path.join(self.runs, "ci", "broken.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"program":')
        text = self.ci("stop", status=1)
        self.assertIn(path, text)
        self.assertTrue(self.is_running(pid))
        self.ci("stop", run)
        os.remove(path)
        self.assertIn("there is no run `../x`", self.ci("stop", "../x", status=1))

    def test_starts_at_the_same_time(self):
        words = [self.mirrord, "ci", "start", "-t", self.pod.target, "--", "sleep", "1000"]
        starts = [subprocess.Popen(words, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL) for _ in range(4)]
        self.started += starts
        self.assertEqual([0] * 4, [start.wait(60) for start in starts])
        self.assertEqual(4, self.ci("stop").count("stopped, exit status 143"))

    def test_without_streams_home_and_runtime_folder(self):
        # As in a container's step: no terminal, hardly an environment.
        env = {"PATH": self.env["PATH"], "TMPDIR": self.temporary, "TEST_MARK": self.folder}
        script = 'exec "$0" ci start -t "$1" -- sleep 1000 <&- >&- 2>&-'
        done = subprocess.run(["setsid", "--wait", "sh", "-c", script, self.mirrord, self.pod.target], env=env, timeout=60,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        self.assertEqual(0, done.returncode)
        text = subprocess.run([self.mirrord, "ci", "stop"], env=env, capture_output=True, timeout=60, check=True).stdout
        self.assertIn(b"stopped, exit status 143", text)
