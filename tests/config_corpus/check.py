# tests/config_corpus/check.py — holds verify-config against messages.txt, and each message against what a
# user needs: the place, the key, and what to do.
import difflib
import json
import os
import re
import sys
import tempfile
import unittest

import corpus

MIRRORD = os.environ["MIRRORD"]
LONGEST = 700  # characters of one message
# Their mistake is not at a place inside them.
WITHOUT_PLACE = {"bytes/unknown.ini", "bytes/shop.json5"}
# Nothing that mirrord knows is spelt like these.
WITHOUT_NEAREST = {"comment-key.json", "empty-key.json", "key-of-wildcard.json", "nothing-near.json", "pause.json",
                   "steal-under-feature.json", "very-long-name.json"}


def table():
    with open(corpus.MESSAGES, encoding="utf-8") as file:
        parts = re.split(r"^== ", file.read(), flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0]: "== " + part for part in parts}


class Corpus(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.names = corpus.names()
        cls.documents = {name: corpus.verdict(MIRRORD, name) for name in cls.names}

    def test_there_are_enough(self):
        wrong = [name for name in self.names if not name.startswith(("right/", "warnings/"))]
        self.assertGreater(len(wrong), 200)
        for kind in ("json", "yaml", "toml"):
            self.assertGreater(sum(name.endswith("." + kind) for name in wrong), 20, kind)

    def test_messages_are_those_of_the_table(self):
        expected = table()
        self.assertEqual(self.names, sorted(expected), "tests/config_corpus/regenerate")
        for name, document in self.documents.items():
            with self.subTest(name):
                found = corpus.section(name, document)
                if found != expected[name]:
                    self.fail("\n" + "".join(difflib.unified_diff(
                        expected[name].splitlines(True), found.splitlines(True), "expected", "found")))

    def test_wrong_ones_are_refused_and_right_ones_are_not(self):
        for name, document in self.documents.items():
            with self.subTest(name):
                folder = name.split("/")[0]
                is_right = folder in ("right", "warnings")
                self.assertEqual("Success" if is_right else "Fail", document["type"])
                if is_right:
                    self.assertEqual(folder == "warnings", bool(document["warnings"]))
                else:
                    self.assertTrue(document["errors"])

    def test_errors_name_file_line_and_column(self):
        for name, document in self.documents.items():
            with open(os.path.join(corpus.FOLDER, name), "rb") as file:
                lines = file.read().split(b"\n")
            for error in corpus.errors(document):
                with self.subTest(name, error=error):
                    self.assertTrue(error.startswith(name + ":"), error)
                    if name in WITHOUT_PLACE:
                        continue
                    place = re.match(r":(\d+):(\d+): ", error[len(name):])
                    self.assertTrue(place, error)
                    line, column = int(place[1]), int(place[2])
                    self.assertLessEqual(line, len(lines))
                    self.assertLessEqual(column, len(lines[line - 1]) + 1)

    def test_errors_about_keys_name_them_and_the_nearest(self):
        for name, document in self.documents.items():
            folder, base = name.split("/")
            for error in corpus.errors(document):
                with self.subTest(name, error=error):
                    if folder in ("keys", "types", "values", "conflicts"):
                        self.assertRegex(error, r"^[^ ]+:\d+:\d+: `[^`]+`")
                    if folder == "keys":
                        self.assertIn("unknown key", error)
                        self.assertEqual(base not in WITHOUT_NEAREST, "Did you mean `" in error)

    def test_messages_are_short_and_can_be_shown_anywhere(self):
        for name, document in self.documents.items():
            for text in list(corpus.errors(document)) + document.get("warnings", []):
                with self.subTest(name, text=text):
                    self.assertLess(len(text), LONGEST)
                    self.assertTrue(text.isprintable(), repr(text))
                    self.assertNotIn(corpus.FOLDER, text)
                    self.assertNotIn("verify-config", text, "the user runs it already")

    def test_resolved_documents_are_those_of_the_files(self):
        for name in corpus.RESOLVED:
            with self.subTest(name):
                document, path = corpus.resolved(MIRRORD, name)
                with open(path, "rb") as file:
                    self.assertEqual(file.read().decode(), document.decode())
        self.assertEqual(len(corpus.RESOLVED), len(os.listdir(os.path.join(corpus.FOLDER, "resolved"))))

    def test_resolved_documents_have_every_key(self):
        with open(os.path.join(os.path.dirname(corpus.FOLDER), "vectors", "config-keys.json"), encoding="utf-8") as file:
            paths = [key["path"] for key in json.load(file)]
        document = json.loads(corpus.resolved(MIRRORD, "right/shop.json")[0])["resolved_config"]
        for path in paths:
            if re.search(r"[\[{]", path) or path.startswith(("target.", "agent.image.")):
                continue
            with self.subTest(path):
                value = document
                for name in path.split("."):
                    self.assertIn(name, value)
                    value = value[name]
                    if value is None or (name == "filter" and "local" in value):  # has its one list
                        break

    def test_every_variable_sets_its_key(self):
        samples = [("string[]", "a;b", ["a", "b"]), ("u16[]", "7;8", [7, 8]), ("bool", "true", True), ("bool", "false", False),
                   ("u16", "7", 7), ("u32", "7", 7), ("u64", "7", 7), ("i32", "7", 7), ("path", "/x", "/x"), ("string", "x", "x")]
        words = {"MIRRORD_FILE_MODE": "write", "MIRRORD_AGENT_TCP_STEAL_TRAFFIC": "off",
                 "MIRRORD_OPERATOR_ON_CONCURRENT_STEAL": "override", "MIRRORD_HTTP_HEADER_FILTER_JQ": "true"}
        with open(os.path.join(os.path.dirname(corpus.FOLDER), "vectors", "config-keys.json"), encoding="utf-8") as file:
            keys = [key for key in json.load(file) if key["env"]]
        count = 0
        for key in keys:
            if key["path"] in ("target", "target.path", "feature.network.incoming", "operator") or \
                    key["path"].startswith("agent.image."):  # of other forms; the operator is not there
                continue
            kinds = [sample for sample in samples if sample[0] in key["type"].split(" | ")]
            for _, text, value in [sample for sample in kinds if sample[0] == kinds[0][0]]:
                text, value = (words[key["env"]],) * 2 if key["env"] in words else (text, value)
                with self.subTest(key["path"], text=text):
                    found = json.loads(corpus.printed(MIRRORD, "--ide", "--resolved", "right/empty.toml",
                                                      env={key["env"]: text}))
                    self.assertEqual("Success", found["type"], found)
                    found = found["resolved_config"]
                    for name in key["path"].split("."):
                        found = found[name]
                    self.assertEqual(value, found)
                    count += 1
        self.assertGreater(count, 60)

    def test_resolved_values_come_from_the_environment_first(self):
        env = {"MIRRORD_AGENT_TTL": "7", "MIRRORD_TCP_OUTGOING": "false", "MIRRORD_FILE_MODE": "local",
               "MIRRORD_HTTP_FILTER_PORTS": "80;81", "MIRRORD_SKIP_PROCESSES": "make;git", "MIRRORD_KEY": "{{x}}",
               "MIRRORD_IMPERSONATED_TARGET": "pod/other/container/web", "MIRRORD_ENABLE_IPV6": "false",
               "MIRRORD_AGENT_IMAGE": "agent:1", "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE": "A;B"}
        found = json.loads(corpus.printed(MIRRORD, "--resolved", "right/shop.json", env=env))["resolved_config"]
        network = found["feature"]["network"]
        self.assertEqual(
            [7, False, "local", [80, 81], ["make", "git"], "{{x}}", {"pod": "other", "container": "web"}, False, "agent:1",
             ["A", "B"]],
            [found["agent"]["ttl"], network["outgoing"]["tcp"], found["feature"]["fs"]["mode"],
             network["incoming"]["http_filter"]["ports"], found["skip_processes"], found["key"], found["target"]["path"],
             network["ipv6"], found["agent"]["image"], found["feature"]["env"]["exclude"]])
        self.assertNotIn("resolved_config", self.documents["right/shop.json"])

    def test_files_that_cannot_be_in_a_repository(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "folder.json"))
            with open(os.path.join(folder, "huge.json"), "wb") as file:
                file.write(b'{"target": "pod/shop", "key": "' + b"x" * (5 << 20) + b'"}')
            with open(os.path.join(folder, "locked.json"), "wb") as file:
                file.write(b"{}")
            os.chmod(os.path.join(folder, "locked.json"), 0)
            os.symlink("loop.json", os.path.join(folder, "loop.json"))
            expected = {
                "folder.json": "reading `folder.json`: Is a directory (Name a file in the directory.)",
                "huge.json": "reading `huge.json`: it has more than 4194304 bytes (Check that it is the right file.)",
                "loop.json": "reading `loop.json`: Too many levels of symbolic links (Check the path and its "
                             "permissions.)",
                "missing.json": "reading `missing.json`: No such file or directory (Check the path and its "
                                "permissions.)",
            }
            if os.geteuid() != 0:  # root may read it
                expected["locked.json"] = "reading `locked.json`: Permission denied (Check the path and its permissions.)"
            for name, text in expected.items():
                with self.subTest(name):
                    self.assertEqual([text], list(corpus.errors(corpus.verdict(MIRRORD, name, folder))))

    def test_standard_input_is_named_so(self):
        document = corpus.verdict(MIRRORD, "-", stdin=b'{\n "tagret": 1}')
        self.assertEqual(["standard input:2:2: `tagret`: unknown key (Did you mean `target`?)"],
                         list(corpus.errors(document)))


if __name__ == "__main__":
    sys.exit(unittest.main())
