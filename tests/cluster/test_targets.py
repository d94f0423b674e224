# tests/cluster/test_targets.py — every kind of target: files, variables, names and connections.
import json

from cluster import FETCH, LABEL, ClusterTest, wait_until
from support import python_with

# Prints what a program sees of the target, as one JSON object.
PROBE = """
import json, os, socket, sys, time, urllib.request
name = sys.argv[1]
def page():
    end = time.monotonic() + 20
    while True:
        try:
            return urllib.request.urlopen("http://" + name + "/", timeout=20).read().decode()
        except OSError:  # a service answers a moment after it was made
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
print(json.dumps({
    "file": open("/data/hello").read(),
    "greeting": os.environ.get("GREETING"),
    "address": socket.gethostbyname(name),
    "page": page(),
    "host": socket.gethostname(),
}))
"""

ROLLOUTS = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io", "labels": LABEL},
    "spec": {"group": "argoproj.io", "scope": "Namespaced",
             "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
             "versions": [{"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]},
}


class Targets(ClusterTest):
    def expect_target(self, target, pod, service="web"):
        """The program sees the pod's file, variable and host name, and reaches the service by its short name."""
        self.service(service, pod_label(self, pod))
        out = self.output(python_with(), "-c", PROBE, service, target=target)
        seen = json.loads(out)
        self.assertEqual("data of %s\n" % pod, seen["file"])
        self.assertEqual("hello from " + self.namespace, seen["greeting"])
        self.assertEqual(self.get("Service", service)["spec"]["clusterIP"], seen["address"])
        self.assertEqual("served by %s\n" % pod, seen["page"])
        self.assertEqual(pod, seen["host"])

    def test_pod(self):
        self.expect_target("pod/single", self.pod_object("single"))

    def test_deployment(self):
        self.expect_target("deployment/web", self.workload("Deployment", "web"))

    def test_deployment_by_its_short_word_with_a_container(self):
        self.expect_target("deploy/web/container/app", self.workload("Deployment", "web"))

    def test_stateful_set(self):
        self.expect_target("statefulset/store", self.workload("StatefulSet", "store"))

    def test_daemon_set(self):
        self.expect_target("daemonset/node", self.workload("DaemonSet", "node"))

    def test_replica_set(self):
        self.expect_target("replicaset/copies", self.workload("ReplicaSet", "copies"))

    def test_service(self):
        pod = self.workload("Deployment", "web")
        self.service("front", "web")
        self.expect_target("service/front", pod)

    def test_labels(self):
        self.expect_target("label/name=web", self.workload("Deployment", "web"))

    def test_job(self):
        self.create("Job", "batch", spec={"backoffLimit": 0, "template": self.template(
            "batch", restartPolicy="Never")})
        self.expect_target("job/batch", self.ready_pod("batch"))

    def test_cron_job(self):
        self.create("CronJob", "nightly", spec={
            "schedule": "0 0 1 1 *", "jobTemplate": {"metadata": {"labels": LABEL}, "spec": {
                "backoffLimit": 0, "template": self.template("nightly", restartPolicy="Never")}}})
        # What the controller does when it is time, and `kubectl create job --from`.
        cron_job = self.get("CronJob", "nightly")
        self.create("Job", "nightly-1", metadata={"ownerReferences": [{
            "apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "controller": True,
            "uid": cron_job["metadata"]["uid"]}], "labels": LABEL}, spec=cron_job["spec"]["jobTemplate"]["spec"])
        self.expect_target("cronjob/nightly", self.ready_pod("nightly"))

    def test_rollout(self):
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        if self.cluster.get(path + "/rollouts.argoproj.io") is None:
            self.cluster.request("POST", path, ROLLOUTS)
        self.assertTrue(wait_until(lambda: self.cluster.get(self.path("Rollout")), 30, 0.2))
        pod = self.workload("ReplicaSet", "canary")
        self.create("Rollout", "canary", spec={"selector": {"matchLabels": {"name": "canary"}},
                                               "template": self.template("canary")})
        self.expect_target("rollout/canary", pod)

    def test_targetless(self):
        self.workload("Deployment", "web")
        self.service("web")
        page = self.output("sh", "-c", FETCH + "http://web/", target="targetless")
        self.assertIn("served by web-", page)

    def test_target_of_another_namespace(self):
        pod = self.workload("Deployment", "web")
        elsewhere = self.new_namespace()
        self.write_kubeconfig(self.kubeconfig, namespace=elsewhere)
        out = self.output("cat", "/data/hello", target="deployment/web", flags=("-n", self.namespace))
        self.assertEqual("data of %s\n" % pod, out)

    def test_agent_in_a_namespace_of_its_own(self):
        pod = self.workload("Deployment", "web")
        elsewhere = self.new_namespace()
        process = self.start_remote("sh", "-c", "cat /data/hello; read line", target="deployment/web",
                                    flags=("-a", elsewhere))
        self.assertEqual("data of %s\n" % pod, process.stdout.readline().decode())
        self.assertEqual(1, len(self.list("Pod", elsewhere, "labelSelector=app%3Dmirrord")))
        process.communicate(b"\n", timeout=20)

    def test_container_is_chosen_by_the_annotation_or_the_user(self):
        second = {"name": "second", "image": self.cluster.image,
                  "command": ["/bin/sh", "-c", "mkdir -p /data; echo second > /data/hello; exec sleep 1000"]}
        spec = self.pod_spec()
        spec["containers"].append(second)
        self.create("Pod", "pair", labels={"name": "pair"}, spec=spec, metadata={
            "annotations": {"kubectl.kubernetes.io/default-container": "second"},
            "labels": {**LABEL, "name": "pair"}})
        pod = self.ready_pod("pair")
        self.assertEqual("second\n", self.output("cat", "/data/hello", target="pod/pair"))
        self.assertEqual("data of %s\n" % pod, self.output("cat", "/data/hello", target="pod/pair/container/app"))


def pod_label(test, pod):
    return test.get("Pod", pod)["metadata"]["labels"]["name"]
