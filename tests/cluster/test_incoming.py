# tests/cluster/test_incoming.py — what reaches a pod reaches the local program: from other pods, by the
# service and by the pod's address.
import contextlib
import functools
import http.server
import os
import signal
import subprocess
import threading

from cluster import ClusterTest, wait_until
from support import free_port, python_with, write_file


@contextlib.contextmanager
def http_server(port, folder):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


class Incoming(ClusterTest):
    def setUp(self):
        super().setUp()
        self.pod_name = self.workload("Deployment", "web")
        self.web = self.service("web")["spec"]["clusterIP"]
        self.client = self.pod_object("client")
        self.address = self.get("Pod", self.pod_name)["status"]["podIP"]
        write_file(os.path.join(self.work, "index.html"), b"served here\n", 0o644)

    def fetch(self, address, port, fields=""):
        """The page as another pod sees it; by nc, since a static wget has no resolver."""
        done = self.cluster.run("exec", "-n", self.namespace, self.client, "--", "sh", "-c",
                                "printf 'GET / HTTP/1.0\\r\\n%s\\r\\n' | nc -w 20 %s %d" % (fields, address, port))
        return done.stdout.replace("\r\n", "\n").rpartition("\n\n")[2] or done.stderr

    def serve(self, mode, http_filter=None, **agent):
        port = free_port()
        incoming = {"mode": mode, "port_mapping": [[port, 8080]],
                    **({"http_filter": http_filter} if http_filter else {})}
        process = self.start_remote(python_with(), "-u", "-m", "http.server", str(port), target="deployment/web",
                                    config={"feature": {"fs": "local", "network": {"incoming": incoming}},
                                            "agent": agent})
        line = process.stdout.readline()
        self.assertIn(b"Serving HTTP", line, line or process.stderr.read())
        return process

    def test_stolen_until_the_program_ends(self):
        process = self.serve("steal")
        for address, port in ((self.address, 8080), (self.web, 80)):
            self.assertEqual("served here\n", self.fetch(address, port), address)
        os.kill(process.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: self.fetch(self.web, 80) == "served by %s\n" % self.pod_name, 30, 0.5))
        self.expect_no_agents(120)

    def test_requests_that_a_filter_picks(self):
        process = self.serve("steal", {"header_filter": "^x-user: me$"})
        theirs = "served by %s\n" % self.pod_name
        for address, port in ((self.address, 8080), (self.web, 80)):
            self.assertEqual(["served here\n", theirs],
                             [self.fetch(address, port, "X-User: me\\r\\n"), self.fetch(address, port)])
        os.kill(process.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: self.fetch(self.web, 80, "X-User: me\\r\\n") == theirs, 30, 0.5))

    def test_stolen_by_an_ephemeral_agent(self):
        process = self.serve("steal", ephemeral=True)
        self.assertEqual("served here\n", self.fetch(self.web, 80))
        os.kill(process.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: self.fetch(self.web, 80) == "served by %s\n" % self.pod_name, 30, 0.5))

    def test_mirrored(self):
        process = self.serve("mirror")
        self.assertEqual("served by %s\n" % self.pod_name, self.fetch(self.web, 80))
        self.assertIn(b'"GET / HTTP/1.0" 200', process.stderr.readline())

    def test_dumped_on_the_ports_that_the_pod_declares(self):
        self.pod_object("declaring", container={"ports": [{"containerPort": 8080}]})
        address = self.get("Pod", "declaring")["status"]["podIP"]
        words = [self.mirrord, "dump", "-n", self.namespace, "-t"]
        done = subprocess.run([*words, "deployment/web"], env=self.env, capture_output=True, timeout=60, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn(b"declares a port", done.stderr)
        process = subprocess.Popen([*words, "pod/declaring"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        line = process.stderr.readline()
        while line and b"dumping what comes to port 8080" not in line:
            line = process.stderr.readline()
        self.assertTrue(line)
        self.assertEqual("served by declaring\n", self.fetch(address, 8080))
        head = process.stdout.readline()
        self.assertIn(b"New TCP connection established", head)
        lines = iter(process.stdout.readline, b"")  # the time-out of the test ends it at the latest
        self.assertTrue(any(b"GET / HTTP/1.0" in line for line in lines))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        self.assertEqual(0, process.returncode, errors)

    def test_forwarded_without_a_program(self):
        port = free_port()
        with http_server(port, self.work):
            config = self.local_file("steal.json", b'{"feature": {"network": {"incoming": "steal"}}}')
            process = subprocess.Popen([self.mirrord, "port-forward", "-t", "deployment/web", "-n", self.namespace,
                                        "-f", config, "-R", "8080:%d" % port],
                                       env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.started.append(process)
            line = process.stdout.readline()
            self.assertEqual(b"port 8080 of the target -> 127.0.0.1:%d\n" % port, line,
                             line or process.stderr.read())
            self.assertEqual("served here\n", self.fetch(self.web, 80))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            self.assertEqual(0, process.returncode, errors)
        self.assertTrue(wait_until(lambda: self.fetch(self.web, 80) == "served by %s\n" % self.pod_name, 30, 0.5))
        self.expect_no_agents(120)
