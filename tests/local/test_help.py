# tests/local/test_help.py — every command's help, and the manual page that is written from the same tables.
import os
import re
import subprocess
import unittest

from support import need, read_file

SOURCE = os.environ["MIRRORD_SOURCE_DIR"]
FLAG = re.compile(r"^ +(?:-(\w), )?--([a-z0-9-]+)", re.M)


def printed(*words, status=0):
    done = subprocess.run([os.environ["MIRRORD"], *words], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == status, (words, done)
    return done.stdout


class Help(unittest.TestCase):
    def commands(self):
        listed = printed("--help").split("Commands:\n")[1].split("\n\n")[0]
        return [line.split()[0] for line in listed.splitlines() if line.split()[0] not in ("help", "man")]

    def pages(self):
        """Names of the commands and subcommands, and each one's help."""
        for command in self.commands():
            page = printed(command, "--help")
            subcommands = re.findall("mirrord %s ([a-z-]+)" % command, page) if "Each has its own --help" in page else []
            if not subcommands:
                yield command, page
            for name in dict.fromkeys(subcommands):
                yield command + " " + name, printed(command, name, "--help")

    def test_every_command_has_usage_and_flags_that_are_its_own(self):
        names = [name for name, _ in self.pages()]
        self.assertIn("config show", names)
        self.assertIn("exec", names)
        for name, page in self.pages():
            self.assertIn("Usage: mirrord " + name, page)
            flags = FLAG.findall(page)
            self.assertIn(("h", "help"), flags, name)
            letters = [letter for letter, _ in flags if letter]
            self.assertEqual(sorted(set(letters)), sorted(letters), name)
            words = [word for _, word in flags]
            self.assertEqual(sorted(set(words)), sorted(words), name)
            self.assertLessEqual(max(map(len, page.splitlines())), 110, name)
            if name not in ("ci api-key", "config keys", "config reference"):
                self.assertRegex(page, r"\nExamples?:\n  ", name)

    def test_help_of_a_command_is_found_both_ways(self):
        self.assertEqual(printed("exec", "--help"), printed("help", "exec"))
        printed("help", "nonsense", status=2)

    def test_the_manual_page_is_the_one_in_docs(self):
        self.assertEqual(read_file(os.path.join(SOURCE, "docs", "mirrord.1")).decode(), printed("man"),
                         "mirrord man > docs/mirrord.1")

    def test_the_manual_page_tells_all(self):
        page = os.path.join(SOURCE, "docs", "mirrord.1")
        done = subprocess.run([need("man"), "--warnings", "-l", page], capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        for name, text in self.pages():
            self.assertIn("mirrord " + name, done.stdout)
            for _, flag in FLAG.findall(text):
                if flag != "help":
                    self.assertIn("--" + flag, done.stdout, name)


if __name__ == "__main__":
    unittest.main()
