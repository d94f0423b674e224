# tests/cluster/test_faults.py — what can be wrong with the cluster, the kubeconfig, the target and the agent:
# named at once, with what to do, and nothing left behind.
import os
import socket
import threading
import time

from cluster import FETCH, ClusterTest, encoded, wait_until


class Kubeconfig(ClusterTest):
    def test_exec_plugin_that_fails(self):
        script = os.path.join(self.folder, "plugin")
        with open(script, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho 'the token server is asleep' >&2\nexit 3\n")
        os.chmod(script, 0o755)
        self.write_kubeconfig(self.kubeconfig, user={"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": script, "interactiveMode": "Never"}})
        error = self.fails(target="pod/any")
        self.assertIn(script, error)
        self.assertIn("the token server is asleep", error)

    def test_exec_plugin_that_is_not_there(self):
        self.write_kubeconfig(self.kubeconfig, user={"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin",
            "installHint": "Install it from the shop.", "interactiveMode": "Never"}})
        error = self.fails(target="pod/any")
        self.assertIn("no-such-plugin", error)
        self.assertIn("Install it from the shop.", error)

    def test_exec_plugin_that_works_runs_once(self):
        self.pod_object("single")
        self.create("ServiceAccount", "user")
        self.create("RoleBinding", "edit", roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                                                    "name": "admin"},
                    subjects=[{"kind": "ServiceAccount", "name": "user", "namespace": self.namespace}])
        token = self.cluster.request("POST", self.path("ServiceAccount", "user", sub="token"), {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
        script, runs = os.path.join(self.folder, "plugin"), os.path.join(self.folder, "runs")
        with open(script, "w", encoding="utf-8") as file:
            file.write("""#!/bin/sh
echo run >> %s
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}'
""" % (runs, token["status"]["token"]))
        os.chmod(script, 0o755)
        self.write_kubeconfig(self.kubeconfig, user={"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": script, "interactiveMode": "Never"}})
        self.assertEqual("data of single\n", self.output("cat", "/data/hello", target="pod/single"))
        with open(runs, encoding="utf-8") as file:
            self.assertEqual("run\n", file.read())

    def test_context_that_does_not_exist(self):
        error = self.fails(target="pod/any", flags=("--context", "stagging"))
        self.assertIn("stagging", error)

    def test_kubeconfig_that_does_not_exist(self):
        path = os.path.join(self.folder, "nowhere")
        error = self.fails(target="pod/any", env={"MIRRORD_KUBECONFIG": path})
        self.assertIn(path, error)

    def test_token_that_has_expired(self):
        self.write_kubeconfig(self.kubeconfig, user={"token": "not-a-token"})
        error = self.fails(target="pod/any")
        self.assertRegex(error, "401|Unauthorized")

    def test_api_server_that_is_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.write_kubeconfig(self.kubeconfig, cluster={"server": "https://127.0.0.1:%d" % port})
        error = self.fails(target="pod/any")
        self.assertIn("127.0.0.1:%d" % port, error)
        self.assertIn("refused", error.lower())

    def test_certificate_of_somebody_else(self):
        other = self.cluster.run("config", "view", "--raw", "-o", "json")
        self.assertEqual(0, other.returncode)
        self.write_kubeconfig(self.kubeconfig, cluster={"certificate-authority-data": encoded(OTHER_AUTHORITY)})
        error = self.fails(target="pod/any")
        self.assertIn("certificate", error)
        self.assertIn("accept_invalid_certificates", error)


class Targets(ClusterTest):
    def test_name_that_is_nearly_right(self):
        self.workload("Deployment", "checkout")
        error = self.fails(target="deployment/chekout")
        self.assertIn("chekout", error)
        self.assertIn("checkout", error.replace("chekout", ""))

    def test_kind_that_the_cluster_does_not_have(self):
        error = self.fails(target="rollout/canary")
        self.assertIn("rollout", error)

    def test_target_without_running_pods(self):
        self.create("Deployment", "empty", spec={"replicas": 0, "selector": {"matchLabels": {"name": "empty"}},
                                                 "template": self.template("empty")})
        error = self.fails(target="deployment/empty")
        self.assertIn("empty", error)
        self.assertRegex(error, "no pod|no running pod|replicas")

    def test_target_whose_pod_is_not_ready(self):
        self.create("Pod", "stuck", labels={"name": "stuck"}, spec=self.pod_spec(container={
            "image": "no-such-image:1", "imagePullPolicy": "Never"}))
        self.assertTrue(wait_until(lambda: self.get("Pod", "stuck")["status"].get("containerStatuses"), 30))
        error = self.fails(target="pod/stuck")
        self.assertIn("stuck", error)

    def test_container_that_does_not_exist(self):
        self.pod_object("single")
        error = self.fails(target="pod/single/container/sidecar")
        self.assertIn("sidecar", error)
        self.assertIn("app", error)

    def test_namespace_that_does_not_exist(self):
        error = self.fails(target="deployment/web", flags=("-n", "no-such-namespace"))
        self.assertIn("no-such-namespace", error)


class Agent(ClusterTest):
    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")

    def fails_soon(self, seconds=30, **options):
        """By what the cluster says, not by a time-out."""
        begin = time.monotonic()
        error = self.fails(target="deployment/web", **options)
        self.assertLess(time.monotonic() - begin, seconds)
        self.expect_no_agents(15)
        return error

    def test_image_that_cannot_be_pulled(self):
        error = self.fails_soon(env={"MIRRORD_AGENT_IMAGE": "registry.invalid/no-such/image:1"})
        self.assertIn("registry.invalid/no-such/image:1", error)
        self.assertRegex(error, "ErrImagePull|ImagePullBackOff|pull")

    def test_image_that_is_not_an_agent(self):
        error = self.fails_soon(env={"MIRRORD_AGENT_IMAGE": self.cluster.image})
        self.assertRegex(error, "mirrord-agent|exec|start")

    def test_pod_that_cannot_be_scheduled(self):
        error = self.fails_soon(config={"agent": {"resources": {"requests": {"cpu": "4000"}}}})
        self.assertRegex(error, "Insufficient cpu|OutOfcpu|nsufficient")

    def test_quota_that_is_used_up(self):
        self.create("ResourceQuota", "full", spec={"hard": {"pods": "1"}})
        wait_until(lambda: self.get("ResourceQuota", "full").get("status", {}).get("used"), 20)
        error = self.fails_soon()
        self.assertIn("quota", error)

    def test_namespace_that_is_restricted(self):
        self.cluster.request("PATCH", "/api/v1/namespaces/" + self.namespace, {
            "metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
            "application/merge-patch+json")
        error = self.fails_soon()
        self.assertRegex(error, "PodSecurity|restricted")
        self.assertIn("agent.namespace", error)
        # The remedy works.
        elsewhere = self.new_namespace()
        self.assertEqual("data of %s\n" % self.pod_name, self.output(
            "cat", "/data/hello", target="deployment/web", flags=("-a", elsewhere)))

    def test_capabilities_that_are_disabled(self):
        error = self.fails_soon(config={"agent": {"disabled_capabilities": ["SYS_ADMIN", "SYS_PTRACE"]}})
        self.assertRegex(error, "SYS_ADMIN|SYS_PTRACE|disabled_capabilities")

    def test_agent_pod_that_is_deleted_in_a_session(self):
        self.service("web")
        process = self.start_remote("sh", "-c", "cat /data/hello; read line; cat /data/hello; " + FETCH + "http://web/",
                                    target="deployment/web")
        self.assertEqual("data of %s\n" % self.pod_name, process.stdout.readline().decode())
        agent, = self.list("Job", query="labelSelector=app%3Dmirrord")
        self.cluster.request("DELETE", self.path("Job", agent["metadata"]["name"]) + "?propagationPolicy=Background")
        self.assertTrue(wait_until(lambda: len(self.list("Pod", query="labelSelector=app%3Dmirrord")) != 1
                                   or self.list("Pod", query="labelSelector=app%3Dmirrord")[0]["metadata"]["name"]
                                   .rpartition("-")[0] != agent["metadata"]["name"], 60, 0.1))
        out, err = process.communicate(b"\n", timeout=90)
        self.assertEqual("data of %s\nserved by %s\n" % (self.pod_name, self.pod_name), out.decode(), err)

    def test_target_that_is_redeployed_in_a_session(self):
        process = self.start_remote("sh", "-c", "cat /data/hello; while read line; do cat /data/hello; done",
                                    target="deployment/web", env={"MIRRORD_PROGRESS_MODE": "std"})
        self.assertEqual("data of %s\n" % self.pod_name, process.stdout.readline().decode())
        self.cluster.request("PATCH", self.path("Deployment", "web"), {"spec": {"template": {"metadata": {
            "labels": {"round": "2"}}}}}, "application/merge-patch+json")
        # The old pod goes when the new one is ready.
        self.assertTrue(wait_until(lambda: self.get("Pod", self.pod_name) is None, 60, 0.1))
        new = self.ready_pod("web")
        process.stdin.write(b"\n")
        process.stdin.flush()
        self.assertEqual("data of %s\n" % new, process.stdout.readline().decode())
        _, err = process.communicate(timeout=30)
        self.assertIn(self.pod_name, err.decode())
        self.assertIn(new, err.decode())


class CutLine(ClusterTest):
    """A TCP proxy before the API server that can be cut, as if the server were restarted."""

    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")
        server = self.cluster.view()["clusters"][0]["cluster"]["server"]
        host, _, port = server.partition("://")[2].rstrip("/").partition(":")
        self.line = CuttableProxy((host, int(port or 443)))
        self.addCleanup(self.line.close)
        self.write_kubeconfig(self.kubeconfig, cluster={
            "server": "https://127.0.0.1:%d" % self.line.port, "tls-server-name": host})

    def start_session(self, script):
        process = self.start_remote("sh", "-c", "cat /data/hello; " + script, target="deployment/web")
        self.assertEqual("data of %s\n" % self.pod_name, process.stdout.readline().decode())
        return process

    def test_api_server_that_is_restarted_in_a_session(self):
        process = self.start_session("read line; cat /data/hello")
        self.line.cut()
        time.sleep(1)
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(1)
        self.line.mend()
        out, err = process.communicate(timeout=60)
        self.assertEqual("data of %s\n" % self.pod_name, out.decode(), err)

    def test_open_file_goes_on_after_the_break(self):
        script = "seq 100000 > /data/many; exec 3< /data/many; head -c 10 <&3; read line; tail -c 7 <&3"
        done = self.cluster.run("exec", "-n", self.namespace, self.pod_name, "--", "sh", "-c", "seq 400000 > /data/many")
        self.assertEqual(0, done.returncode, done.stderr)
        script = "exec 3< /data/many; read line; tail -c 7 <&3"
        process = self.start_session(script)
        self.line.cut()
        time.sleep(0.5)
        self.line.mend()
        out, err = process.communicate(b"\n", timeout=60)
        self.assertEqual("400000\n", out.decode(), err)

    def test_api_server_that_stays_away_ends_the_wait(self):
        process = self.start_session("read line; cat /data/hello; echo status $?")
        self.line.cut()
        out, err = process.communicate(b"\n", timeout=100)
        self.assertEqual("status 1\n", out.decode())
        self.assertIn("agent", err.decode())


class CuttableProxy:
    def __init__(self, server):
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_cut = False
        self.pairs = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            remote = socket.create_connection(self.server)
            self.pairs += [client, remote]
            for source, sink in ((client, remote), (remote, client)):
                threading.Thread(target=self.relay, args=(source, sink), daemon=True).start()

    @staticmethod
    def relay(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        self.is_cut = True
        for end in self.pairs:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        self.pairs = []

    def mend(self):
        self.is_cut = False

    def close(self):
        self.cut()
        self.listener.close()


# A self-signed authority that has signed nothing.
OTHER_AUTHORITY = """-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIUbYHdEGS3J7UBT93evk4ftOHTuOAwCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRYW5vdGhlciBhdXRob3JpdHkwIBcNMjYxMTI2MDE1MDAwWhgP
MjEyNjExMDIwMTUwMDBaMBwxGjAYBgNVBAMMEWFub3RoZXIgYXV0aG9yaXR5MFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEV1Q8OgiIU9RR3C3U2B4ynAgRVz56xQtY
gd1seU0BhXF+5vQQfurgg1xfy+TW0VMlp9fXviP3Co6rP5kAEyppp6NTMFEwHQYD
VR0OBBYEFMYbNho+nxa7Z298vsepprTAbrapMB8GA1UdIwQYMBaAFMYbNho+nxa7
Z298vsepprTAbrapMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
APsq6ZVFs9ScsFLTTLBVvoy3WkpgVKPzZyNlXYlz4duQAiBZO0JDMR5Nu6eDHi6T
wxRNkZDykKQRq4USnlQ6kePvtw==
-----END CERTIFICATE-----
"""
