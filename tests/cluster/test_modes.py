# tests/cluster/test_modes.py — the agent as job, as bare pod, as ephemeral container; many at a time.
import os
import time

from cluster import FETCH, ClusterTest, wait_until


class Modes(ClusterTest):
    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")
        self.service("web")

    def expect_remote(self, **options):
        script = "cat /data/hello; echo $GREETING; " + FETCH + "http://web/"
        out = self.output("sh", "-c", script, target="deployment/web", **options)
        self.assertEqual("data of %s\nhello from %s\nserved by %s\n"
                         % (self.pod_name, self.namespace, self.pod_name), out)

    def test_job(self):
        self.expect_remote()

    def test_the_agents_log_is_the_pods(self):
        process = self.start_remote("sh", "-c", "cat /data/hello; read line", target="deployment/web",
                                    config={"agent": {"log_level": "mirrord=trace"}})
        process.stdout.readline()
        (pod,) = [name for kind, _, name in (agent.split("/") for agent in self.agents()) if kind == "Pod"]

        def log():
            return self.cluster.run("logs", "-n", self.namespace, "pod/" + pod).stdout
        self.assertTrue(wait_until(lambda: "FileRequest Open" in log(), 30, 0.5))
        self.assertRegex(log(), r"info session: client \S+ has connected")
        self.assertRegex(log(), r"trace files: client \S+: FileRequest Open")
        process.communicate(b"\n", timeout=60)

    def test_bare_pod(self):
        self.expect_remote(config={"agent": {"bare_pod": True}})
        self.expect_no_agents(15)

    def test_ephemeral_container(self):
        self.expect_remote(flags=("--ephemeral-container",))
        # It cannot be removed, but it ends.
        pod = self.get("Pod", self.pod_name)
        self.assertEqual(1, len(pod["spec"]["ephemeralContainers"]))

        def has_ended():
            status = self.get("Pod", self.pod_name)["status"]["ephemeralContainerStatuses"][0]
            return "terminated" in status["state"]
        self.assertTrue(wait_until(has_ended, 60, 0.2))

    def test_ephemeral_container_where_containers_share_their_processes(self):
        self.create("Pod", "shared", labels={"name": "shared"}, spec=self.pod_spec(shareProcessNamespace=True))
        pod = self.ready_pod("shared")
        out = self.output("cat", "/data/hello", target="pod/shared", flags=("-e",))
        self.assertEqual("data of %s\n" % pod, out)

    def test_environment_of_an_image_of_the_target_is_there_too(self):
        # The manifest does not have it: only the process does.
        script = "export LATE=set-by-the-script; mkdir -p /data; exec sleep 1000"
        self.create("Pod", "late", labels={"name": "late"}, spec=self.pod_spec(container={
            "command": ["/bin/sh", "-c", script], "readinessProbe": None}))
        self.ready_pod("late")
        self.assertEqual("set-by-the-script\n", self.output("printenv", "LATE", target="pod/late"))

    def test_several_sessions_on_one_pod(self):
        processes = [self.start_remote("sh", "-c", "cat /data/hello; read line; " + FETCH + "http://web/",
                                       target="deployment/web") for _ in range(4)]
        for process in processes:
            self.assertEqual("data of %s\n" % self.pod_name, process.stdout.readline().decode())
        for process in processes:
            out, err = process.communicate(b"\n", timeout=60)
            self.assertEqual("served by %s\n" % self.pod_name, out.decode(), err)

    def test_labels_annotations_and_resources_reach_the_pod(self):
        settings = {"agent": {"labels": {"team": "shop"}, "annotations": {"note": "here"},
                              "resources": {"requests": {"cpu": "2m", "memory": "3Mi"}}}}
        process = self.start_remote("sh", "-c", "echo ready; read line", target="deployment/web", config=settings)
        self.assertEqual(b"ready\n", process.stdout.readline())
        pod, = self.list("Pod", query="labelSelector=app%3Dmirrord")
        self.assertEqual("shop", pod["metadata"]["labels"]["team"])
        self.assertEqual("here", pod["metadata"]["annotations"]["note"])
        self.assertEqual({"cpu": "2m", "memory": "3Mi"}, pod["spec"]["containers"][0]["resources"]["requests"])
        process.communicate(b"\n", timeout=20)

    def test_port_of_the_agent_is_closed_to_others(self):
        process = self.start_remote("sh", "-c", "echo ready; read line", target="deployment/web")
        self.assertEqual(b"ready\n", process.stdout.readline())
        self.assertTrue(wait_until(lambda: "podIP" in self.list("Pod", query="labelSelector=app%3Dmirrord")[0]["status"], 20))
        agent, = self.list("Pod", query="labelSelector=app%3Dmirrord")
        port = int(agent["spec"]["containers"][0]["args"][1])
        # From another pod of the cluster: no environment for who does not know the key.
        other = self.start_remote("sleep", "2", target="targetless",
                                  config={"connect_tcp": "%s:%d" % (agent["status"]["podIP"], port)})
        self.assertNotEqual(0, other.wait(40))
        process.communicate(b"\n", timeout=20)

    def test_progress_tells_the_steps(self):
        out = self.output("true", target="deployment/web", env={"MIRRORD_PROGRESS_MODE": "simple"})
        self.assertIn("creating agent pod...", out)
        self.assertRegex(out, r"agent pod %s/mirrord-agent-\S+ created" % self.namespace)
        self.assertIn("waiting for pod to be ready...", out)
        self.assertIn("pod is ready", out)

    def test_large_files_and_transfers(self):
        size = 16 << 20
        script = "head -c %d /dev/urandom > /data/big; md5sum < /data/big > /data/sum; cat /data/sum" % size
        done = self.cluster.run("exec", "-n", self.namespace, self.pod_name, "--", "sh", "-c", script)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(done.stdout, self.output("sh", "-c", "md5sum < /data/big", target="deployment/web"))

    def test_idle_session_stays(self):
        process = self.start_remote("sh", "-c", "cat /data/hello; read line; cat /data/hello", target="deployment/web")
        process.stdout.readline()
        time.sleep(float(os.environ.get("MIRRORD_TEST_IDLE_SECONDS", "5")))
        out, _ = process.communicate(b"\n", timeout=20)
        self.assertEqual("data of %s\n" % self.pod_name, out.decode())
