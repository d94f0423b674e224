# tests/cluster/cluster.py — a real cluster to run programs against: found, booted, given the agent's image.
#
# KUBECONFIG names one; without it, ../shared/cluster/up.sh beside the checkout boots one. A cluster that this
# machine does not run needs MIRRORD_TEST_AGENT_IMAGE, and MIRRORD_TEST_IMAGE with a busybox in it.
# MIRRORD_KEEP_FAILED=1 keeps the namespaces of failed tests.
import atexit
import base64
import fcntl
import functools
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "local"))
from support import SOURCE, LocalTest, libc, wait_until  # noqa: E402

SCRIPTS = os.path.normpath(os.path.join(SOURCE, "..", "shared", "cluster"))
LABEL = {"mirrord-e2e-test-resource": "true"}
CONTAINERD = "/run/containerd/containerd.sock"
START_SECONDS = 60
PR_SET_PDEATHSIG = 1


class ApiFailure(Exception):
    def __init__(self, status, body):
        super().__init__("%d %s" % (status, body.get("message", body) if isinstance(body, dict) else body))
        self.status, self.body = status, body


class Cluster:
    """What all tests of this process share: the kubeconfig, a way to the API server, the image."""

    def __init__(self):
        self.kubeconfig, self.path = self.find()
        self.kubectl = shutil.which("kubectl", path=self.path)
        if self.kubectl is None:
            raise unittest.SkipTest("kubectl is not installed")
        # kubectl knows every way to authenticate; the tests speak plain HTTP to it.
        self.proxy = subprocess.Popen([self.kubectl, "proxy", "--port=0"], stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
                                      env={**os.environ, "KUBECONFIG": self.kubeconfig},
                                      preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        atexit.register(self.proxy.kill)
        line = self.proxy.stdout.readline()
        self.port = int(re.search(r":(\d+)", line).group(1))
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.image = os.environ.get("MIRRORD_TEST_IMAGE", "demo:1")
        self.agent_image = os.environ.get("MIRRORD_TEST_AGENT_IMAGE") or self.load_image()

    @staticmethod
    def find():
        if os.environ.get("KUBECONFIG"):
            return os.environ["KUBECONFIG"], os.environ["PATH"]
        if not os.path.exists(os.path.join(SCRIPTS, "up.sh")):
            raise unittest.SkipTest("no cluster: KUBECONFIG is not set and ../shared/cluster is not there")
        done = subprocess.run([os.path.join(SCRIPTS, "up.sh")], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError("up.sh could not boot a cluster; it says why on standard error")
        # export KUBECONFIG=FILE PATH=FOLDER:$PATH
        words = dict(word.split("=", 1) for word in shlex.split(done.stdout)[1:])
        return words["KUBECONFIG"], words["PATH"].replace("$PATH", os.environ["PATH"])

    def load_image(self):
        """Packs the executable under test and imports it, once for all tests."""
        if not os.path.exists(CONTAINERD) or not os.path.exists(os.path.join(SCRIPTS, "load-image.sh")):
            raise unittest.SkipTest("MIRRORD_TEST_AGENT_IMAGE is not set for this cluster")
        binary = os.environ["MIRRORD"]
        with open(binary, "rb") as file:
            tag = "mirrord-test:" + hashlib.sha256(file.read()).hexdigest()[:12]
        with open("/tmp/mirrord-test-image.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = subprocess.run(["ctr", "--address", CONTAINERD, "--namespace", "k8s.io", "images", "list",
                                    "--quiet"], stdout=subprocess.PIPE, text=True, check=True).stdout
            if "docker.io/library/" + tag not in known.split():
                file = os.path.join("/tmp", tag.replace(":", "-") + ".tar")
                subprocess.run([os.path.join(SOURCE, "scripts", "image"), "--binary", binary, "--tag", tag,
                                "--output", file], check=True, stdout=subprocess.DEVNULL)
                subprocess.run([os.path.join(SCRIPTS, "load-image.sh"), file], check=True,
                               stdout=subprocess.DEVNULL)
                os.unlink(file)
        return tag

    def request(self, method, path, body=None, kind="application/json"):
        headers = {"Content-Type": kind} if body is not None else {}
        data = json.dumps(body) if isinstance(body, (dict, list)) else body
        failures = 0
        for _ in range(60):
            try:
                self.connection.request(method, path, data, headers)
                answer = self.connection.getresponse()
                content = answer.read()
                if answer.status != 429:  # "later": a new kind's storage is being made, for one
                    break
            except (http.client.HTTPException, OSError):
                self.connection.close()
                failures += 1
                if failures == 3:
                    raise
            time.sleep(0.5)
        try:
            value = json.loads(content)
        except ValueError:
            value = content.decode(errors="replace")
        if answer.status >= 300:
            raise ApiFailure(answer.status, value)
        return value

    def get(self, path, default=None):
        """The object, or the default when there is none."""
        try:
            return self.request("GET", path)
        except ApiFailure as failure:
            if failure.status != 404:
                raise
            return default

    def run(self, *words, **options):
        return subprocess.run([self.kubectl, *words], capture_output=True, text=True, check=False,
                              env={**os.environ, "KUBECONFIG": self.kubeconfig}, **options)

    def view(self):
        """The kubeconfig as one JSON object, with everything that it refers to."""
        return json.loads(self.run("config", "view", "--raw", "--flatten", "--minify", "-o", "json").stdout)


@functools.lru_cache(None)
def the_cluster():
    return Cluster()


# A service answers a moment after it was made.
FETCH = "curl -s --max-time 20 --retry 10 --retry-all-errors --retry-delay 1 "

# Where objects of a kind live: group and version, plural.
KINDS = {
    "Pod": ("api/v1", "pods"), "Service": ("api/v1", "services"), "Secret": ("api/v1", "secrets"),
    "ConfigMap": ("api/v1", "configmaps"), "ServiceAccount": ("api/v1", "serviceaccounts"),
    "ResourceQuota": ("api/v1", "resourcequotas"), "PodTemplate": ("api/v1", "podtemplates"),
    "Deployment": ("apis/apps/v1", "deployments"), "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "DaemonSet": ("apis/apps/v1", "daemonsets"), "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "Job": ("apis/batch/v1", "jobs"), "CronJob": ("apis/batch/v1", "cronjobs"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Rollout": ("apis/argoproj.io/v1alpha1", "rollouts"),
}


class ClusterTest(LocalTest):
    """A namespace of its own for each test; everything in it carries LABEL and goes at the end."""

    namespace_labels = {}

    def setUp(self):
        self.cluster = the_cluster()
        super().setUp()
        self.addCleanup(self.delete_namespaces)
        self.namespaces = []
        self.namespace = self.new_namespace(self.namespace_labels)
        self.kubeconfig = os.path.join(self.folder, "kubeconfig")
        self.write_kubeconfig(self.kubeconfig)
        self.env.update({"KUBECONFIG": self.kubeconfig, "MIRRORD_AGENT_IMAGE": self.cluster.agent_image})

    def run(self, result=None):
        self.result = result
        return super().run(result)

    def has_failed(self):
        return self.result is not None and any(test is self for test, _ in
                                               self.result.failures + self.result.errors)

    def tearDown(self):
        try:
            super().tearDown()  # ends what still runs
        finally:
            if not self.has_failed():
                self.expect_no_agents()

    def agents(self):
        """What mirrord has in the cluster for this test."""
        found = []
        for namespace in self.namespaces:
            for kind in ("Job", "Pod"):
                items = self.list(kind, namespace, "labelSelector=app%3Dmirrord")
                found += ["%s/%s/%s" % (kind, namespace, item["metadata"]["name"]) for item in items]
        return found

    def expect_no_agents(self, seconds=45):
        left = []
        wait_until(lambda: not left.clear() and not left.extend(self.agents()) and not left, seconds, 0.2)
        self.assertEqual([], left, "stayed behind in the cluster")

    def new_namespace(self, labels=None):
        name = "mirrord-test-" + os.urandom(4).hex()
        self.cluster.request("POST", "/api/v1/namespaces", {
            "metadata": {"name": name, "labels": {**LABEL, **(labels or {})}}})
        self.namespaces.append(name)
        # Pods are refused until the namespace has its service account.
        wait_until(lambda: self.cluster.get("/api/v1/namespaces/%s/serviceaccounts/default" % name), 20)
        return name

    def delete_namespaces(self):
        for name in self.namespaces:
            if self.has_failed() and os.environ.get("MIRRORD_KEEP_FAILED"):
                print("kept: namespace " + name)
                continue
            self.cluster.request("DELETE", "/api/v1/namespaces/" + name)

    def write_kubeconfig(self, path, user=None, cluster=None, namespace=None):
        """A kubeconfig whose context's namespace is the test's."""
        value = self.cluster.view()
        context = value["contexts"][0]["context"]
        context["namespace"] = namespace or self.namespace
        if user is not None:
            value["users"][0]["user"] = user
        value["clusters"][0]["cluster"].update(cluster or {})
        with open(path, "w", encoding="utf-8") as file:
            json.dump(value, file)  # JSON is YAML
        return path

    # Objects.

    def path(self, kind, name="", namespace=None, sub=""):
        group, plural = KINDS[kind]
        path = "/%s/namespaces/%s/%s" % (group, namespace or self.namespace, plural)
        return path + ("/" + name if name else "") + ("/" + sub if sub else "")

    def create(self, kind, name, namespace=None, labels=None, **content):
        group = KINDS[kind][0]
        metadata = {"name": name, "labels": {**LABEL, **(labels or {})}, **content.pop("metadata", {})}
        value = {"apiVersion": group.split("/", 1)[1], "kind": kind, "metadata": metadata, **content}
        return self.cluster.request("POST", self.path(kind, namespace=namespace), value)

    def get(self, kind, name, namespace=None):
        return self.cluster.get(self.path(kind, name, namespace))

    def list(self, kind, namespace=None, query=""):
        return self.cluster.request("GET", self.path(kind, namespace=namespace) + "?" + query)["items"]

    def delete(self, kind, name, seconds=0, namespace=None):
        self.cluster.request("DELETE", self.path(kind, name, namespace) + "?gracePeriodSeconds=%d" % seconds)

    def pod_spec(self, **changes):
        """Serves HTTP on 8080, has a file, variables and a name that nothing else has."""
        script = ("mkdir -p /data /www; echo \"data of $HOSTNAME\" > /data/hello; "
                  "echo \"served by $HOSTNAME\" > /www/index.html; exec httpd -f -p 8080 -h /www")
        container = {"name": "app", "image": self.cluster.image, "command": ["/bin/sh", "-c", script],
                     "env": [{"name": "GREETING", "value": "hello from " + self.namespace}],
                     "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
        container.update(changes.pop("container", {}))
        return {"containers": [container], "terminationGracePeriodSeconds": 0, **changes}

    def template(self, name, **changes):
        return {"metadata": {"labels": {**LABEL, "name": name}}, "spec": self.pod_spec(**changes)}

    def workload(self, kind, name, **changes):
        """Deployment, StatefulSet, DaemonSet or ReplicaSet with one running pod; returns the pod's name."""
        spec = {"selector": {"matchLabels": {"name": name}}, "template": self.template(name, **changes)}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        self.create(kind, name, spec=spec)
        return self.ready_pod(name)

    def pod_object(self, name, **changes):
        self.create("Pod", name, labels={"name": name}, spec=self.pod_spec(**changes))
        return self.ready_pod(name)

    def service(self, name, selector=None):
        return self.create("Service", name, spec={
            "selector": {"name": selector or name}, "ports": [{"port": 80, "targetPort": 8080}]})

    def ready_pod(self, name):
        """Waits for a ready pod with the label name=NAME and returns its name."""
        found = []

        def is_ready():
            for pod in self.list("Pod", query="labelSelector=name%3D" + name):
                ready = [c for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
                if ready and ready[0]["status"] == "True" and "deletionTimestamp" not in pod["metadata"]:
                    found.append(pod["metadata"]["name"])
            return found
        if not wait_until(is_ready, START_SECONDS, 0.1):
            self.fail("no pod of %s became ready: %s" % (name, json.dumps(
                [pod["status"] for pod in self.list("Pod")], indent=1)))
        return found[0]

    # Programs.

    def command(self, *program, target=None, **options):
        return super().command(*program, target=target or "targetless", **options)

    def fails(self, *program, **options):
        """Runs a program that cannot be started; returns what standard error says."""
        options.setdefault("status", 1)
        out, err = self.run_remote(*(program or ("true",)), **options)
        self.assertEqual(b"", out)
        return err.decode(errors="replace")


def encoded(text):
    return base64.b64encode(text.encode()).decode()
