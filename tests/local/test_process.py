# tests/local/test_process.py — exit status, signals, terminal, streams: the program's own, untouched.
import os
import pty
import select
import signal
import subprocess
import time

from support import LocalTest, compile_with, need, python_with, wait_until


class Process(LocalTest):
    def test_exit_status_is_the_programs(self):
        for status in (0, 1, 7, 255):
            self.run_remote("sh", "-c", "exit %d" % status, status=status)

    def test_death_by_signal_is_the_programs(self):
        self.run_remote("sh", "-c", "kill -SEGV $$", status=-signal.SIGSEGV)

    def test_process_id_is_that_of_the_command(self):
        process = self.start_remote("sh", "-c", "echo $$")
        output, _ = process.communicate(timeout=30)
        self.assertEqual(process.pid, int(output))

    def test_signals_reach_the_program(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            process = self.start_remote(
                "bash", "-c", "trap 'echo caught; exit 9' INT TERM USR1; echo ready; while :; do sleep 0.05; done")
            self.assertEqual(b"ready\n", process.stdout.readline())
            process.send_signal(number)
            self.assertEqual((b"caught\n", 9), (process.communicate(timeout=20)[0], process.returncode))

    def test_a_killed_program_ends_its_session(self):
        process = self.start_remote("sleep", "1000")
        wait_until(lambda: any("intproxy" in line or "agent" in line for line in self.processes().values()) or
                   len(self.processes()) > 3, 10)
        time.sleep(0.3)
        process.kill()
        process.wait(10)
        self.assertEqual(-signal.SIGKILL, process.returncode)
        # tearDown checks that everything else goes away by itself.

    def test_spawned_programs_are_redirected_to_remote_files(self):
        program = """
import os
actions = [(os.POSIX_SPAWN_OPEN, 0, '/app/version', os.O_RDONLY, 0),
           (os.POSIX_SPAWN_OPEN, 1, '/data/spawned', os.O_WRONLY | os.O_CREAT, 0o640),
           (os.POSIX_SPAWN_DUP2, 1, 2)]
child = os.posix_spawnp('sh', ['sh', '-c', 'cat; echo error >&2; exit 7'], os.environ, file_actions=actions)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), open('/data/spawned').read().split())
try: os.posix_spawnp('cat', ['cat'], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, '/data/no', 0, 0)])
except FileNotFoundError: print('not found')
"""
        self.assertEqual("7 ['2.14.0', 'error']\nnot found\n", self.output(python_with(), "-c", program, mode="write"))
        self.assertEqual(b"2.14.0\nerror\n", self.pod.read("/data/spawned"))

    def test_standard_input_and_output_are_pipes(self):
        data = os.urandom(2_000_000)
        self.assertEqual(data, self.run_remote("cat", stdin=data)[0])

    def test_nothing_is_printed_besides_the_program(self):
        self.assertEqual((b"", b""), self.run_remote("true"))

    def test_closed_standard_streams_do_no_harm(self):
        for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            command = self.command("sh", "-c", "cat /app/version > %s/out" % self.work)
            line = " ".join("'%s'" % word for word in command) + " " + closing
            done = subprocess.run(["sh", "-c", line], env=self.env, cwd=self.work, timeout=60, check=False)
            self.assertEqual(0, done.returncode, closing)
            with open(os.path.join(self.work, "out"), "rb") as file:
                self.assertEqual(self.pod.read("/app/version"), file.read(), closing)

    def test_output_ends_with_the_program(self):
        # Nobody of the session keeps the pipe open: the reader sees the end at once.
        started = time.monotonic()
        self.assertEqual("x\n", self.output("echo", "x"))
        self.assertLess(time.monotonic() - started, 5)

    def test_broken_pipe_ends_the_program(self):
        line = " ".join("'%s'" % word for word in self.command("yes")) + " | head -n 2"
        done = subprocess.run(["bash", "-c", line + "; echo ${PIPESTATUS[0]}"], env=self.env, cwd=self.work,
                              capture_output=True, timeout=60, check=False)
        self.assertEqual(b"y\ny\n141\n", done.stdout)

    def test_inherited_descriptors_stay_open(self):
        reader, writer = os.pipe()
        process = self.start_remote("sh", "-c", "echo through >&%d" % writer, pass_fds=(writer,))
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            self.assertEqual(b"through\n", file.read())
        process.wait(20)

    def test_background_children_keep_the_session(self):
        text = self.output("sh", "-c", "(sleep 1; cat /app/version) & exit 0")
        self.assertEqual(self.pod.read("/app/version").decode(), text)

    def test_limits_and_mask_are_untouched(self):
        bare = subprocess.run(["sh", "-c", "ulimit -n; umask; ulimit -c; cat /proc/self/status | grep -E '^(SigBlk|SigIgn)'"],
                              capture_output=True, check=True, env=self.env).stdout.decode()
        self.assertEqual(bare, self.output(
            "sh", "-c", "ulimit -n; umask; ulimit -c; cat /proc/self/status | grep -E '^(SigBlk|SigIgn)'"))


class Loading(LocalTest):
    """A program that runs without the hook is never silent about it."""

    def errors(self, *program):
        """What is on standard error besides the steps of the start."""
        lines = self.run_remote(*program, env={"MIRRORD_PROGRESS_MODE": "standard"})[1].decode().splitlines(True)
        self.assertIn("mirrord: Ready!\n", lines)
        return "".join(line for line in lines if "warning: " in line or lines.index("mirrord: Ready!\n") < lines.index(line))

    def compile(self, name, source, *flags):
        path = os.path.join(self.folder, name)
        with open(path + ".c", "w", encoding="utf-8") as file:
            file.write(source)
        compile_with("gcc", "-o", path, path + ".c", *flags)
        return path

    def test_a_program_that_loads_the_hook_gets_no_warning(self):
        self.assertEqual("", self.errors("sleep", "4"))

    def test_a_static_program_is_named_before_it_starts(self):
        program = self.compile("static", "int main(void) { return 0; }", "-static")
        errors = self.errors(program)
        self.assertEqual(1, errors.count("warning:"), errors)
        self.assertIn("`%s` is statically linked" % program, errors)

    def test_a_loader_that_ignores_the_hook_is_named_after_some_seconds(self):
        loader = self.compile("loader", """
            #include <sys/syscall.h>
            #include <time.h>
            static long call(long number, const void* first) {
              long result;
              __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(0)
                               : "rcx", "r11", "memory");
              return result;
            }
            void _start(void) {
              struct timespec time = {4, 0};
              call(SYS_nanosleep, &time);
              call(SYS_exit_group, 0);
            }""", "-nostdlib", "-static-pie", "-fPIE", "-fno-stack-protector")
        program = self.compile("program", "int main(void) { return 0; }",
                               "-Wl,--dynamic-linker=" + loader)
        errors = self.errors(program)
        self.assertIn("the program runs without mirrord: the loader of `%s` did not load" % program, errors)

    def test_standard_error_is_released_with_the_first_process(self):
        started = time.monotonic()
        self.assertEqual("", self.errors("true"))
        self.assertLess(time.monotonic() - started, 2.5)


class Terminal(LocalTest):
    def spawn(self, *program):
        command = self.command(*program)
        pid, master = pty.fork()
        if pid == 0:
            os.chdir(self.work)
            os.execvpe(command[0], command, self.env)
        self.addCleanup(self.close, pid, master)
        return pid, master

    def close(self, pid, master):
        os.close(master)
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def read_until(self, master, text, seconds=20):
        got = b""
        end = time.monotonic() + seconds
        while text not in got and time.monotonic() < end:
            if select.select([master], [], [], 0.2)[0]:
                try:
                    got += os.read(master, 65536)
                except OSError:
                    break
        self.assertIn(text, got)
        return got

    def test_the_terminal_is_the_programs(self):
        pid, master = self.spawn("sh", "-c", "tty; test -t 0 && test -t 1 && echo is-a-terminal; cat /app/version")
        self.assertIn(b"/dev/pts/", self.read_until(master, b"2.14.0"))
        self.assertEqual(0, os.waitpid(pid, 0)[1])

    def test_interrupt_from_the_keyboard(self):
        pid, master = self.spawn("sh", "-c", "trap 'echo interrupted; exit 3' INT; echo ready; "
                                             "while :; do sleep 0.05; done")
        self.read_until(master, b"ready")
        os.write(master, b"\x03")
        self.read_until(master, b"interrupted")
        self.assertEqual(3, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def test_job_control_in_an_interactive_shell(self):
        need("bash")
        pid, master = self.spawn("bash", "--norc", "--noprofile", "-i")
        os.write(master, b"PS1='> '; sleep 100\n")
        wait_until(lambda: any(line.startswith("sleep 100") for line in self.processes().values()), 10)
        time.sleep(0.2)
        os.write(master, b"\x1a")
        self.read_until(master, b"Stopped")
        os.write(master, b"bg; jobs; kill %1; wait; cat /app/version; exit 5\n")
        self.read_until(master, b"2.14.0")
        self.assertEqual(5, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def test_stop_and_continue(self):
        process = self.start_remote(python_with(), "-c",
                                    "import time\nprint('ready', flush=True)\ninput()\nprint(open('/app/version').read())")
        self.assertEqual(b"ready\n", process.stdout.readline())
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(b"\n", timeout=20)
        self.assertIn(b"2.14.0", output)
