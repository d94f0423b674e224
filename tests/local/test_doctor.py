# tests/local/test_doctor.py — `mirrord doctor`: each check by itself, as lines and as JSON, against no
# cluster and against a scripted API server.
import http.server
import json
import os
import subprocess
import threading

from support import LocalTest


class ApiServer(http.server.ThreadingHTTPServer):
    """Answers as a Kubernetes API server does; `denied` holds the rights that it does not give."""

    def __init__(self):
        self.denied = set()
        self.labels = {}
        self.is_sick = False
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.server.is_sick:
            self.answer(401, {"kind": "Status", "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized",
                              "code": 401})
        elif self.path == "/version":
            self.answer(200, {"major": "1", "minor": "33", "gitVersion": "v1.33.1"})
        elif self.path == "/api/v1/namespaces/shop":
            self.answer(200, {"kind": "Namespace", "metadata": {"name": "shop", "labels": self.server.labels}})
        else:
            self.answer(404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404,
                              "message": "the server could not find the requested resource"})

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = review["spec"]["resourceAttributes"]
        right = asked["verb"] + " " + asked["resource"] + ("/" + asked["subresource"] if "subresource" in asked else "")
        self.answer(201, {**review, "status": {"allowed": right not in self.server.denied, "reason": "by the test"}})


class Doctor(LocalTest):
    def setUp(self):
        super().setUp()
        self.env.pop("KUBECONFIG", None)
        self.env.pop("KUBERNETES_SERVICE_HOST", None)
        self.env["HOME"] = self.folder
        self.server = ApiServer()

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        super().tearDown()

    def use_cluster(self, port=None):
        path = os.path.join(self.folder, "kubeconfig")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "test",
                       "clusters": [{"name": "c", "cluster": {
                           "server": "http://127.0.0.1:%d" % (port or self.server.server_address[1])}}],
                       "users": [{"name": "u", "user": {"token": "secret-token"}}],
                       "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}]},
                      file)
        self.env["KUBECONFIG"] = path

    def doctor(self, *words, status=0):
        done = subprocess.run([self.mirrord, "doctor", "-o", "json", *words], env=self.env, capture_output=True,
                              timeout=60, check=False)
        self.assertEqual(status, done.returncode, done.stdout.decode() + done.stderr.decode())
        self.assertNotIn(b"secret-token", done.stdout + done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(status == 0, found["ok"])
        return {check["name"]: check for check in found["checks"]}

    def states(self, checks, state):
        return sorted(name for name, check in checks.items() if check["state"] == state)

    def test_a_target_without_a_cluster(self):
        checks = self.doctor("-t", self.pod.target)
        self.assertEqual([], self.states(checks, "failed"))
        self.assertEqual(["cluster"], self.states(checks, "skipped"))
        for name in ("client", "hook", "configuration", "kernel", "memfd_create", "openat2", "agent",
                     "latency of the agent"):
            self.assertEqual("ok", checks[name]["state"], name)

    def test_lines_for_people(self):
        done = subprocess.run([self.mirrord, "doctor", "-t", self.pod.target], env=self.env, capture_output=True,
                              timeout=60, check=False)
        lines = done.stdout.decode().splitlines()
        self.assertEqual(0, done.returncode, lines)
        self.assertTrue(lines[0].startswith("✓ client: mirrord "), lines)
        self.assertEqual("Everything that is needed is there.", lines[-1])

    def test_a_target_that_is_not_there(self):
        checks = self.doctor("-t", "process/999999999", status=1)
        self.assertEqual(["agent"], self.states(checks, "failed"))
        self.assertIn("999999999", checks["agent"]["detail"])

    def test_a_wrong_configuration_file(self):
        path = os.path.join(self.folder, "wrong.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"featur": {}}')
        checks = self.doctor("-f", path, status=1)
        self.assertIn("featur", checks["configuration"]["detail"])

    def test_no_kubeconfig(self):
        checks = self.doctor("-t", "deployment/web", status=1)
        self.assertEqual(["kubeconfig"], self.states(checks, "failed"))
        self.assertTrue(checks["kubeconfig"]["hint"])

    def test_everything_is_there_in_the_cluster(self):
        self.use_cluster()
        checks = self.doctor()
        self.assertEqual([], self.states(checks, "failed"))
        self.assertIn("Kubernetes v1.33.1", checks["API server"]["detail"])
        self.assertEqual("ok", checks["permission: create jobs (batch)"]["state"])
        self.assertEqual("ok", checks["permission: get pods/portforward"]["state"])

    def test_an_unreachable_server(self):
        self.use_cluster(port=1)
        checks = self.doctor(status=1)
        self.assertEqual(["API server"], self.states(checks, "failed"))

    def test_refused_credentials(self):
        self.use_cluster()
        self.server.is_sick = True
        checks = self.doctor(status=1)
        self.assertEqual(["API server"], self.states(checks, "failed"))
        self.assertIn("Unauthorized", checks["API server"]["detail"])

    def test_missing_rights_are_named_one_by_one(self):
        self.use_cluster()
        self.server.denied = {"create jobs", "get pods/log"}
        checks = self.doctor(status=1)
        self.assertEqual(["permission: create jobs (batch)"], self.states(checks, "failed"))
        self.assertEqual(["permission: get pods/log"], self.states(checks, "warning"))
        self.assertIn("by the test", checks["permission: create jobs (batch)"]["detail"])
        self.assertIn("rbac.yaml", checks["permission: create jobs (batch)"]["hint"])

    def test_rights_follow_the_kind_of_agent(self):
        self.use_cluster()
        path = os.path.join(self.folder, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"agent": {"ephemeral": True}, "target": "statefulset/db"}, file)
        checks = self.doctor("-f", path, status=1)  # there is no such target
        self.assertEqual(["target"], self.states(checks, "failed"))
        self.assertIn("permission: patch pods/ephemeralcontainers", checks)
        self.assertIn("permission: get statefulsets (apps)", checks)
        self.assertNotIn("permission: create jobs (batch)", checks)

    def test_a_namespace_that_enforces_pod_security(self):
        self.use_cluster()
        self.server.labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        checks = self.doctor(status=1)
        self.assertEqual(["Pod Security of the agent's namespace"], self.states(checks, "failed"))
        self.assertIn("agent.ephemeral", checks["Pod Security of the agent's namespace"]["hint"])

    def test_wrong_words(self):
        done = subprocess.run([self.mirrord, "doctor", "-o", "xml"], env=self.env, capture_output=True, timeout=60,
                              check=False)
        self.assertEqual(2, done.returncode)
