# tests/local/test_completions.py — the shells' completions, in the shells; commands that need an operator.
import os
import subprocess
import unittest

from support import need
from test_ls import OBJECTS, WithApiServer

BASH = r"""
source <(mirrord completions bash)
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_mirrord
printf '%s\n' "${COMPREPLY[@]}"
"""


def mirrord():
    return os.environ["MIRRORD"]


class Completions(unittest.TestCase):
    def run_shell(self, *words):
        path = os.path.dirname(mirrord()) + ":" + os.environ["PATH"]
        done = subprocess.run(words, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout.split("\n")

    def test_bash(self):
        for words, expected in ((["ex"], ["exec"]), (["port"], ["port-forward"]),
                                (["exec", "--targ"], ["--target", "--target-namespace"]),
                                (["ls", "--target-t"], ["--target-type"])):
            self.assertEqual(expected, self.run_shell("bash", "-c", BASH, "bash", "mirrord", *words)[:-1], words)
        self.assertIn("sleep", self.run_shell("bash", "-c", BASH, "bash", "mirrord", "exec", "-t", "x", "--", "slee"))
        self.assertIn("--version", self.run_shell("bash", "-c", BASH, "bash", "mirrord", "--"))

    def test_zsh(self):
        # The functions of the completion system are its own; here they print what they are given.
        script = ("compdef() { :; }; compadd() { shift; print -l -- $@; }; _describe() { print -l -- ${(P)2}; }; _files() { :; }; "
                  "eval \"$(mirrord completions zsh)\"; words=(%s); CURRENT=%d; PREFIX=%s; _mirrord")
        commands = self.run_shell(need("zsh"), "-fc", script % ("mirrord ''", 2, "''"))
        self.assertIn("exec:run a program in the context of a target", commands)
        flags = self.run_shell("zsh", "-fc", script % ("mirrord ls --tar", 3, "--tar"))
        self.assertIn("--target-type", flags)

    def test_fish(self):
        found = self.run_shell(need("fish"), "-c", "mirrord completions fish | source; complete -C 'mirrord exec --targ'")
        self.assertEqual(["--target", "--target-namespace", ""], found)

    def test_other_shells_are_named(self):
        for words in ([], ["tcsh"], ["bash", "zsh"]):
            done = subprocess.run([mirrord(), "completions", *words], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual((2, ""), (done.returncode, done.stdout))
            self.assertIn("Shells: bash, fish, zsh.", done.stderr)


class Operator(WithApiServer):
    def ask(self, *words):
        done = subprocess.run([mirrord(), *words], env={**os.environ, "KUBECONFIG": self.kubeconfig}, capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual((1, ""), (done.returncode, done.stdout), done.stderr)
        return done.stderr

    def test_none_answers(self):
        for words in (["operator", "status"], ["operator", "session", "stop", "--all"], ["db-branches", "status", "-A"],
                      ["queues", "status"], ["preview", "status", "--key", "k"], ["subscribe", "-k", "k"]):
            line = self.ask(*words).split("\n")[0]
            self.assertEqual("Error: `mirrord %s`: operator not found: the cluster at http://127.0.0.1:%d has none" %
                             (words[0], self.server.server_port), line)

    def test_one_answers(self):
        OBJECTS["/apis/operator.metalbear.co/v1"] = []
        self.addCleanup(OBJECTS.pop, "/apis/operator.metalbear.co/v1")
        self.assertIn("answers, but this version cannot speak with one", self.ask("operator", "status"))


if __name__ == "__main__":
    unittest.main()
