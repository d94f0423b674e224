# tests/local/test_progress.py — how a start looks: on a terminal, where lines change in place, and without one.
import os
import subprocess

from support import LocalTest
from terminal import run_on_terminal


class Progress(LocalTest):
    def on_terminal(self, *program, columns=100, rows=24, env=None, **options):
        """Runs a program under mirrord on a terminal; returns its screen and all states that it was seen in."""
        command = self.command(*program, **options)
        environment = {**self.env, "TERM": "xterm-256color", "MIRRORD_PROGRESS_MODE": "std", **(env or {})}
        environment.pop("NO_COLOR", None)
        environment.update(env or {})
        return run_on_terminal(command, environment, self.work, columns, rows)

    def steps(self, title):
        return [title, "  * mirrors everything that reaches every port that the program listens on",
                "  ✓ starting the session", "    * starting the agent", "    * fetching the target's environment"]

    def test_the_tree_changes_in_place(self):
        code, screen, states = self.on_terminal("echo", "the program")
        self.assertEqual((0, self.steps("✓ Ready!") + ["the program", ""]), (code, screen.lines))
        title = next(line for state in states for line in state if line.startswith("• "))
        self.assertRegex(title, r"^• mirrord exec \(cli version \d+\.\d+\.\d+\)$")
        # No line of an earlier state is left below or above.
        for state in states:
            self.assertEqual(1, sum("mirrord exec" in line or "Ready!" in line for line in state), state)
            self.assertLessEqual(sum("starting the session" in line for line in state), 1, state)
        self.assertEqual({"0", "32", "34", "36"}, screen.colours)

    def test_colours_can_be_switched_off(self):
        for env, colours in (({"NO_COLOR": "1"}, set()), ({"NO_COLOR": ""}, {"0", "32", "34", "36"})):
            with self.subTest(env):
                code, screen, _ = self.on_terminal("true", env=env)
                self.assertEqual((0, colours), (code, screen.colours))
                self.assertEqual(self.steps("✓ Ready!") + [""], screen.lines)

    def test_a_narrow_terminal(self):
        code, screen, _ = self.on_terminal("true", columns=30)
        self.assertEqual(0, code)
        self.assertEqual(["✓ Ready!", "  * mirrors everything that", "    reaches every port that",
                          "    the program listens on", "  ✓ starting the session", "    * starting the agent",
                          "    * fetching the target's", "      environment", ""], screen.lines)

    def test_a_low_terminal(self):
        code, screen, _ = self.on_terminal("true", rows=3)
        self.assertEqual((0, ["✓ Ready!", ""]), (code, screen.lines[-2:]))
        self.assertEqual(1, screen.lines.count("✓ Ready!"))

    def test_a_terminal_that_cannot_move_the_cursor(self):
        code, screen, _ = self.on_terminal("true", env={"TERM": "dumb"})
        self.assertEqual((0, set()), (code, screen.colours))
        self.assertEqual(["  ✓ starting the session", "✓ Ready!", ""], screen.lines[-3:])

    def test_a_failed_start(self):
        code, screen, _ = self.on_terminal("true", config={"connect_tcp": "127.0.0.1:1"}, target="targetless")
        self.assertEqual(1, code)
        self.assertEqual(1, sum(line.startswith("x mirrord exec") for line in screen.lines), screen.lines)
        self.assertEqual(1, sum(line.startswith("Error: ") for line in screen.lines), screen.lines)
        self.assertIn("31", screen.colours)

    def test_the_other_modes_on_a_terminal(self):
        code, screen, _ = self.on_terminal("echo", "only", env={"MIRRORD_PROGRESS_MODE": "off"})
        self.assertEqual((0, ["only", ""], set()), (code, screen.lines, screen.colours))
        code, screen, _ = self.on_terminal("true", env={"MIRRORD_PROGRESS_MODE": "simple"})
        self.assertEqual((0, "Ready!", set()), (code, screen.lines[-2], screen.colours))
        self.assertRegex(screen.lines[0], r"^mirrord exec \(cli version ")

    def run_mode(self, mode, *arguments):
        env = {name: value for name, value in self.env.items() if name != "MIRRORD_PROGRESS_MODE"}
        if mode is not None:
            env["MIRRORD_PROGRESS_MODE"] = mode
        done = subprocess.run(self.command("printenv", "MIRRORD_PROGRESS_MODE", flags=arguments), env=env, cwd=self.work,
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout, done.stderr

    def test_without_a_terminal(self):
        lines = ["mirrors everything that reaches every port that the program listens on", "starting the session",
                 "starting the agent", "fetching the target's environment", "Ready!"]
        plain = "".join("mirrord: %s\n" % line for line in lines)
        for mode in (None, "std", "standard", "nonsense"):
            with self.subTest(mode):
                self.assertEqual(("off\n", plain), self.run_mode(mode))
        for mode in ("dumb", "simple"):
            with self.subTest(mode):
                out, errors = self.run_mode(mode)
                title, _, rest = out.partition("\n")
                self.assertRegex(title, r"^mirrord exec \(cli version \d+\.\d+\.\d+\)$")
                self.assertEqual(("\n".join(lines) + "\noff\n", ""), (rest, errors))
        self.assertEqual(("off\n", ""), self.run_mode("off"))

    def test_lines_of_json(self):
        out, errors = self.run_mode("json")
        self.assertEqual("", errors)
        self.assertEqual(
            '{"type":"NewTask","name":"mirrord exec","parent":null}\n'
            '{"type":"NewTask","name":"starting the session","parent":"mirrord exec"}\n'
            '{"type":"Info","message":"starting the agent"}\n'
            '{"type":"Info","message":"fetching the target\'s environment"}\n'
            '{"type":"FinishedTask","name":"starting the session","success":true,"message":null}\n'
            '{"type":"FinishedTask","name":"mirrord exec","success":true,"message":"Ready!"}\n'
            'off\n', out)

    def test_a_warning_is_shown_once(self):
        config = {"feature": {"copy_target": True}}
        done = subprocess.run(self.command("true", config=config), cwd=self.work, capture_output=True, text=True,
                              env={**self.env, "MIRRORD_PROGRESS_MODE": "std"}, timeout=60, check=True)
        self.assertEqual(1, done.stderr.count("feature.copy_target needs the operator"), done.stderr)
        self.assertEqual(1, done.stderr.count("warning: "), done.stderr)
