# tests/local/test_environment.py — the program gets the pod's environment, as the configuration wants it.
import os

from support import LocalTest


def parse(text):
    return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


class Environment(LocalTest):
    def remote(self, **options):
        return parse(self.output("env", "-0", **options))

    def test_variables_come_from_the_pod(self):
        inside = parse(self.pod.inside(lambda: "") or
                       open("/proc/%d/environ" % self.pod.pid, encoding="utf-8").read())
        got = self.remote()
        for name in ("DB_HOST", "API_TOKEN", "GREETING", "EMPTY", "OPTIONS", "DB_PASSWORD"):
            self.assertEqual(inside[name], got.get(name), name)

    def test_variables_of_this_machine_stay(self):
        got = self.remote(env={"ONLY_HERE": "yes", "DB_HOST": "local.example"})
        self.assertEqual("yes", got["ONLY_HERE"])
        self.assertEqual("postgres.demo.svc.cluster.local", got["DB_HOST"])
        for name in ("PATH", "HOME"):
            self.assertEqual(os.environ[name], got[name])

    def test_include_exclude_and_override(self):
        got = self.remote(config={"feature": {"env": {"include": "DB_*;API_TOKEN"}}})
        self.assertEqual("shop", got.get("DB_NAME"))
        self.assertNotIn("GREETING", got)
        got = self.remote(config={"feature": {"env": {"exclude": "DB_*"}}})
        self.assertNotIn("DB_NAME", got)
        self.assertIn("GREETING", got)
        got = self.remote(config={"feature": {"env": {"override": {"DB_NAME": "mine", "NEW": "1"},
                                                      "unset": ["ONLY_HERE"]}}}, env={"ONLY_HERE": "yes"})
        self.assertEqual(("mine", "1", None), (got["DB_NAME"], got["NEW"], got.get("ONLY_HERE")))

    def test_environment_can_stay_local(self):
        got = self.remote(config={"feature": {"env": False}})
        self.assertNotIn("DB_NAME", got)

    def test_child_processes_have_it_too(self):
        self.assertEqual("shop\n", self.output("sh", "-c", "sh -c 'printenv DB_NAME'"))
        # A child with an empty environment still reads the pod's files.
        self.assertEqual(self.pod.read("/app/version").decode(),
                         self.output("env", "-i", "/bin/cat", "/app/version"))

    def test_host_name_is_the_pods(self):
        name = self.pod.inside(os.uname).nodename
        self.assertEqual(name + "\n", self.output("hostname"))
        self.assertEqual(name + "\n", self.output("uname", "-n"))
        self.assertEqual(os.uname().nodename + "\n",
                         self.output("hostname", config={"feature": {"hostname": False}}))
