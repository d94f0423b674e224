# tests/config_corpus/corpus.py — what `mirrord verify-config` says of every configuration in this folder.
import json
import os
import subprocess

FOLDER = os.path.dirname(os.path.abspath(__file__))
MESSAGES = os.path.join(FOLDER, "messages.txt")
PREFIX = "Failed to verify mirrord config: "
# Nothing of the caller's that a configuration could depend on.
ENVIRONMENT = {"HOME": "/home/jo", "MIRRORD_BRANCH_NAME": "main"}


def names():
    """The configurations, by kind: right/, warnings/, and those of mistakes."""
    found = []
    for folder in sorted(os.listdir(FOLDER)):
        path = os.path.join(FOLDER, folder)
        if os.path.isdir(path) and folder != "__pycache__":
            found += [folder + "/" + name for name in sorted(os.listdir(path))]
    return found


def verdict(mirrord, name, folder=FOLDER, stdin=None):
    """verify-config's document, with every text as it is."""
    done = subprocess.run([mirrord, "verify-config", name], cwd=folder, env=ENVIRONMENT, input=stdin,
                          capture_output=True, timeout=10, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError("%s: status %d, %r" % (name, done.returncode, done.stderr))
    return json.loads(done.stdout)


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
