# tests/cluster/test_list.py — `mirrord ls`: targets as people and editors read them.
import json
import subprocess

from cluster import ClusterTest


class List(ClusterTest):
    def setUp(self):
        super().setUp()
        self.web = self.workload("Deployment", "web")
        self.store = self.workload("StatefulSet", "store")
        self.create("Deployment", "empty", spec={"replicas": 0, "selector": {"matchLabels": {"name": "empty"}},
                                                 "template": self.template("empty")})

    def ls(self, *flags, status=0, **env):
        done = subprocess.run([self.mirrord, "ls", *flags], env={**self.env, **env}, capture_output=True,
                              timeout=30, check=False)
        self.assertEqual(status, done.returncode, done.stderr)
        return done.stdout.decode(), done.stderr.decode()

    def test_paths_as_json(self):
        out, err = self.ls("--output", "json", "-n", self.namespace)
        self.assertEqual("", err)
        paths = json.loads(out)
        self.assertIn("pod/" + self.web, paths)
        self.assertIn("deployment/web", paths)
        self.assertNotIn("deployment/empty", paths)

    def test_kinds_by_environment_and_flag(self):
        out, _ = self.ls(MIRRORD_LS_TARGET_TYPES='["deployment"]')
        self.assertEqual(["deployment/web"], json.loads(out))
        out, _ = self.ls("-t", "deployment")
        self.assertEqual(["deployment/web"], json.loads(out))

    def test_rich_output(self):
        out, _ = self.ls(MIRRORD_LS_RICH_OUTPUT="true")
        value = json.loads(out)
        self.assertIn({"path": "deployment/web", "available": True}, value["targets"])
        self.assertEqual(self.namespace, value["current_namespace"])
        self.assertIn(self.namespace, value["namespaces"])

    def test_agents_are_no_targets(self):
        process = self.start_remote("sh", "-c", "echo ready; read line", target="deployment/web")
        self.assertEqual(b"ready\n", process.stdout.readline())
        out, _ = self.ls()
        self.assertNotIn("mirrord-agent", out)
        process.communicate(b"\n", timeout=20)

    def test_error_is_one_json_line(self):
        _, err = self.ls(status=1, KUBECONFIG=self.folder + "/nowhere")
        self.assertTrue(err.startswith('Error: {"message": "'), err)
        error = json.loads(err.partition(" ")[2])
        self.assertIn("nowhere", error["message"])
