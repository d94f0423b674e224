# tests/local/test_editors.py — every call that the plugins of VS Code and the JetBrains IDEs make, in their order and
# with their environment; what they read is compared byte for byte.
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading

from support import LocalTest, read_file
from test_ls import ApiServer

COMMON = {"MIRRORD_PROGRESS_MODE": "json", "MIRRORD_PROGRESS_SUPPORT_IDE": "true"}
VSCODE = {**COMMON, "MIRRORD_IDE_NAME": "vscode", "MIRRORD_LS_RICH_OUTPUT": "true"}
JETBRAINS = {**COMMON, "MIRRORD_IDE_NAME": "intellij", "MIRRORD_EXT_PRINT_CONFIG": "TRUE"}
TYPES = {"MIRRORD_LS_TARGET_TYPES": '["deployment","rollout","pod"]'}
VERIFIED = """{
  "type": "Success",
  "config": {
    "path": %s,
    "namespace": %s
  },
  "warnings": [],
  "compatible_target_types": [
    "targetless",
    "pod",
    "deployment",
    "rollout",
    "job",
    "cronjob",
    "statefulset",
    "service",
    "replicaset"
  ]
}
"""


class Plugin:
    """What the plugins' parsers do with the output of `ext`, at their strictest."""

    def __init__(self, output):
        if not output.endswith("\n"):
            raise ValueError("the last line is not whole")
        self.open, self.warnings, self.launch = [], [], None
        for line in output[:-1].split("\n"):
            self.take(json.loads(line))
        if self.open:
            raise ValueError("tasks without an end: %s" % self.open)

    def take(self, message):
        if self.launch is not None:
            raise ValueError("more after the last message: %s" % message)
        kind = message["type"]
        if kind == "NewTask":
            if message["parent"] != (self.open[-1] if self.open else None):
                raise ValueError("a task of another parent: %s" % message)
            self.open.append(message["name"])
        elif kind == "FinishedTask":
            if not message["success"] or message["name"] != self.open.pop():
                raise ValueError("a wrong end: %s" % message)
            if message["name"] == "mirrord preparing to launch":
                self.launch = json.loads(message["message"])
        elif kind == "Warning":
            self.warnings.append(message["message"])
        elif kind not in ("Info", "IdeMessage"):
            raise ValueError("an unknown message: %s" % message)


class Editors(LocalTest):
    def setUp(self):
        super().setUp()
        ApiServer.refused, ApiServer.asked = {}, []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.kubeconfig = os.path.join(self.folder, "kubeconfig")
        with open(self.kubeconfig, "w", encoding="utf-8") as file:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:%d" % server.server_port}}],
                       "users": [{"name": "u", "user": {"token": "t"}}],
                       "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "default"}}]},
                      file)

    def call(self, *arguments, env, code=0):
        inherited = {name: value for name, value in self.env.items()
                     if name.lower() not in ("http_proxy", "https_proxy") and name != "MIRRORD_PROGRESS_MODE"}
        done = subprocess.run([self.mirrord, *arguments], env={**inherited, **env}, cwd=self.work,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        out, errors = done.stdout.decode(), done.stderr.decode()
        self.assertEqual(code, done.returncode, out + errors)
        if code == 0:
            self.assertEqual("", errors)
        return out if code == 0 else (out, errors)

    def config(self, name, settings):
        folder = os.path.join(self.work, ".mirrord")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        return path

    def check_version(self, env):
        text = self.call("--version", env=env)
        self.assertRegex(text, r"^mirrord (0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?\n$")
        self.assertEqual(text, self.call("-V", env=env))
        # Both take the second word; VS Code without the line's end.
        with open(os.path.join(os.environ["MIRRORD_SOURCE_DIR"], "applets/version.h"), encoding="utf-8") as file:
            self.assertEqual(re.search(r'kVersion\[\] = "(.*)"', file.read())[1], text.split(" ")[1].strip())

    def check_program(self, launch, extras):
        environment = {**self.env, **launch["environment"], **extras}
        for name in launch["env_to_unset"]:
            environment.pop(name, None)
        script = "print(open('/app/version').read(), end=''); import os; print(os.environ['DB_NAME'])"
        done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=self.work, capture_output=True,
                              timeout=60, check=False)
        self.assertEqual((0, self.pod.read("/app/version") + b"shop\n", b""),
                         (done.returncode, done.stdout, done.stderr))

    def test_vscode(self):
        path = self.config("mirrord.json", {"internal_proxy": {"idle_timeout": 1}, "kubeconfig": self.kubeconfig})
        self.check_version(VSCODE)
        self.assertEqual(VERIFIED % ("null", "null"), self.call("verify-config", "--ide", path, env=VSCODE))
        listed = ('{"targets":[{"path":"deployment/web","available":true},{"path":"pod/web-1","available":true},'
                  '{"path":"pod/db-1/container/db","available":true},{"path":"pod/db-1/container/backup",'
                  '"available":true},{"path":"pod/mesh-1","available":true}],"current_namespace":"shop",'
                  '"namespaces":["default","shop"]}\n')
        self.assertEqual(listed, self.call("ls", "-f", path, "-n", "shop", env={**VSCODE, **TYPES}))
        plugin = Plugin(self.call("ext", "-t", self.pod.target, "-f", path,
                                  env={**VSCODE, "MIRRORD_TARGET_NAMESPACE": "shop", "MIRRORD_BRANCH_NAME": "main"}))
        self.assertEqual([], plugin.warnings)
        self.assertEqual(["environment", "patched_path", "env_to_unset", "uses_operator"], list(plugin.launch))
        self.check_program(plugin.launch, {
            "MIRRORD_DETECT_DEBUGGER_PORT": "debugpy", "MIRRORD_IGNORE_DEBUGGER_PORTS": "45000-65535",
            "MIRRORD_SKIP_PROCESSES": "dlv;debugserver", "MIRRORD_ENV_LOAD_FROM_PROCESS": "true",
            "__MIRRORD_EXT_INJECTED": "true"})

    def test_jetbrains(self):
        path = self.config("mirrord.json", {"internal_proxy": {"idle_timeout": 1}, "kubeconfig": self.kubeconfig,
                                            "target": {"path": "deployment/web", "namespace": "shop"}})
        self.check_version(JETBRAINS)
        target = '{\n      "deployment": "web",\n      "container": null\n    }'
        self.assertEqual(VERIFIED % (target, '"shop"'), self.call("verify-config", "--ide", path, env=JETBRAINS))
        plain = '["pod/web-1","pod/db-1/container/db","pod/db-1/container/backup","pod/mesh-1","deployment/web"]\n'
        self.assertEqual(plain, self.call("ls", "-o", "json", "-f", path, env=JETBRAINS))
        rich = json.loads(self.call("ls", "-o", "json", "-f", path, "-n", "shop",
                                    env={**JETBRAINS, "MIRRORD_LS_RICH_OUTPUT": "true"}))
        self.assertEqual(json.loads(plain), [target["path"] for target in rich["targets"]])
        # Its parser wants a target that it has chosen itself, and a run environment that mirrord is not in yet.
        plugin = Plugin(self.call("ext", "-t", self.pod.target, "-f", path, "-e", sys.executable,
                                  env={**JETBRAINS, "MIRRORD_TARGET_NAMESPACE": "shop"}))
        self.assertIn("libmirrord", plugin.launch["environment"]["LD_PRELOAD"])
        self.assertIn("MIRRORD_RESOLVED_CONFIG", plugin.launch["environment"])
        self.check_program(plugin.launch, {"MIRRORD_DETECT_DEBUGGER_PORT": "pydevd",
                                           "MIRRORD_IGNORE_DEBUGGER_PORTS": "35000-65535"})

    def launch(self):
        path = self.config("mirrord.json", {"internal_proxy": {"idle_timeout": 2}})
        return Plugin(self.call("ext", "-t", self.pod.target, "-f", path, env=VSCODE)).launch["environment"]

    def test_a_debugger_is_reached_on_this_machine(self):
        launch = self.launch()
        script = ("import socket, sys\nport = sys.argv[-1].split(':')[-1]\n"
                  "try: print(socket.create_connection(('127.0.0.1', int(port)), 10).recv(9).decode())\n"
                  "except ConnectionRefusedError: print('refused')\n")
        debugger = self.local_file("debugpy", script.encode())
        with socket.create_server(("127.0.0.1", 0)) as editor:
            port = editor.getsockname()[1]

            def answer():
                while True:
                    try:
                        with editor.accept()[0] as peer:
                            peer.sendall(b"editor")
                    except OSError:
                        return
            threading.Thread(target=answer, daemon=True).start()
            for expected, extras in (
                    ("refused", {}),  # the target's loopback
                    ("editor", {"MIRRORD_IGNORE_DEBUGGER_PORTS": "1-2,%d-65535" % port}),
                    ("refused", {"MIRRORD_IGNORE_DEBUGGER_PORTS": "1-2,%d" % (port ^ 1)}),
                    ("editor", {"MIRRORD_DETECT_DEBUGGER_PORT": "debugpy"}),
                    ("refused", {"MIRRORD_DETECT_DEBUGGER_PORT": "pydevd"}),
                    ("editor", {"MIRRORD_DETECT_DEBUGGER_PORT": "nodeinspector",
                                "NODE_OPTIONS": "--inspect=127.0.0.1:%d" % port})):
                with self.subTest(extras):
                    done = subprocess.run([sys.executable, debugger, "--connect", "127.0.0.1:%d" % port],
                                          env={**self.env, **launch, **extras}, cwd=self.work, capture_output=True,
                                          text=True, timeout=60, check=False)
                    self.assertEqual((0, expected + "\n", ""), (done.returncode, done.stdout, done.stderr))
            editor.shutdown(socket.SHUT_RDWR)

    def test_an_editor_chooses_programs_to_leave_alone(self):
        launch = self.launch()
        for names, is_remote in (("dlv;cat", False), ("cat", False), ("cat;", False), ("ca;catt;;at", True), ("", True)):
            with self.subTest(names):
                done = subprocess.run(["cat", "/app/version"], capture_output=True, timeout=60, check=False,
                                      env={**self.env, **launch, "MIRRORD_SKIP_PROCESSES": names}, cwd=self.work)
                self.assertEqual(0 if is_remote else 1, done.returncode, done.stderr)

    def test_documents_of_verify_config(self):
        env = VSCODE
        for settings, path in (({}, "null"), ({"target": "targetless"}, '"targetless"'),
                               ({"target": "pod/p/container/c"}, '{\n      "pod": "p",\n      "container": "c"\n    }'),
                               ({"feature": {"network": {"incoming": "steal"}}}, "null")):
            with self.subTest(settings):
                file = self.config("some.mirrord.json", settings)
                self.assertEqual(VERIFIED % (path, "null"), self.call("verify-config", "--ide", file, env=env))
        file = self.config("bad.mirrord.json", {"feature": {"network": {"incoming": "steal"}}})
        text = self.call("verify-config", file, env=env)
        self.assertRegex(text, r'^\{\n  "type": "Fail",\n  "errors": \[\n    "Failed to verify mirrord config: [^\n]*"\n  \]\n\}\n$')
        self.assertEqual("Fail", json.loads(self.call("verify-config", "--ide", "/nonexistent.json", env=env))["type"])
        for copy, types in (({"enabled": True}, 6), ({"enabled": True, "scale_down": True}, 5),
                            ({"enabled": False}, 9), (True, 6), (False, 9)):
            with self.subTest(copy):
                file = self.config("copy.mirrord.json", {"feature": {"copy_target": copy}})
                document = json.loads(self.call("verify-config", "--ide", file, env=env))
                self.assertEqual(types, len(document["compatible_target_types"]), document)

    def test_errors_are_all_that_is_on_standard_error(self):
        path = self.config("mirrord.json", {"kubeconfig": "/nonexistent/kubeconfig"})
        for env in (VSCODE, JETBRAINS):
            for call in (("ls", "-f", path), ("ls", "-o", "json", "-f", path), ("ext", "-t", "pod/x", "-f", path)):
                with self.subTest((call, env["MIRRORD_IDE_NAME"])):
                    _, errors = self.call(*call, env=env, code=1)
                    self.assertRegex(errors, r'^Error: \{"message": ".*","severity": "error","causes": \[\],.*\}\n$')
                    self.assertEqual(1, errors.count("\n"))
                    report = json.loads(re.search("Error: (.*)", errors)[1])
                    self.assertIn("/nonexistent/kubeconfig", report["message"])

    def test_a_notice_for_the_editors_window(self):
        path = self.config("mirrord.json", {"kubeconfig": "/nonexistent/kubeconfig"})
        notice = ('{"type":"IdeMessage","message":{"id":"multipod_warning","level":"Warning","text":"deployment/web may have '
                  'several pods: the session runs in one of them, and sees the traffic of that one only.","actions":[]}}')
        calls = (("deployment/web", VSCODE, 1), ("deploy/web", JETBRAINS, 1), ("rollout/web", VSCODE, 0), ("pod/web", VSCODE, 0),
                 ("deployment/web", {**VSCODE, "MIRRORD_PROGRESS_SUPPORT_IDE": "1"}, 0),
                 ("deployment/web", {"MIRRORD_PROGRESS_MODE": "json"}, 0))
        for target, env, count in calls:
            with self.subTest((target, env)):
                out, _ = self.call("ext", "-t", target, "-f", path, env=env, code=1)
                self.assertEqual(count, out.split("\n").count(notice), out)
                self.assertEqual(target.startswith("rollout") or count == 1, "IdeMessage" in out)

    def test_no_call_leaves_a_file_in_the_workspace(self):
        path = self.config("mirrord.json", {})
        before = read_file(path)
        self.call("verify-config", "--ide", path, env=VSCODE)
        self.call("--version", env=VSCODE)
        self.assertEqual((["mirrord.json"], before), (os.listdir(os.path.dirname(path)), read_file(path)))
        self.assertEqual([".mirrord"], os.listdir(self.work))
