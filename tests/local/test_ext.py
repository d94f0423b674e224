# tests/local/test_ext.py — `mirrord ext`, byte for byte as editors read it, and the sessions that it leaves to them.
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time

from support import END_SECONDS, SANITIZE, LocalTest, compile_with, wait_until

PLUGIN = {"MIRRORD_PROGRESS_MODE": "json", "MIRRORD_PROGRESS_SUPPORT_IDE": "true", "MIRRORD_IDE_NAME": "vscode",
          "MIRRORD_LS_RICH_OUTPUT": "true"}
ROOT = "mirrord preparing to launch"
BEGIN = '{"type":"NewTask","name":"mirrord preparing to launch","parent":null}\n'
FAILED = '{"type":"FinishedTask","name":"mirrord preparing to launch","success":false,"message":null}\n'


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class ExtTest(LocalTest):
    def call(self, *arguments, command="ext", env=None, **options):
        done = subprocess.run([self.mirrord, command, *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, cwd=self.work, check=False,
                              env={**self.env, **PLUGIN, **(env or {})}, **options)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def config(self, settings):
        path = os.path.join(self.folder, "ext-%d.json" % len(os.listdir(self.folder)))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        return path

    def lines(self, text):
        """As the strictest plugin reads them: every line is one object, none is empty."""
        self.assertTrue(text.endswith("}\n"), text[-1000:])
        return [json.loads(line) for line in text[:-1].split("\n")]

    def launch(self, *arguments, settings=None, **options):
        """What the session's programs are to be started with."""
        settings = {"internal_proxy": {"idle_timeout": 1, "start_idle_timeout": 20}, **(settings or {})}
        code, out, errors = self.call("-t", self.pod.target, "-f", self.config(settings), *arguments, **options)
        self.assertEqual((0, ""), (code, errors), out)
        last = self.lines(out)[-1]
        self.assertEqual({"type": "FinishedTask", "name": ROOT, "success": True}, {**last, "message": 0} and {
            key: last[key] for key in ("type", "name", "success")})
        return json.loads(last["message"])

    def start(self, launch, *program, **options):
        """Starts a program as a plugin does: its own environment, the printed one over it."""
        environment = {**self.env, **launch["environment"], **options.pop("env", {})}
        for name in launch["env_to_unset"]:
            environment.pop(name, None)
        return subprocess.run(program, env=environment, cwd=self.work, capture_output=True, timeout=60,
                              check=False, **options)


class Launch(ExtTest):
    def test_a_program_that_the_editor_starts_is_in_the_target(self):
        launch = self.launch()
        done = self.start(launch, "cat", "/app/version")
        self.assertEqual((0, self.pod.read("/app/version"), b""), (done.returncode, done.stdout, done.stderr))
        done = self.start(launch, sys.executable, "-c", "import os; print(os.environ['DB_NAME'], os.uname().nodename)")
        self.assertEqual("shop %s\n" % self.pod.inside(os.uname).nodename, done.stdout.decode())

    def test_the_output_byte_for_byte(self):
        path = self.config({"internal_proxy": {"start_idle_timeout": 1},
                            "feature": {"env": {"include": "DB_NAME;GREETING", "unset": ["X"],
                                                "override": {"QUOTES": "a\"b\\c\nd\te/\u0001"}}}})
        arguments = ("-t", self.pod.target, "-f", path, "-e", "/bin/cat")
        for command in ("ext", "extension-exec"):
            code, out, errors = self.call(*arguments, command=command)
            launch = json.loads(self.lines(out)[-1]["message"])
            own = launch["environment"]
            self.assertEqual(["MIRRORD_RESOLVED_CONFIG", "MIRRORD_SESSION", "LD_PRELOAD"],
                             [name for name in own if name not in ("DB_NAME", "GREETING", "QUOTES")])
            self.assertRegex(own["LD_PRELOAD"], r"^/\S*/libmirrord_layer-[0-9a-f]+\.so$")
            environment = {"DB_NAME": "shop", "GREETING": "Grüße aus dem Pod", "QUOTES": "a\"b\\c\nd\te/\u0001",
                           **{name: own[name] for name in
                              ("MIRRORD_RESOLVED_CONFIG", "MIRRORD_SESSION", "LD_PRELOAD")}}
            message = ('{"environment":%s,"patched_path":null,"env_to_unset":["X","AWS_PROFILE"],"uses_operator":false}'
                       % compact(environment))
            expected = (BEGIN +
                        '{"type":"NewTask","name":"starting the session","parent":"mirrord preparing to launch"}\n'
                        '{"type":"Info","message":"starting the agent"}\n'
                        '{"type":"Info","message":"fetching the target\'s environment"}\n'
                        '{"type":"FinishedTask","name":"starting the session","success":true,"message":null}\n'
                        '{"type":"FinishedTask","name":"mirrord preparing to launch","success":true,"message":%s}\n'
                        % compact(message))
            self.assertEqual((0, expected, ""), (code, out, errors))

    def test_a_library_that_is_preloaded_already_stays(self):
        other = os.path.join(self.folder, "other.so")
        compile_with("gcc", "-shared", "-fPIC", "-o", other, self.local_file("other.c", b"int other;"))
        # A sanitizer's library would have to be the first one.
        options = "" if not SANITIZE else self.env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        got = self.launch(env={"LD_PRELOAD": other, "ASAN_OPTIONS": options})["environment"]["LD_PRELOAD"]
        self.assertRegex(got, "^%s:/\\S*/libmirrord_layer-[0-9a-f]+\\.so$" % re.escape(other))

    def test_jetbrains_asks_for_the_configuration_too(self):
        path = self.config({"internal_proxy": {"start_idle_timeout": 1},
                            "feature": {"fs": "local", "network": {"outgoing": False, "incoming": "off"}}})
        _, out, errors = self.call("-t", self.pod.target, "-f", path, env={"MIRRORD_EXT_PRINT_CONFIG": "true"})
        lines = self.lines(out)
        begin = lines.index({"type": "NewTask", "name": "config summary", "parent": ROOT})
        end = lines.index({"type": "FinishedTask", "name": "config summary", "success": True, "message": None})
        self.assertEqual("", errors)
        self.assertEqual(["target: %s, configured by %s" % (self.pod.target, path), "env: all variables of the target",
                          "fs: local files", "incoming: traffic is ignored", "outgoing: forwarding is disabled",
                          "dns: names are looked up remotely"], [line["message"] for line in lines[begin + 1:end]])

    def test_a_large_environment_passes_a_pipe_that_is_read_late(self):
        value = "ä" * 150_000
        path = self.config({"internal_proxy": {"start_idle_timeout": 1},
                            "feature": {"env": {"override": {"LARGE": value}}}})
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        process = subprocess.Popen([self.mirrord, "ext", "-t", self.pod.target, "-f", path], cwd=self.work,
                                   env={**self.env, **PLUGIN}, stdin=subprocess.DEVNULL, stdout=writer,
                                   stderr=subprocess.PIPE)
        self.started.append(process)
        writer.close()
        time.sleep(0.5)
        out = b""
        with reader:
            while part := reader.recv(1 << 16):
                out += part
        self.assertEqual((0, b""), (process.wait(20), process.stderr.read()))
        launch = json.loads(self.lines(out.decode())[-1]["message"])
        self.assertEqual(value, launch["environment"]["LARGE"])

    def test_other_forms_of_progress_end_with_the_same_object(self):
        path = self.config({"internal_proxy": {"start_idle_timeout": 1}})
        code, out, errors = self.call("-t", self.pod.target, "-f", path, env={"MIRRORD_PROGRESS_MODE": "dumb"})
        self.assertEqual((0, ""), (code, errors))
        lines = out[:-1].split("\n")
        self.assertTrue(lines[0].startswith(ROOT + " (cli version "), out)
        self.assertEqual("shop", json.loads(lines[-1])["environment"]["DB_NAME"])
        code, out, errors = self.call("-t", self.pod.target, "-f", path, env={"MIRRORD_PROGRESS_MODE": "off"})
        self.assertEqual((0, "", ""), (code, out, errors))
        code, out, errors = self.call("-t", self.pod.target, "-f", path, env={"MIRRORD_PROGRESS_MODE": "nonsense"})
        self.assertEqual((0, BEGIN, ""), (code, out[:len(BEGIN)], errors))

    def test_an_executable_that_cannot_load_the_hook_is_a_warning(self):
        program = os.path.join(self.folder, "static")
        compile_with("gcc", "-static", "-o", program, self.local_file("static.c", b"int main(void) { return 0; }"))
        code, out, errors = self.call("-t", self.pod.target, "-e", program,
                                      "-f", self.config({"internal_proxy": {"start_idle_timeout": 1}}))
        self.assertEqual((0, ""), (code, errors))
        warnings = [line["message"] for line in self.lines(out) if line["type"] == "Warning"]
        self.assertEqual(1, len(warnings), out)
        self.assertIn("statically linked", warnings[0])


class Session(ExtTest):
    def test_it_waits_for_the_next_program(self):
        launch = self.launch(settings={"internal_proxy": {"idle_timeout": 3, "start_idle_timeout": 20}})
        for _ in range(3):
            self.assertEqual(b"shop\n", self.start(launch, "printenv", "DB_NAME").stdout)
            time.sleep(0.7)
        self.assertTrue(os.path.isdir(launch["environment"]["MIRRORD_SESSION"]))

    def ends_within(self, launch, seconds):
        directory = launch["environment"]["MIRRORD_SESSION"]
        return wait_until(lambda: not os.path.exists(directory), seconds)

    def test_it_ends_after_the_last_program(self):
        launch = self.launch()
        self.start(launch, "true")
        self.assertTrue(self.ends_within(launch, 5))
        self.assertTrue(wait_until(lambda: all("demo" in command for command in self.processes().values()),
                                   END_SECONDS))
        late = self.start(launch, "cat", "/app/version")
        self.assertNotEqual(0, late.returncode)
        self.assertIn(b"mirrord session has ended", late.stderr)

    def test_it_ends_when_no_program_comes(self):
        launch = self.launch(settings={"internal_proxy": {"start_idle_timeout": 2}})
        self.assertFalse(self.ends_within(launch, 1))
        self.assertTrue(self.ends_within(launch, 5))

    def test_it_lives_as_long_as_a_program_that_runs(self):
        launch = self.launch()
        done = self.start(launch, "sh", "-c", "sleep 4; cat /app/version")
        self.assertEqual((self.pod.read("/app/version"), b""), (done.stdout, done.stderr))

    def test_a_program_without_the_hook_is_told_so(self):
        launch = self.launch()
        errors = self.start(launch, "sleep", "8", env={"LD_PRELOAD": ""}).stderr.decode()
        self.assertEqual(1, errors.count("\n"), errors)
        self.assertRegex(errors, "mirrord: warning: the program runs without mirrord: .*started without LD_PRELOAD")

    def test_a_debugger_without_the_hook_keeps_it_and_is_told_nothing(self):
        program = os.path.join(self.folder, "debugger")
        source = self.local_file("debugger.c", b"""
            #include <stdlib.h>
            #include <unistd.h>
            int main(void) {
              sleep(7);
              if (system("cat /app/version") != 0) return 1;
              sleep(4);
              return system("cat /app/version") == 0 ? 0 : 1;
            }""")
        compile_with("gcc", "-static", "-o", program, source)
        launch = self.launch(settings={"internal_proxy": {"idle_timeout": 1, "start_idle_timeout": 2}})
        done = self.start(launch, program, env={"MIRRORD_SKIP_PROCESSES": "dlv;debugger"})
        self.assertEqual((0, self.pod.read("/app/version") * 2, b""), (done.returncode, done.stdout, done.stderr))
        self.assertTrue(self.ends_within(launch, 5))

    def test_a_static_program_that_is_no_debugger_is_named(self):
        launch = self.launch()
        program = os.path.join(self.folder, "static")
        compile_with("gcc", "-static", "-o", program,
                     self.local_file("static.c", b"#include <unistd.h>\nint main(void) { sleep(8); }"))
        errors = self.start(launch, program, env={"MIRRORD_SKIP_PROCESSES": "dlv"}).stderr.decode()
        self.assertRegex(errors, "^mirrord: warning: the program runs without mirrord: .*statically linked.*\n$")

    def test_a_program_with_the_hook_is_told_nothing(self):
        self.assertEqual(b"", self.start(self.launch(), "sleep", "7").stderr)

    def test_nothing_stays_of_a_start_that_the_editor_stops(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            path = self.config({"agent": {"startup_timeout": 3},
                                "connect_tcp": "127.0.0.1:%d" % silent.getsockname()[1]})
            process = subprocess.Popen([self.mirrord, "ext", "-f", path], cwd=self.work, stdin=subprocess.DEVNULL,
                                       env={**self.env, **PLUGIN}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.started.append(process)
            silent.accept()[0].detach()
            process.send_signal(signal.SIGTERM)
            self.assertEqual(-signal.SIGTERM, process.wait(10))


    def test_nothing_stays_if_the_environment_cannot_be_made(self):
        path = self.config({"feature": {"env": {"env_file": self.local_file("wrong.env", b"no assignment\n")}}})
        code, out, errors = self.call("-t", self.pod.target, "-f", path)
        self.assertEqual((1, False), (code, self.lines(out)[-1]["success"]))
        self.assertIn("wrong.env:1", json.loads(errors[len("Error: "):])["message"])

    def test_nothing_stays_if_the_editor_has_gone(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([self.mirrord, "ext", "-t", self.pod.target], cwd=self.work, stdin=subprocess.DEVNULL,
                              env={**self.env, **PLUGIN}, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(writer)
        self.assertEqual(1, done.returncode)
        self.assertIn(b"nobody reads it", done.stderr)


class Refusals(ExtTest):
    def error(self, *arguments, code=1, out=BEGIN + FAILED, **options):
        got, text, errors = self.call(*arguments, **options)
        self.assertEqual((code, out), (got, text), errors)
        self.assertTrue(errors.startswith("Error: ") and errors.endswith("}\n"), errors)
        self.assertEqual(1, errors.count("\n"), errors)
        return errors

    def test_an_error_byte_for_byte(self):
        errors = self.error("-t", "nonsense/x")
        report = json.loads(errors[len("Error: "):])
        self.assertEqual(["message", "severity", "causes", "help", "labels", "related"], list(report))
        self.assertTrue(report["message"].startswith("Failed to verify mirrord config: "), report)
        quoted = [json.dumps(report[key], ensure_ascii=False) for key in ("message", "help")]
        self.assertEqual('Error: {"message": %s,"severity": "error","causes": [],"help": %s,"labels": [],'
                         '"related": []}\n' % tuple(quoted), errors)

    def test_all_errors_of_a_configuration_are_in_the_one_line(self):
        path = self.config({"feature": {"fs": "nonsense"}, "internal_proxy": {"idle_timeout": "soon"}})
        message = json.loads(self.error("-f", path)[len("Error: "):])["message"]
        self.assertIn("nonsense", message)
        self.assertIn("idle_timeout", message)

    def test_every_wrong_form_of_the_arguments(self):
        for arguments in (("--nonsense",), ("-x",), ("word",), ("-t",), ("-e",), ("--target",), ("-f", "a", "b"),
                          ("--",), ("",)):
            with self.subTest(arguments):
                self.error(*arguments, code=2, out="")

    def test_wrong_configurations(self):
        files = {"empty": b"", "binary": bytes(range(256)), "deep": b"[" * 100_000, "list": b"[1,2]",
                 "cut": b'{"feature": {"fs": ', "unknown": b'{"featur": 1}', "latin": b'{"target": "\xe9"}'}
        for name, content in files.items():
            with self.subTest(name):
                self.error("-f", self.local_file(name + ".json", content), "-t", "foo/bar")
        self.error("-f", os.path.join(self.work, "missing.json"))
        self.error("-f", self.work)
        self.error("-f", "/dev/zero")
        self.error(env={"MIRRORD_CONFIG_FILE": "/nonexistent/mirrord.json"})
        for target in ("foo/bar", "pod", "process/0", "process/x", "\xff"):
            with self.subTest(target):
                self.error("-t", target)

    def test_the_file_has_a_default_name(self):
        self.assertIn("mirrord.json", self.error("-f"))
        self.local_file("mirrord.json", b'{"target": "nonsense/of-the-file"}')
        self.assertIn("nonsense/of-the-file", self.error("-f"))
        self.assertIn("nonsense/of-the-file", self.error("-f", "./mirrord.json"))
        self.assertIn("other/one", self.error("-t", "other/one", "-f"))

    def test_an_agent_that_cannot_be_reached(self):
        path = self.config({"connect_tcp": "127.0.0.1:1"})
        code, out, errors = self.call("-f", path)
        self.assertEqual(1, code)
        self.assertEqual([False, False], [line["success"] for line in self.lines(out) if line["type"] == "FinishedTask"])
        self.assertEqual(1, errors.count("\n"))
        self.assertIn("127.0.0.1:1", json.loads(errors[len("Error: "):])["message"])

    def test_the_form_for_people_is_only_for_a_console(self):
        code, out, errors = self.call("-t", "foo/bar", env={"MIRRORD_CONSOLE_ADDR": "127.0.0.1:1"})
        self.assertEqual((1, BEGIN + FAILED), (code, out))
        self.assertRegex(errors, "^Error: Failed to verify mirrord config: .*foo/bar.*\n  Valid targets: .*\n$")
        # A terminal makes no difference.
        pid, master = pty.fork()
        if pid == 0:
            os.execve(self.mirrord, [self.mirrord, "ext", "-t", "foo/bar"], {**self.env, **PLUGIN})
        text = b""
        while select.select([master], [], [], 20)[0]:
            try:
                text += os.read(master, 4096)
            except OSError:
                break
        os.close(master)
        self.assertEqual(1, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.assertIn(b'Error: {"message": "Failed to verify', text)
