# tests/local/test_logs.py — the session's log, the command's own and the console: where lines go, and which.
import json
import os
import socket
import subprocess
import threading

from support import LocalTest, read_file, wait_until


class Logs(LocalTest):
    def log_of(self, level=None, env=None, program=("cat", "/etc/hostname"), **settings):
        path = os.path.join(self.folder, "new", "session.log")
        proxy = {"log_destination": path, "json_log": False, **({"log_level": level} if level else {}), **settings}
        self.run_remote(*program, config={"internal_proxy": proxy, "agent": {"log_level": "mirrord=trace"}}, env=env)
        self.assertTrue(wait_until(lambda: b"the session ends" in read_file(path), 10))
        text = read_file(path).decode()
        os.remove(path)
        return text

    def test_the_level_chooses_what_is_logged(self):
        self.assertNotIn("debug", self.log_of())
        self.assertNotIn("debug", self.log_of("mirrord=info,h2=debug"))
        for level in ("debug", "mirrord=trace", "warn,mirrord=DEBUG"):
            self.assertRegex(self.log_of(level), r"debug session: process \d+ \(cat\) joined")

    def test_components_have_levels_of_their_own(self):
        text = self.log_of("info,files=debug")
        self.assertRegex(text, r"debug files: cat\[\d+\] open /etc/hostname: ok")
        self.assertNotIn("joined", text)
        text = self.log_of("info,agent=trace")
        self.assertRegex(text, r"trace agent: files: the client: FileRequest Open")
        text = self.log_of("info,dns=debug", program=("getent", "hosts", "shop"))
        self.assertRegex(text, r"debug dns: getent\[\d+\] resolve shop: ok")

    def test_the_hook_tells_its_decisions_when_asked(self):
        program = ("sh", "-c", "cat /etc/hostname /etc/nonesuch /dev/null; true")
        self.assertNotIn(" hook:", self.log_of("debug,hook=info", program=program))
        text = self.log_of("info,hook=debug", program=program)
        self.assertRegex(text, r"debug hook: cat\[\d+\]: read /etc/hostname: remote")
        self.assertRegex(text, r"debug hook: cat\[\d+\]: read /dev/null: local")

    def test_a_variable_wins_over_the_configuration(self):
        self.assertIn(" joined", self.log_of("error,session=info", env={"MIRRORD_LOG": "mirrord=debug"}))
        self.assertNotIn(" joined", self.log_of("debug", env={"MIRRORD_LOG": "info"}))

    def test_no_secret_is_logged(self):
        for text in (self.log_of("trace"), self.log_of("trace", program=("env",))):
            for secret in ("correct horse", "demo-3f9c2a71d05b4e68", "shop-7d4b9c6f5-x2k8p"):
                self.assertNotIn(secret, text)

    def test_lines_are_json_unless_the_configuration_wants_text(self):
        lines = [json.loads(line) for line in self.log_of("debug", json_log=True).splitlines()]
        joined = [line for line in lines if "(cat) joined" in line["fields"]["message"]]
        self.assertEqual(1, len(joined))
        self.assertEqual(("DEBUG", "mirrord::session"), (joined[0]["level"], joined[0]["target"]))

    def test_a_log_that_cannot_be_written_is_told_and_hinders_nothing(self):
        done = subprocess.run(
            self.command("echo", "works", config={"internal_proxy": {"log_destination": "/dev/null/session.log"}}),
            env={**self.env, "MIRRORD_PROGRESS_MODE": "simple"}, capture_output=True, text=True, timeout=60,
            check=False)
        self.assertEqual(0, done.returncode)
        self.assertIn("open the log /dev/null/session.log: Not a directory; the session's log is /", done.stdout)
        self.assertTrue(done.stdout.endswith("works\n"), done.stdout)

    def test_a_relative_path_is_meant_where_the_command_was_started(self):
        self.run_remote("true", config={"internal_proxy": {"log_destination": "logs/session.log", "log_level": "debug"}})
        self.assertIn(b"(true) joined", read_file(os.path.join(self.work, "logs", "session.log")))

    def test_a_command_logs_to_standard_error(self):
        errors = self.run_remote("true", env={"MIRRORD_LOG": "debug", "DB_HOST": "here"})[1].decode()
        self.assertRegex(errors, r" debug config: variables of this machine that the program sees otherwise: .*\bDB_HOST\b")
        self.assertIn(" info config: no configuration file\n", errors)
        self.assertRegex(errors, r" info session: intproxy \d+ is ready, agent ")
        self.assertNotIn(" config: ", self.run_remote("true", env={"MIRRORD_LOG": "warn"})[1].decode())

    def test_commands_for_editors_log_only_when_forced(self):
        kubeconfig = self.local_file("kubeconfig", KUBECONFIG)
        for forced, expected in ((None, False), ("true", True)):
            done = subprocess.run(
                [self.mirrord, "ls"], env={**self.env, "KUBECONFIG": kubeconfig, "MIRRORD_LOG": "kubernetes=debug",
                                           **({"MIRRORD_FORCE_LOG": forced} if forced else {})},
                capture_output=True, text=True, timeout=60, check=False)
            self.assertNotEqual(0, done.returncode)
            self.assertEqual(expected, "debug kubernetes: API server https://127.0.0.1:9" in done.stderr, done.stderr)
            self.assertEqual(expected, " debug kubernetes: GET /" in done.stderr, done.stderr)


KUBECONFIG = b"""
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: u, user: {token: secret-token}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


class Console(LocalTest):
    def setUp(self):
        super().setUp()
        self.lines = []
        self.console = self.start_console()

    def start_console(self, *flags):
        console = subprocess.Popen([self.mirrord, "console", "--address", "127.0.0.1:0", *flags], env=self.env,
                                   stdout=subprocess.PIPE, text=True)
        self.started.append(console)
        self.address = console.stdout.readline().split("MIRRORD_CONSOLE_ADDR=")[1].split(";")[0]
        threading.Thread(target=lambda: self.lines.extend(console.stdout), daemon=True).start()
        return console

    def shows(self, text):
        return wait_until(lambda: any(text in line for line in self.lines), 10)

    def test_shows_the_lines_of_all_parts(self):
        self.run_remote("cat", "/etc/hostname",
                        env={"MIRRORD_CONSOLE_ADDR": self.address, "MIRRORD_AGENT_RUST_LOG": "trace"})
        for text in ("] config: no configuration", "] session: the session ends", "] agent: ", "] hook: cat[",
                     " open /etc/hostname: ok", "] has ended"):
            self.assertTrue(self.shows(text), (text, self.lines))
        self.assertTrue(any(" exec[" in line for line in self.lines))
        self.assertTrue(any(" intproxy[" in line for line in self.lines))
        self.console.terminate()
        self.assertEqual(0, self.console.wait(10))

    def test_shows_what_its_filter_lets_through(self):
        self.lines.clear()
        self.start_console("--filter", "files=debug")
        self.run_remote("cat", "/etc/hostname", env={"MIRRORD_CONSOLE_ADDR": self.address})
        self.assertTrue(self.shows(" open /etc/hostname: ok"))
        self.assertTrue(self.shows("] has ended"))
        self.assertFalse([line for line in self.lines if " config: " in line or " hook: " in line])

    def test_a_session_does_not_need_its_console_to_the_end(self):
        script = "kill -9 %d; sleep 0.2; cat /etc/hostname" % self.console.pid
        self.assertEqual(self.pod.read("/etc/hostname"),
                         self.run_remote("sh", "-c", script, env={"MIRRORD_CONSOLE_ADDR": self.address})[0])

    def test_a_console_that_is_stopped_holds_nobody_up(self):
        self.console.send_signal(19)
        self.run_remote("sh", "-c", "for i in $(seq 300); do : < /etc/hostname; done",
                        env={"MIRRORD_CONSOLE_ADDR": self.address}, timeout=30)
        self.console.send_signal(18)
        self.assertTrue(self.shows("the session ends"), self.lines[-3:])

    def test_without_a_console_a_command_refuses(self):
        done = subprocess.run(self.command("true"), env={**self.env, "MIRRORD_CONSOLE_ADDR": "127.0.0.1:9"},
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("connect to the console at 127.0.0.1:9: Connection refused\n  Start `mirrord console` first",
                      done.stderr)

    def test_ends_when_nobody_reads_it(self):
        console = subprocess.Popen([self.mirrord, "console", "--address", "127.0.0.1:0"], env=self.env,
                                   stdout=subprocess.PIPE, text=True)
        self.started.append(console)
        address = console.stdout.readline().split("MIRRORD_CONSOLE_ADDR=")[1].split(";")[0]
        console.stdout.close()
        self.run_remote("true", env={"MIRRORD_CONSOLE_ADDR": address})
        self.assertEqual(0, console.wait(10))

    def test_what_is_no_log_is_named_and_closed(self):
        host, port = self.address.split(":")
        for sent, reason in ((b"GET / HTTP/1.1\r\n\r\n", "a message of 1195725856 bytes"),
                             (b"\x00\x00\x00\x02\xff\xff", "it has not its form")):
            with socket.create_connection((host, int(port)), timeout=10) as client:
                client.sendall(sent)
                self.assertEqual(b"", client.recv(1))
            self.assertTrue(self.shows(reason), self.lines)
        self.run_remote("cat", "/etc/hostname", env={"MIRRORD_CONSOLE_ADDR": self.address})
        self.assertTrue(self.shows(" open /etc/hostname: ok"))
