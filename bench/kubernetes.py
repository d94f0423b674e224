# bench/kubernetes.py — times and rates of sessions in a real cluster, as one table; see scripts/bench.
#
# The cluster is the one of the tests (tests/cluster/cluster.py): KUBECONFIG, or booted. --pods N sets how many
# pods are listed, --runs N how often a program is started.
import argparse
import concurrent.futures
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("MIRRORD_SOURCE_DIR", ROOT)
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))
from cluster import LABEL, ClusterTest  # noqa: E402

MIB = 1 << 20
OPTIONS = argparse.Namespace(pods=5000, runs=8)


def print_row(what, value, note=""):
    print("| %s | %s | %s |" % (what, value, note), flush=True)


def milliseconds(seconds):
    return "%.0f ms" % (seconds * 1000)


class Bench(ClusterTest):
    """A test, because those have a cluster, a namespace and clean up."""

    def timed(self, *command, **options):
        begin = time.monotonic()
        done = subprocess.run(command, env=self.env, capture_output=True, timeout=120, check=False, **options)
        self.assertEqual(0, done.returncode, done.stderr)
        return time.monotonic() - begin, done

    def test_everything(self):
        self.pod_name = self.workload("Deployment", "web")
        self.service("web")
        print("| what | measured | beside it |\n|---|---|---|")
        self.start_times()
        self.listing()
        self.rates()

    def start_times(self):
        """The settings of the reference: files local, no incoming traffic."""
        config = {"feature": {"fs": "local", "network": {"incoming": "off"}}}
        command = self.command("true", target="deployment/web", config=config, flags=("--timings",))
        times, phases = [], {}
        for _ in range(OPTIONS.runs):
            seconds, done = self.timed(*command)
            times.append(seconds)
            for name, microseconds in re.findall(r"^ *([^:\n]+): (\d+) µs$", done.stderr.decode(), re.M):
                phases.setdefault(name, []).append(int(microseconds) / 1e6)
            self.expect_no_agents(20)
        print_row("`exec -- true`, %d runs" % len(times),
                  "%s–%s" % (milliseconds(min(times)), milliseconds(max(times))),
                  "median " + milliseconds(statistics.median(times)))
        for name, values in phases.items():
            print_row("— " + name, "%.1f ms" % (statistics.median(values) * 1000), "")
        rest = [whole - pod for whole, pod in zip(times, phases.get("agent's pod", times))]
        print_row("all but the agent's pod", milliseconds(statistics.median(rest)), "at most 250 ms")
        begin = time.monotonic()
        self.cluster.run("run", "-n", self.namespace, "yardstick", "--image", self.cluster.image, "--labels",
                         "mirrord-e2e-test-resource=true", "--command", "--", "sleep", "100")
        self.cluster.run("wait", "-n", self.namespace, "--for=condition=Ready", "pod/yardstick", "--timeout=60s")
        print_row("for scale: `kubectl run` until `kubectl wait`", milliseconds(time.monotonic() - begin), "")

    def ls(self):
        begin = time.monotonic()
        process = subprocess.Popen([self.mirrord, "ls"], env=self.env, stdout=subprocess.PIPE)
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        self.assertEqual(0, process.returncode)
        return time.monotonic() - begin, json.loads(out), usage.ru_maxrss / 1024

    def listing(self):
        times = [self.ls()[0] for _ in range(OPTIONS.runs)]
        print_row("`ls`, one deployment", milliseconds(statistics.median(times)), "")
        before = len(self.ls()[1])
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(self.make_pods, range(4)))
        measured = [self.ls() for _ in range(3)]
        count = len(measured[0][1]) - before
        self.assertEqual(OPTIONS.pods, count)
        print_row("`ls`, %d pods" % count, milliseconds(statistics.median(m[0] for m in measured)), "at most 1,000 ms")
        print_row("— resident", "%.1f MiB" % max(m[2] for m in measured), "at most 60 MiB")
        self.cluster.request("DELETE", self.path("Pod") + "?labelSelector=bench%3Dlist&gracePeriodSeconds=0")

    def make_pods(self, part):
        """Objects that no scheduler looks at and that say that they run."""
        import http.client
        connection = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=60)

        def ask(method, path, body, kind):
            connection.request(method, path, json.dumps(body), {"Content-Type": kind})
            answer = connection.getresponse()
            content = answer.read()
            self.assertLess(answer.status, 300, content)
        for number in range(part, OPTIONS.pods, 4):
            name = "listed-%05d" % number
            ask("POST", self.path("Pod"), {
                "metadata": {"name": name, "labels": {**LABEL, "bench": "list"}},
                "spec": {"schedulerName": "nobody", "containers": [{"name": "app", "image": "none:1"}]}},
                "application/json")
            ask("PATCH", self.path("Pod", name, sub="status"), {
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                           "containerStatuses": [{"name": "app", "ready": True, "restartCount": 0, "image": "none:1",
                                                  "imageID": "none", "state": {"running": {}}}]}},
                "application/strategic-merge-patch+json")

    def rates(self):
        """A file, a download and an upload: through the port-forward and, beside it, by the pod's address."""
        size = 64 * MIB
        self.cluster.run("exec", "-n", self.namespace, self.pod_name, "--", "sh", "-c",
                         "head -c %d /dev/urandom > /data/big; ln -s /data/big /www/big" % size)
        holder = self.start_remote("sh", "-c", "echo ready; read line", target="deployment/web")
        self.assertEqual(b"ready\n", holder.stdout.readline())
        script = ("import sys,time,urllib.request\n"
                  "def rate(call):\n"
                  "  begin=time.monotonic(); size=call(); print(size/(time.monotonic()-begin)/2**20)\n"
                  "def read():\n"
                  "  total=0\n"
                  "  with open('/data/big','rb',buffering=0) as f:\n"
                  "    while data:=f.read(1<<20): total+=len(data)\n"
                  "  return total\n"
                  "def load():\n"
                  "  total=0\n"
                  "  with urllib.request.urlopen('http://web/big') as f:\n"
                  "    while data:=f.read(1<<20): total+=len(data)\n"
                  "  return total\n"
                  "rate(read); rate(load)\n")
        before = self.cluster_seconds()
        forwarded = [self.output("/usr/bin/python3", "-c", script, target="deployment/web").split() for _ in range(3)]
        spent = {name: seconds - before[name] for name, seconds in self.cluster_seconds().items()}
        direct = self.direct_rates(script)
        for index, what in enumerate(("file of 64 MiB", "download of 64 MiB")):
            ours = statistics.median(float(run[index]) for run in forwarded)
            beside = statistics.median(float(run[index]) for run in direct)
            print_row(what + " through the port-forward", "%.0f MiB/s" % ours,
                      "%.0f MiB/s direct, %.2f of it (at least 0.6)" % (beside, ours / beside))
        for name, seconds in spent.items():
            print_row("— processor time of the " + name, "%.2f s/GiB" % (seconds / (6 * size / (1 << 30))), "")
        print_row("the download by `kubectl port-forward`", "%.0f MiB/s" % self.kubectl_rate(),
                  "the API server and the kubelet alone: no agent, no second TLS")
        holder.communicate(b"\n", timeout=20)

    def cluster_seconds(self):
        """User and system seconds of the test cluster's own processes so far; none of another cluster."""
        seconds = {}
        for name in ("apiserver", "kubelet", "containerd"):
            try:
                with open(os.path.join(os.path.dirname(os.path.dirname(os.environ.get("KUBECONFIG", ""))), "pid", name),
                          encoding="ascii") as file:
                    pid = file.read().split()[0]
                with open("/proc/%s/stat" % pid, encoding="ascii") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            seconds[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds

    def kubectl_rate(self):
        """The median of three downloads of /big through kubectl's port-forward, MiB/s."""
        forward = subprocess.Popen(["kubectl", "port-forward", "-n", self.namespace, "pod/" + self.pod_name, ":8080"],
                                   env=self.env, stdout=subprocess.PIPE, text=True)
        try:
            port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline()).group(1)
            rates = []
            for _ in range(3):
                begin = time.monotonic()
                with urllib.request.urlopen("http://127.0.0.1:%s/big" % port, timeout=120) as response:
                    total = sum(iter(lambda: len(response.read(MIB)), 0))
                rates.append(total / (time.monotonic() - begin) / MIB)
            return statistics.median(rates)
        finally:
            forward.terminate()
            forward.communicate(timeout=20)

    def direct_rates(self, script):
        """An agent in a pod like the session's, reached without the API server."""
        pod = self.get("Pod", self.pod_name)
        runtime, _, container = pod["status"]["containerStatuses"][0]["containerID"].partition("://")
        runs = []
        for number in range(3):
            name = "direct-%d" % number
            self.create("Pod", name, labels={"name": name}, spec={
                "restartPolicy": "Never", "hostPID": True, "containers": [{
                    "name": "mirrord-agent", "image": self.cluster.agent_image, "command": ["./mirrord-agent"],
                    "args": ["-l", "31337", "-t", "60", "targeted", "--container-id", container,
                             "--container-runtime", runtime],
                    "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]}}}]})
            self.ready_pod(name)
            address = self.get("Pod", name)["status"]["podIP"]
            runs.append(self.output("/usr/bin/python3", "-c", script, target="targetless",
                                    config={"connect_tcp": address + ":31337"}).split())
        return runs


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=OPTIONS.pods)
    parser.add_argument("--runs", type=int, default=OPTIONS.runs)
    parser.parse_args(namespace=OPTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Bench)
    return 0 if unittest.TextTestRunner(stream=sys.stderr).run(suite).wasSuccessful() else 1


sys.exit(main())
