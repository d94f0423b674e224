# tests/local/test_ls.py — `mirrord ls` against an API server of a few lines: pages, kinds, output forms, errors.
import http.server
import json
import os
import subprocess
import tempfile
import threading
import unittest
import urllib.parse

MIRRORD = os.environ.get("MIRRORD", "")


def pod(name, *containers, ready=True):
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": c} for c in containers]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}}


def named(*names, **status):
    return [{"metadata": {"name": name}, "status": status} for name in names]


OBJECTS = {
    "/api/v1/namespaces/shop/pods": [
        pod("web-1", "app"), pod("db-1", "db", "backup", "istio-proxy"), pod("proxy-1", "istio-proxy"),
        pod("late-1", "app", ready=False), pod("mesh-1", "linkerd-proxy", "app")],
    "/apis/apps/v1/namespaces/shop/deployments": named("web", availableReplicas=1) + named("down"),
    "/apis/apps/v1/namespaces/shop/statefulsets": named("db"),
    "/apis/apps/v1/namespaces/shop/daemonsets": named("logs"),
    "/apis/batch/v1/namespaces/shop/jobs": named("once"),
    "/api/v1/namespaces": named("shop", "default"),
}
DEFAULT = ["pod/web-1", "pod/db-1/container/db", "pod/db-1/container/backup", "pod/mesh-1", "deployment/web"]


class ApiServer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    refused = {}  # path -> (status, reason, message)
    asked = []
    page = 2

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.asked.append((url.path, query))
        status, reason, message = self.refused.get(url.path, (404, "NotFound", "no such resource"))
        if url.path in self.refused or url.path not in OBJECTS:
            return self.answer(status, {"kind": "Status", "status": "Failure", "reason": reason,
                                        "code": status, "message": message})
        begin = int(query.get("continue", 0))
        end = begin + self.page
        metadata = {"continue": str(end)} if end < len(OBJECTS[url.path]) else {}
        return self.answer(200, {"kind": "List", "metadata": metadata, "items": OBJECTS[url.path][begin:end]})


class WithApiServer(unittest.TestCase):
    def setUp(self):
        ApiServer.refused, ApiServer.asked = {}, []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.kubeconfig = os.path.join(folder.name, "config")
        with open(self.kubeconfig, "w", encoding="utf-8") as file:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "k", "cluster": {
                           "server": "http://127.0.0.1:%d" % self.server.server_port}}],
                       "users": [{"name": "u", "user": {"token": "t"}}],
                       "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u",
                                                              "namespace": "shop"}}]}, file)


class List(WithApiServer):
    def run_ls(self, *arguments, **environment):
        full = {name: value for name, value in os.environ.items()
                if not name.startswith("MIRRORD_") and name.lower() not in ("http_proxy", "https_proxy")}
        full.update({"KUBECONFIG": self.kubeconfig}, **environment)
        return subprocess.run([MIRRORD, "ls", *arguments], env=full, capture_output=True, text=True,
                              timeout=60, check=False)

    def good(self, *arguments, **environment):
        done = self.run_ls(*arguments, **environment)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        self.assertEqual(1, done.stdout.count("\n"))
        return json.loads(done.stdout)

    def test_the_default_is_pods_then_deployments_then_rollouts(self):
        self.assertEqual(DEFAULT, self.good())
        self.assertEqual(DEFAULT, self.good("-o", "json", "--namespace=shop"))
        for path, query in ApiServer.asked:
            self.assertEqual("app!=mirrord,!operator.metalbear.co/owner", query["labelSelector"], path)
            self.assertEqual("500", query["limit"], path)
            if path.endswith("/pods"):
                self.assertEqual("status.phase=Running", query["fieldSelector"])

    def test_kinds_can_be_chosen(self):
        self.assertEqual(["statefulset/db", "deployment/web"], self.good("-t", "statefulset", "-tdeployment"))
        self.assertEqual(["job/once", "daemonset/logs"],
                         self.good(MIRRORD_LS_TARGET_TYPES='["job","daemonset"]'))
        self.assertEqual(DEFAULT, self.good(MIRRORD_LS_TARGET_TYPES="[]"))
        self.assertEqual(["job/once"], self.good("--target-type", "job", MIRRORD_LS_TARGET_TYPES='["pod"]'))

    def test_editors_get_namespaces_too(self):
        got = self.good(MIRRORD_LS_RICH_OUTPUT="true", MIRRORD_LS_TARGET_TYPES='["deployment","pod"]')
        self.assertEqual(["targets", "current_namespace", "namespaces"], list(got))
        self.assertEqual([{"path": "deployment/web", "available": True}], got["targets"][:1])
        self.assertEqual(5, len(got["targets"]))
        self.assertEqual(("shop", ["default", "shop"]), (got["current_namespace"], got["namespaces"]))

    def test_a_part_that_may_not_be_read_does_not_spoil_the_rest(self):
        ApiServer.refused = {
            "/apis/apps/v1/namespaces/shop/deployments": (403, "Forbidden", "deployments is forbidden"),
            "/api/v1/namespaces": (403, "Forbidden", "namespaces is forbidden")}
        got = self.good(MIRRORD_LS_RICH_OUTPUT="true", MIRRORD_PROGRESS_MODE="json")
        self.assertEqual(DEFAULT[:-1], [target["path"] for target in got["targets"]])
        self.assertEqual(["shop"], got["namespaces"])
        done = self.run_ls()
        self.assertEqual(DEFAULT[:-1], json.loads(done.stdout))
        self.assertIn("deployments is forbidden", done.stderr)

    def error(self, *arguments, **environment):
        done = self.run_ls(*arguments, **environment)
        self.assertEqual("", done.stdout)
        self.assertTrue(done.stderr.startswith('Error: {"message": "'), done.stderr)
        self.assertEqual(1, done.stderr.count("\n"))
        error = json.loads(done.stderr[len("Error: "):])
        self.assertEqual(("error", [], []), (error["severity"], error["labels"], error["related"]))
        return done.returncode, error

    def test_errors_are_one_line_of_json(self):
        ApiServer.refused = {"/api/v1/namespaces/shop/pods": (403, "Forbidden", "pods is forbidden: no")}
        code, error = self.error()
        self.assertEqual(1, code)
        self.assertIn("pods is forbidden: no", error["message"])
        code, error = self.error("-t", "targetless")
        self.assertEqual(2, code)
        self.assertIn("targetless", error["message"])
        self.assertEqual(2, self.error("--nonsense")[0])
        self.assertEqual(2, self.error(MIRRORD_LS_TARGET_TYPES="pod")[0])
        code, error = self.error("--context", "other")
        self.assertIn("other", error["message"])

    def test_a_server_that_sends_nonsense_is_an_error(self):
        ApiServer.refused = {"/api/v1/namespaces/shop/pods": (200, "", "")}
        self.assertIn("is no list", self.error("-t", "pod")[1]["message"])
        ApiServer.refused = {"/api/v1/namespaces/shop/pods": (418, "Teapot", "short and stout")}
        self.assertIn("short and stout", self.error("-t", "pod")[1]["message"])
