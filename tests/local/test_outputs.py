# tests/local/test_outputs.py — what every command prints, on a terminal and without one, as tests/local/outputs.txt has it.
# `MIRRORD_OUTPUTS=write` writes that file anew; read what changes.
import os
import re
import subprocess

from support import LocalTest, read_file
from terminal import run_on_terminal

GOLDEN = os.path.join(os.environ["MIRRORD_SOURCE_DIR"], "tests", "local", "outputs.txt")
POD, DEAD = "{pod}", "process/999999999"
# Names and words: each command once where it works and where it does not, and every way to be told of help.
CASES = [
    ("nothing", []),
    ("help", ["--help"]),
    ("version", ["--version"]),
    ("an unknown command", ["exce"]),
    ("exec", ["exec", "-t", POD, "--", "cat", "/etc/hostname"]),
    ("exec of nothing", ["exec", "-t", POD]),
    ("exec of what is not there", ["exec", "-t", POD, "--", "no-such-program"]),
    ("exec on a dead target", ["exec", "-t", DEAD, "--", "true"]),
    ("exec with a wrong flag", ["exec", "--tagret", "x", "--", "true"]),
    ("exec with a wrong file", ["exec", "-f", "wrong.json", "-t", POD, "--", "true"]),
    ("exec with a missing file", ["exec", "-f", "missing.json", "--", "true"]),
    ("exec with warnings", ["exec", "-f", "warned.json", "-t", POD, "--", "true"]),
    ("exec of a static program", ["exec", "-t", POD, "--", "{mirrord}", "--version"]),
    ("port-forward of nothing", ["port-forward", "-t", POD]),
    ("port-forward of a wrong mapping", ["port-forward", "-t", POD, "-L", "80"]),
    ("dump without ports", ["dump", "-t", POD]),
    ("dump of a wrong port", ["dump", "-t", POD, "-p", "0"]),
    ("ls without a cluster", ["ls", "-f", "nowhere.json"]),
    ("operator without a cluster", ["operator", "status", "-f", "nowhere.json"]),
    ("verify-config", ["verify-config", "right.json"]),
    ("verify-config of a wrong file", ["verify-config", "wrong.json"]),
    ("verify-config of nothing", ["verify-config"]),
    ("config", ["config"]),
    ("config show", ["config", "show", "-f", "right.json", "--steal"]),
    ("config show as JSON", ["config", "show", "-f", "right.json", "--json"]),
    ("config of what is not there", ["config", "shwo"]),
    ("config explain-path", ["config", "explain-path", "-f", "right.json", "/etc/hosts", "/data/x", "/home/me/y"]),
    ("config explain-address", ["config", "explain-address", "-f", "right.json", "db:5432", "127.0.0.1:1"]),
    ("diagnose", ["diagnose"]),
    ("diagnose on a dead target", ["diagnose", "latency", "-t", DEAD]),
    ("doctor with a wrong flag", ["doctor", "-o", "yaml"]),
    ("container of nothing", ["container"]),
    ("container of no runtime", ["container", "-t", POD, "--", "cat"]),
    ("ci", ["ci"]),
    ("ci start of what is not there", ["ci", "start", "-t", POD, "--", "no-such-program"]),
    ("ci start of one that ends", ["ci", "start", "-t", POD, "--", "sh", "-c", "echo no database >&2; exit 3"]),
    ("ci stop of nothing", ["ci", "stop"]),
    ("ext on a dead target", ["ext", "-t", DEAD]),
    ("ext of a wrong file", ["ext", "-f", "wrong.json"]),
    ("completions of an unknown shell", ["completions", "tcsh"]),
    ("wire of nothing", ["wire"]),
    ("extract of nothing", ["extract"]),
]
FILES = {
    "right.json": '{"target": "deployment/shop", "feature": {"fs": "write", "network": {"outgoing": {"filter": {"remote": ["db"]}}}}}\n',
    "wrong.json": '{"targt": "pod/x",\n "feature": {"network": {"incoming": {"mode": "stael"}}}}\n',
    "warned.json": '{"feature": {"split_queues": {"a": {"queue_type": "SQS", "message_filter": {"k": "v"}}}}}\n',
    "nowhere.json": '{"kubeconfig": "none.yaml"}\n',
}


class Outputs(LocalTest):
    def setUp(self):
        super().setUp()
        for name, text in FILES.items():
            self.local_file(name, text.encode())
        self.env["MIRRORD_PROGRESS_MODE"] = "std"
        self.env["TERM"] = "xterm-256color"
        self.env["HOME"] = self.work
        self.env.pop("NO_COLOR", None)

    def tearDown(self):
        subprocess.run(["rm", "-rf", os.path.join(self.temporary, "mirrord-%d" % os.geteuid())], check=True)
        super().tearDown()

    def steady(self, text):
        """Without what changes from run to run."""
        text = text.replace(self.pod.target, "process/POD").replace(self.folder, "FOLDER")
        text = re.sub(r"\b\d+\.\d+\.\d+\b(?!\.)(?=\)|$)", "X.Y.Z", text, flags=re.M)
        text = text.replace("/mirrord-%d/" % os.geteuid(), "/mirrord-UID/")
        text = re.sub(r"(sh|no-such-program)-\d{10}-[0-9a-f]{7}", r"\1-RUN", text)
        text = re.sub(r"[ \t]+$", "", text, flags=re.M)
        return text.strip("\n")

    def outputs(self):
        for name, words in CASES:
            command = [self.mirrord] + [word.format(pod=self.pod.target, mirrord=self.mirrord) for word in words]
            code, screen, _ = run_on_terminal(command, self.env, self.work, columns=1000, rows=300)
            done = subprocess.run(command, env=self.env, cwd=self.work, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                                  check=False)
            self.assertEqual(code, done.returncode, name)
            yield name, "$ mirrord %s\n%s\n--- terminal, exit status %d\n%s\n--- standard output\n%s\n--- standard error\n%s\n" % (
                " ".join(words), "", code, self.steady("\n".join(screen.lines)), self.steady(done.stdout.decode()),
                self.steady(done.stderr.decode()))

    def test_what_every_command_prints(self):
        text = "".join("=== %s\n%s" % case for case in self.outputs())
        if os.environ.get("MIRRORD_OUTPUTS") == "write":
            with open(GOLDEN, "w", encoding="utf-8") as file:
                file.write(text)
        expected = read_file(GOLDEN).decode().split("=== ")
        for given, known in zip(text.split("=== "), expected, strict=True):
            self.assertEqual(known, given)
