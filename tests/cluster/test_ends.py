# tests/cluster/test_ends.py — however a session ends, nothing of it stays in the cluster.
import os
import re
import shutil
import signal

from cluster import ClusterTest, wait_until


class Ends(ClusterTest):
    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")

    def start_session(self, *words, **options):
        process = self.start_remote("sh", "-c", "cat /data/hello; " + (" ".join(words) or "read line"),
                                    target="deployment/web", **options)
        self.assertEqual("data of %s\n" % self.pod_name, process.stdout.readline().decode())
        return process

    def intproxies(self):
        return [pid for pid in self.processes() if is_intproxy(pid)]

    def test_orderly_end_takes_the_agent_away_at_once(self):
        process = self.start_session()
        process.communicate(b"\n", timeout=20)
        self.expect_no_agents(15)

    def test_killed_program(self):
        process = self.start_session()
        process.kill()
        process.wait(10)
        self.expect_no_agents(15)

    def test_killed_intproxy(self):
        process = self.start_session()
        for pid in self.intproxies():
            os.kill(pid, signal.SIGKILL)
        process.kill()
        # The agent waits a while for its client to come back.
        self.expect_no_agents(120)
        shutil.rmtree(os.path.join(self.runtime, "mirrord"))  # what the next session would remove

    def test_program_and_intproxy_killed_together(self):
        process = self.start_session()
        pids = [process.pid, *self.intproxies()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.expect_no_agents(120)
        shutil.rmtree(os.path.join(self.runtime, "mirrord"))

    def test_interrupted_start(self):
        process = self.start_remote("true", target="deployment/web", env={"MIRRORD_AGENT_IMAGE": "no-such/image:1"})
        self.assertTrue(wait_until(self.agents, 20, 0.02))
        process.send_signal(signal.SIGINT)
        self.assertEqual(-signal.SIGINT, process.wait(10))
        self.expect_no_agents(15)

    def test_job_has_an_end_of_its_own_until_the_agent_serves(self):
        start = self.start_remote("true", target="deployment/web", env={"MIRRORD_AGENT_IMAGE": "no-such/image:1"})
        self.assertTrue(wait_until(self.agents, 20, 0.02))
        self.assertTrue(self.deadlines()[0])
        start.wait(60)
        self.expect_no_agents(15)
        process = self.start_session()
        self.assertTrue(wait_until(lambda: self.deadlines() == [None], 20, 0.1))
        process.communicate(b"\n", timeout=20)

    def deadlines(self):
        return [job["spec"].get("activeDeadlineSeconds")
                for job in self.list("Job", query="labelSelector=app%3Dmirrord")]

    def test_failed_program(self):
        out, _ = self.run_remote("sh", "-c", "exit 7", target="deployment/web", status=7)
        self.assertEqual(b"", out)
        self.expect_no_agents(15)

    def test_children_that_outlive_the_program_keep_the_session(self):
        process = self.start_remote("sh", "-c", "(sleep 3; cat /data/hello) & exit 0", target="deployment/web")
        out, _ = process.communicate(timeout=60)
        self.assertEqual("data of %s\n" % self.pod_name, out.decode())

    def test_terminated_intproxy_deletes_the_agent(self):
        process = self.start_session()
        for pid in self.intproxies():
            os.kill(pid, signal.SIGTERM)
        self.expect_no_agents(15)
        process.communicate(b"\n", timeout=20)


def is_intproxy(pid):
    try:
        with open("/proc/%d/comm" % pid, encoding="utf-8") as file:
            return re.match("mirrord-intprox", file.read()) is not None
    except OSError:
        return False
