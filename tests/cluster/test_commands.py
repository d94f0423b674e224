# tests/cluster/test_commands.py — `port-forward`, `diagnose latency` and `doctor` on a target in a cluster.
import json
import signal
import subprocess
import urllib.request

from cluster import ClusterTest
from support import free_port


class Commands(ClusterTest):
    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")

    def run_command(self, *words, status=0):
        done = subprocess.run([self.mirrord, *words], env=self.env, capture_output=True, timeout=90, check=False)
        self.assertEqual(status, done.returncode, done.stdout.decode() + done.stderr.decode())
        return done.stdout.decode()

    def test_port_forward(self):
        port = free_port()
        process = subprocess.Popen([self.mirrord, "port-forward", "-t", "deployment/web", "-L",
                                    "%d:localhost:8080" % port], env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.started.append(process)
        line = process.stdout.readline().decode()
        self.assertEqual("127.0.0.1:%d -> localhost:8080\n" % port, line,
                         "" if line else process.stderr.read().decode())
        for _ in range(5):
            with urllib.request.urlopen("http://127.0.0.1:%d/" % port, timeout=20) as answer:
                self.assertEqual("served by %s\n" % self.pod_name, answer.read().decode())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        self.assertEqual((0, ""), (process.returncode, errors.decode()))
        self.expect_no_agents(15)

    def test_latency(self):
        self.assertRegex(self.run_command("diagnose", "latency", "-t", "deployment/web", "--count", "20"),
                         r"^Latency statistics: min=\d+\.\d{3}ms, max=\d+\.\d{3}ms, avg=\d+\.\d{3}ms")
        self.expect_no_agents(15)

    def test_doctor(self):
        found = json.loads(self.run_command("doctor", "-t", "deployment/web", "-o", "json"))
        checks = {check["name"]: check for check in found["checks"]}
        self.assertTrue(found["ok"])
        self.assertIn(self.pod_name, checks["target"]["detail"])
        self.assertEqual("ok", checks["permission: get deployments (apps)"]["state"])
        self.assertEqual([], self.agents(), "it only looks")

    def test_doctor_names_a_missing_target(self):
        found = json.loads(self.run_command("doctor", "-t", "deployment/wep", "-o", "json", status=1))
        failed = [check for check in found["checks"] if check["state"] == "failed"]
        self.assertEqual(["target"], [check["name"] for check in failed])
        self.assertIn("web", failed[0]["detail"] + failed[0]["hint"])
