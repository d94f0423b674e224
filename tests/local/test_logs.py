# tests/local/test_logs.py — the session's log: where it goes, and how much is in it.
import os

from support import LocalTest, read_file, wait_until


class Logs(LocalTest):
    def log_of(self, level=None, env=None):
        path = os.path.join(self.folder, "session.log")
        proxy = {"log_destination": path, **({"log_level": level} if level else {})}
        self.run_remote("cat", "/etc/hostname", config={"internal_proxy": proxy}, env=env)
        self.assertTrue(wait_until(lambda: b"the session ends" in read_file(path), 10))
        text = read_file(path).decode()
        os.remove(path)
        return text

    def test_the_level_chooses_what_is_logged(self):
        self.assertNotIn("debug", self.log_of())
        self.assertNotIn("debug", self.log_of("mirrord=info,h2=debug"))
        for level in ("debug", "mirrord=trace", "warn,mirrord=DEBUG"):
            self.assertRegex(self.log_of(level), r"debug intproxy: process \d+ \(cat\) joined")

    def test_a_variable_wins_over_the_configuration(self):
        self.assertIn(" joined", self.log_of("error", env={"MIRRORD_LOG": "mirrord=debug"}))
        self.assertNotIn(" joined", self.log_of("debug", env={"MIRRORD_LOG": "info"}))

    def test_no_secret_is_logged(self):
        text = self.log_of("trace")
        for secret in ("correct horse", "demo-3f9c2a71d05b4e68", "shop-7d4b9c6f5-x2k8p"):
            self.assertNotIn(secret, text)
