# tests/cluster/test_image.py — the image that scripts/image packs, run by the manifests of the original.
import os
import subprocess
import tarfile

from cluster import ClusterTest, wait_until
from support import SOURCE


class Image(ClusterTest):
    def tearDown(self):
        # Nobody else deletes it; an agent that no client came to waits for one.
        if self.get("Job", "agent") is not None:
            self.cluster.request("DELETE", self.path("Job", "agent") + "?propagationPolicy=Background")
        super().tearDown()

    def forward(self, pod, port):
        """kubectl's port-forward; returns the local port."""
        process = subprocess.Popen(
            [self.cluster.kubectl, "-n", self.namespace, "port-forward", "pod/" + pod, ":%d" % port],
            env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        line = process.stdout.readline().decode()
        self.assertIn("Forwarding from", line)
        return int(line.split("->")[0].rpartition(":")[2])

    def agent_job(self, arguments, **pod):
        """The original's job, as its command line makes it."""
        container = {
            "name": "mirrord-agent", "image": self.cluster.agent_image, "imagePullPolicy": "IfNotPresent",
            "command": ["./mirrord-agent"], "args": ["-l", "31337", "-t", "30", *arguments],
            "env": [{"name": "RUST_LOG", "value": "info"}],
            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1", "memory": "100Mi"}},
            "securityContext": pod.pop("securityContext", {})}
        container.update(pod.pop("container", {}))
        self.create("Job", "agent", labels={"app": "mirrord"}, spec={
            "ttlSecondsAfterFinished": 1, "backoffLimit": 0,
            "template": {"metadata": {"labels": {"app": "mirrord", "name": "agent"}},
                         "spec": {"restartPolicy": "Never", "containers": [container], **pod}}})
        name = self.ready_pod("agent")
        ready = wait_until(lambda: "agent ready - version " in self.log(name), 20)
        self.assertTrue(ready, self.log(name))
        return name

    def log(self, pod):
        return str(self.cluster.request("GET", self.path("Pod", pod, sub="log")))

    def container_of(self, pod):
        status = self.get("Pod", pod)["status"]["containerStatuses"][0]["containerID"]
        return status.partition("://")[::2]

    def test_job_of_the_original_serves_a_container_by_its_id(self):
        pod = self.workload("Deployment", "web")
        self.service("web")
        runtime, container = self.container_of(pod)
        agent = self.agent_job(
            ["targeted", "--container-id", container, "--container-runtime", runtime], hostPID=True,
            volumes=[{"name": "hostrun", "hostPath": {"path": "/run"}}, {"name": "hostvar", "hostPath": {"path": "/var"}}],
            container={"volumeMounts": [{"name": "hostrun", "mountPath": "/host/run"},
                                        {"name": "hostvar", "mountPath": "/host/var"}]},
            securityContext={"runAsGroup": 4711, "privileged": False,
                             "capabilities": {"add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]}})
        port = self.forward(agent, 31337)
        out = self.output("sh", "-c", "cat /data/hello; echo $GREETING", config={"connect_tcp": "127.0.0.1:%d" % port})
        self.assertEqual("data of %s\nhello from %s\n" % (pod, self.namespace), out)

    def test_targetless_agent_runs_with_a_root_that_may_not_be_written(self):
        agent = self.agent_job(["targetless"], securityContext={
            "readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 65534,
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}})
        port = self.forward(agent, 31337)
        hosts = self.output("cat", "/etc/hosts", config={
            "connect_tcp": "127.0.0.1:%d" % port, "feature": {"fs": {"read_only": ["/etc/hosts"]}}})
        self.assertIn(agent, hosts)

    def test_entrypoint_is_the_agent(self):
        self.agent_job([], container={"command": None, "args": ["-l", "31337", "targetless"]})

    def test_image_is_small_and_always_the_same(self):
        paths = [os.path.join(self.folder, name) for name in ("one.tar", "two.tar")]
        binary = os.path.join(self.folder, "stripped")
        subprocess.run(["strip", "-o", binary, os.environ["MIRRORD"]], check=True)
        for path in paths:
            subprocess.run([os.path.join(SOURCE, "scripts", "image"), "--binary", binary, "--output", path],
                           check=True, capture_output=True)
        with open(paths[0], "rb") as one, open(paths[1], "rb") as two:
            self.assertEqual(one.read(), two.read())
        with tarfile.open(paths[0]) as tar:
            self.assertLess(sum(member.size for member in tar), 4 << 20)
