# tests/local/test_config.py — the table of configuration keys: complete, and the same in the schema, in the
# documents and in what `verify-config` accepts.
import json
import os
import re
import subprocess
import unittest

from support import LocalTest, python_with, read_file

SOURCE = os.environ["MIRRORD_SOURCE_DIR"]

# Ours beside the original's: spellings of other kinds of target, and what only we have.
OURS = {"agent.bare_pod", "connect_tcp", "internal_proxy.reconnect_timeout", "target.daemon_set",
        "target.path.daemon_set"}
# The original documents this variable only beside the key.
ENVIRONMENT = {"feature.fs.read_only": "MIRRORD_FILE_READ_ONLY_PATTERN"}

RIGHT = [
    {},
    {"$schema": "mirrord-schema.json", "target": "deployment/shop"},
    {"target": {"path": {"deployment": "shop", "container": "web"}, "namespace": "shop"}},
    {"target": "pod/x", "feature": {"fs": "read", "env": {"include": "A;B"}, "network": {"incoming": "steal", "outgoing": False}}},
    {"target": "pod/x",
     "feature": {"network": {"incoming": {"mode": "steal", "port_mapping": [[8080, 80]],
                                          "http_filter": {"header_filter": "^x-user: me$", "ports": [80]}}}}},
    {"feature": {"network": {"outgoing": {"filter": {"local": ["10.0.0.0/8"]}}, "dns": {"filter": {"remote": ["db"]}}}}},
    {"target": "pod/x", "agent": {"ephemeral": True, "log_level": "debug", "labels": {"team": "x"},
                                  "tolerations": [{"operator": "Exists"}]}},
    {"kubeconfig": None, "telemetry": False},
]
WRONG = [
    {"fetures": {}},
    {"feature": {"fs": 3}},
    {"feature": {"fs": {"mode": "sometimes"}}},
    {"feature": {"network": {"incoming": {"port_mapping": [[80]]}}}},
    {"feature": {"network": {"incoming": {"ignore_ports": [70000]}}}},
    {"agent": {"labels": {"team": 1}}},
    {"agent": {"ephemeral": "yes"}},
    {"target": ["pod/x"]},
]


class Keys(LocalTest):
    def printed(self, what):
        return subprocess.run([self.mirrord, "config", what], capture_output=True, text=True, timeout=20,
                              check=True).stdout

    def test_the_schema_in_the_repository_is_this_one(self):
        self.assertEqual(read_file(os.path.join(SOURCE, "schema", "mirrord-schema.json")).decode(),
                         self.printed("schema"), "mirrord config schema > schema/mirrord-schema.json")

    def test_the_document_in_the_repository_is_this_one(self):
        self.assertEqual(read_file(os.path.join(SOURCE, "docs", "configuration.md")).decode(),
                         self.printed("reference"), "mirrord config reference > docs/configuration.md")

    def show(self, *words, **env):
        done = subprocess.run([self.mirrord, "config", "show", *words], env={**self.env, **env}, capture_output=True, text=True,
                              timeout=20, cwd=self.work, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def test_shown_values_come_with_their_sources(self):
        self.local_file("mirrord.json", json.dumps({
            "target": "deployment/web", "agent": {"ttl": 5},
            "feature": {"fs": {"mode": "write"}, "env": {"override": {"DB_PASSWORD": "secret"}},
                        "network": {"incoming": "steal"}}}, indent=2).encode())
        self.assertEqual(
            ["agent.ttl = 7 # MIRRORD_AGENT_TTL", 'feature.env.override = {"DB_PASSWORD":"***"} # mirrord.json:11:19',
             'feature.fs.mode = "read" # --fs-mode', 'feature.network.incoming = "steal" # mirrord.json:16:19',
             'target = "deployment/web" # mirrord.json:2:13'],
            [re.sub(r"\s+#", " #", line) for line in
             self.show("-f", "mirrord.json", "--fs-mode", "read", MIRRORD_AGENT_TTL="7").splitlines()])
        values = {row["key"]: row for row in json.loads(self.show("--all", "--json", "-f", "mirrord.json"))}
        self.assertEqual((5, "mirrord.json:4:12"), (values["agent.ttl"]["value"], values["agent.ttl"]["source"]))
        self.assertEqual((True, "default"), (values["feature.network.outgoing.udp"]["value"],
                                             values["feature.network.outgoing.udp"]["source"]))
        self.assertEqual([], json.loads(self.show("--json")))

    def test_no_key_of_the_original_is_missing(self):
        rows = {}
        for line in self.printed("reference").splitlines():
            cells = [cell.strip().strip("`").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if len(cells) == 6 and line.startswith("| `"):
                rows[cells[0]] = cells
        with open(os.path.join(SOURCE, "tests", "vectors", "config-keys.json"), encoding="utf-8") as file:
            original = {key["path"]: key for key in json.load(file)}
        self.assertEqual(set(original) | OURS, set(rows))
        for path, key in original.items():
            _, kind, _, variable, _, meaning = rows[path]
            with self.subTest(path):
                self.assertEqual(key["type"], kind.split(": ")[0])
                self.assertEqual(key["env"] or ENVIRONMENT.get(path, ""), variable)
                self.assertEqual(key["deprecated"], "deprecated" in meaning)
                if "needs the operator" in meaning:  # ours needs it for less
                    self.assertTrue(key["operator"])

    def test_the_schema_is_one_and_agrees_with_verify_config(self):
        check = ("import json, sys, jsonschema\n"
                 "schema, samples = json.load(sys.stdin)\n"
                 "jsonschema.Draft7Validator.check_schema(schema)\n"
                 "print(json.dumps([jsonschema.Draft7Validator(schema).is_valid(sample) for sample in samples]))")
        samples = RIGHT + WRONG
        done = subprocess.run([python_with("jsonschema"), "-c", check], capture_output=True, text=True, timeout=60,
                              input=json.dumps([json.loads(self.printed("schema")), samples]), check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        expected = [True] * len(RIGHT) + [False] * len(WRONG)
        self.assertEqual(expected, json.loads(done.stdout))
        for sample, is_right in zip(samples, expected):
            with self.subTest(sample):
                path = self.local_file("mirrord.json", json.dumps(sample).encode())
                verdict = subprocess.run([self.mirrord, "verify-config", path], env=self.env, capture_output=True,
                                         text=True, timeout=20, check=True).stdout
                self.assertEqual("Success" if is_right else "Fail", json.loads(verdict)["type"], verdict)


if __name__ == "__main__":
    unittest.main()
