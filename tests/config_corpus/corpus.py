# tests/config_corpus/corpus.py — what `mirrord verify-config` says of every configuration in this folder.
import json
import os
import subprocess

FOLDER = os.path.dirname(os.path.abspath(__file__))
MESSAGES = os.path.join(FOLDER, "messages.txt")
PREFIX = "Failed to verify mirrord config: "
# What verify-config --resolved makes of these stands in resolved/.
RESOLVED = ["right/empty.yaml", "right/nulls.json", "right/shop.json", "right/shop.toml", "right/shop.yaml",
            "right/short.json", "right/switched-off.yaml", "right/templates.yaml", "warnings/split-queues.json"]
# Nothing of the caller's that a configuration could depend on.
ENVIRONMENT = {"HOME": "/home/jo", "TMPDIR": "/scratch", "MIRRORD_BRANCH_NAME": "main"}


def names():
    """The configurations, by kind: right/, warnings/, and those of mistakes."""
    found = []
    for folder in sorted(os.listdir(FOLDER)):
        path = os.path.join(FOLDER, folder)
        if os.path.isdir(path) and folder not in ("__pycache__", "resolved"):
            found += [folder + "/" + name for name in sorted(os.listdir(path))]
    return found


def printed(mirrord, *words, folder=FOLDER, stdin=None, env=None):
    done = subprocess.run([mirrord, "verify-config", *words], cwd=folder, env={**ENVIRONMENT, **(env or {})}, input=stdin,
                          capture_output=True, timeout=10, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError("%s: status %d, %r" % (words, done.returncode, done.stderr))
    return done.stdout


def verdict(mirrord, name, folder=FOLDER, stdin=None):
    """verify-config's document, with every text as it is."""
    return json.loads(printed(mirrord, name, folder=folder, stdin=stdin))


def resolved(mirrord, name):
    """The document with --resolved, and the file that has it."""
    return (printed(mirrord, "--ide", "--resolved", name, env={"MIRRORD_KEY": "jo", "MIRRORD_AGENT_IMAGE_TAG": "9.9"}),
            os.path.join(FOLDER, "resolved", os.path.basename(name) + ".out"))


def errors(document):
    for text in document.get("errors", []):
        if not text.startswith(PREFIX):
            raise AssertionError(text)
        yield text[len(PREFIX):]


def section(name, document):
    """The part of the table about one configuration."""
    lines = ["== " + name]
    lines += ["error: " + text for text in errors(document)]
    lines += ["warning: " + text for text in document.get("warnings", [])]
    return "\n".join(lines) + "\n"
