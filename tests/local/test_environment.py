# tests/local/test_environment.py — the program gets the pod's environment, as the configuration wants it.
import os

from support import LocalTest, python_with


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

    def test_a_program_can_load_it_itself(self):
        config = {"feature": {"env": {"override": {"NEW": "a b", "EMPTY": ""}, "unset": ["ONLY_HERE"]}}}
        at_start = self.remote(config=config, env={"ONLY_HERE": "yes", "GREETING": "mine"})
        config["feature"]["env"]["load_from_process"] = True
        loaded = self.remote(config=config, env={"ONLY_HERE": "yes", "GREETING": "mine"})
        for one in (at_start, loaded):
            one.pop("MIRRORD_RESOLVED_CONFIG")
            one.pop("MIRRORD_SESSION")
        self.assertEqual(at_start, loaded)
        self.assertEqual("a b", loaded["NEW"])
        self.assertNotIn("ONLY_HERE", loaded)
        # Whoever takes variables away takes them away from his children.
        self.assertNotIn("NEW=", self.output("env", "-i", "/usr/bin/env", config=config))

    def test_an_environment_that_no_program_can_be_started_with(self):
        big = "x" * 200_000
        many = {"MANY_%d" % i: "y" * 1000 for i in range(3000)}
        config = {"feature": {"env": {"override": {"BIG": big, **many}}}}
        report = "import os; print(len(os.environ['BIG']), len([n for n in os.environ if n.startswith('MANY_')]))"
        output, errors = self.run_remote(python_with(), "-c", report, config=config,
                                         env={"MIRRORD_PROGRESS_MODE": "simple"})
        self.assertTrue(output.endswith(b"200000 3000\n"), output)
        self.assertIn(b"the environment is too large for the start of a program", output + errors)

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
