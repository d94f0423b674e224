# tests/local/test_faults.py — bad input, killed parts, exhausted resources: an errno or a message, no hang.
import os
import re
import signal
import socket
import subprocess
import threading
import time

from support import LocalTest, need, python_with, wait_until

# Reads a large file in two halves, and says how the second one went.
READ_ON = """
import errno, sys
with open('/data/archive.bin', 'rb', buffering=0) as file:
    file.read(65536); print('ready', flush=True); input()
    try:
        size = 0
        while part := file.read(1 << 16):
            size += len(part)
        print('read', size)
    except OSError as error:
        print(errno.errorcode[error.errno])
try:
    open('/data/README').read(); print('opened')
except OSError as error:
    print(errno.errorcode[error.errno])
"""

RECEIVE_ON = """
import socket
with socket.create_connection(('echo', 7777)) as s:
    s.sendall(b'x'); s.recv(1); print('ready', flush=True); input()
    s.settimeout(15)
    try:
        s.sendall(b'y' * 1000)
        print('received', len(s.recv(100)))
    except OSError as error:
        print(type(error).__name__)
"""

# 10.244.1.18 is nobody's: a connection attempt waits there for seconds.
CONNECT_ON = """
import socket, time
print('ready', flush=True)
started = time.monotonic()
try:
    with socket.socket() as s:
        s.connect(('10.244.1.18', 80)); print('connected')
except OSError as error:
    print('failed')
"""

WRITE_ON = """
import os, sys
fd = os.open('/data/out', os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b'x' * 1000); print('ready', flush=True); input()
try:
    for _ in range(200):
        os.write(fd, b'x' * 100_000)
    os.fsync(fd); os.close(fd); print('written')
except OSError as error:
    print('failed')
"""


OPEN_ON = """
import errno, os
def attempt(call):
    try: call(); return 'done'
    except OSError as error: return errno.errorcode[error.errno]
open('/data/README').read(); print('ready', flush=True); input()
print(attempt(lambda: open('/data/README')), attempt(lambda: os.stat('/data/README')),
      attempt(lambda: os.listdir('/data')), flush=True); input()
open('/data/README').read(); print('works again')
"""


class LostParts(LocalTest):
    def part(self, which):
        """PIDs of the agent or of the intproxy of the session."""
        found = []
        for pid, command in self.processes().items():
            try:
                program = os.readlink("/proc/%d/exe" % pid)
            except OSError:
                continue
            if not program.startswith(self.mirrord) or "--internal-pod" in command or "--serve" in command:
                continue
            is_agent = bool(re.search(r"(^|/)mirrord(-agent)?\S* (agent|demo --internal-agent)|mirrord-agent", command))
            if is_agent == (which == "agent"):
                found.append(pid)
        return found

    def lose(self, which, program, mode=None):
        process = self.start_remote(python_with(), "-c", program, mode=mode)
        line = process.stdout.readline()
        self.assertEqual(b"ready\n", line, process.stderr.read() if not line else "")
        time.sleep(0.3 if program is CONNECT_ON else 0)
        victims = wait_until(lambda: self.part(which), 5)
        self.assertEqual(1, len(victims), self.processes())
        os.kill(victims[0], signal.SIGKILL)
        wait_until(lambda: not self.part(which), 5)
        started = time.monotonic()
        output, errors = process.communicate(b"\n", timeout=40)
        self.assertEqual(0, process.returncode, errors.decode())
        self.assertLess(time.monotonic() - started, 20)
        if which == "intproxy":
            # Nobody is left to remove the session's files: the next session does.
            time.sleep(2.1)
            self.run_remote("true")
        return output.decode().split("\n")[:-1]

    def check_read(self, which):
        first, second = self.lose(which, READ_ON)
        # What had arrived already may be read to the end; then nothing more comes.
        self.assertIn(first, ("EIO", "ENOTCONN", "EPIPE", "ECONNRESET", "read %d" % ((8 << 20) - 65536)))
        self.assertNotEqual("opened", second)

    def test_agent_killed_while_a_file_is_read(self):
        self.check_read("agent")

    def test_intproxy_killed_while_a_file_is_read(self):
        self.check_read("intproxy")

    def test_agent_killed_while_a_file_is_written(self):
        self.assertEqual(["failed"], self.lose("agent", WRITE_ON, mode="write"))

    def test_intproxy_killed_while_a_file_is_written(self):
        self.assertEqual(["failed"], self.lose("intproxy", WRITE_ON, mode="write"))

    def test_agent_killed_during_a_connection(self):
        self.assertIn(self.lose("agent", RECEIVE_ON)[0],
                      ("received 0", "ConnectionResetError", "BrokenPipeError"))

    def test_intproxy_killed_during_a_connection(self):
        self.assertIn(self.lose("intproxy", RECEIVE_ON)[0],
                      ("received 0", "ConnectionResetError", "BrokenPipeError"))

    def test_agent_killed_while_a_connection_is_made(self):
        self.assertEqual(["failed"], self.lose("agent", CONNECT_ON))

    def test_intproxy_killed_while_a_connection_is_made(self):
        self.assertEqual(["failed"], self.lose("intproxy", CONNECT_ON))

    def test_target_killed_during_a_session(self):
        process = self.start_remote(python_with(), "-c", READ_ON)
        self.assertEqual(b"ready\n", process.stdout.readline())
        os.kill(self.pod.pid, signal.SIGKILL)
        process.communicate(b"\n", timeout=40)
        self.assertEqual(0, process.returncode)


    def test_intproxy_stopped_and_continued(self):
        process = self.start_remote(python_with(), "-c", OPEN_ON, env={"MIRRORD_ANSWER_LIMIT_MS": "1000"})
        self.assertEqual(b"ready\n", process.stdout.readline())
        intproxy = wait_until(lambda: self.part("intproxy"), 5)[0]
        os.kill(intproxy, signal.SIGSTOP)
        try:
            started = time.monotonic()
            process.stdin.write(b"\n")
            process.stdin.flush()
            self.assertEqual(b"EIO EIO EIO\n", process.stdout.readline())
            self.assertLess(time.monotonic() - started, 10)
        finally:
            os.kill(intproxy, signal.SIGCONT)
        output, errors = process.communicate(b"\n", timeout=40)
        self.assertEqual(b"works again\n", output)
        self.assertEqual(1, errors.count(b"does not answer"), errors)


class BadInput(LocalTest):
    def refuse(self, *words, status=None):
        done = subprocess.run([self.mirrord, "exec", *words], env=self.env, cwd=self.work, capture_output=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
        self.assertNotEqual(0, done.returncode)
        self.assertEqual(b"", done.stdout)
        return done.stderr.decode()

    def test_a_missing_program(self):
        text = self.refuse("--target", self.pod.target, "--", "no-such-program-here")
        self.assertIn("no-such-program-here", text)
        text = self.refuse("--target", self.pod.target, "--", "./not/here")
        self.assertIn("./not/here", text)

    def test_a_file_that_is_no_program(self):
        path = self.local_file("data", b"\x01\x02\x03", 0o644)
        self.assertIn(path, self.refuse("--target", self.pod.target, "--", path))

    def test_no_program_at_all(self):
        self.assertNotEqual("", self.refuse("--target", self.pod.target))

    def test_a_configuration_that_is_not_there(self):
        self.assertIn("/no/such.json", self.refuse("-f", "/no/such.json", "--", "echo", "ran"))
        self.assertIn(self.work, self.refuse("-f", self.work, "--", "echo", "ran"))

    def test_a_configuration_with_a_mistake(self):
        for text, expected in (('{"feature": {\n"fs": }}', "2"), ('{"featur": {}}', "featur"),
                               ('{"feature": {"fs": "sideways"}}', "sideways"),
                               ('{"feature": {"fs": {"read_only": ["("]}}}', "read_only"),
                               ("\xff\xfe", "wrong")):
            path = self.local_file("wrong.json", text.encode("latin-1"))
            with self.subTest(text):
                errors = self.refuse("-f", path, "--target", self.pod.target, "--", "echo", "ran")
                self.assertIn(expected, errors)
                self.assertIn("wrong.json", errors)

    def test_a_configuration_without_permission(self):
        if os.geteuid() == 0:
            need("setpriv")
            path = self.local_file("secret.json", b"{}", 0o600)
            for folder in (self.folder, self.work):
                os.chmod(folder, 0o777)
            done = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", self.mirrord, "exec", "-f", path,
                                   "--", "echo", "ran"], env=self.env, capture_output=True, timeout=30, check=False)
        else:
            path = self.local_file("secret.json", b"{}", 0o000)
            done = subprocess.run([self.mirrord, "exec", "-f", path, "--", "echo", "ran"], env=self.env,
                                  capture_output=True, timeout=30, check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertIn(b"secret.json", done.stderr)
        self.assertIn(b"ermission denied", done.stderr)

    def test_an_agent_that_speaks_nonsense(self):
        for words in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 4096, b""):
            with socket.create_server(("127.0.0.1", 0)) as server:
                def serve():
                    client, _ = server.accept()
                    with client:
                        client.sendall(words)
                        time.sleep(0.2)
                thread = threading.Thread(target=serve)
                thread.start()
                text = self.refuse("--agent-address", "127.0.0.1:%d" % server.getsockname()[1], "--", "echo", "ran")
                thread.join()
                self.assertRegex(text, "(?i)agent")

    def test_a_full_disk_at_extraction(self):
        need("unshare", "mount")
        full = os.path.join(self.folder, "full")
        os.mkdir(full)
        script = ("mount -t tmpfs -o size=64k,mode=1777 none '%s' && exec '%s' exec --target %s -- echo ran"
                  % (full, self.mirrord, self.pod.target))
        env = {**self.env, "XDG_RUNTIME_DIR": full, "XDG_CACHE_HOME": full, "TMPDIR": full, "HOME": full}
        flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
        done = subprocess.run(["unshare", *flags, "sh", "-c", script], env=env, capture_output=True, timeout=60,
                              check=False)
        self.assertNotEqual(0, done.returncode, done.stdout)
        self.assertEqual(b"", done.stdout)
        self.assertIn(b"No space left", done.stderr)


class Limits(LocalTest):
    def test_thousands_of_open_files(self):
        program = """
import glob, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
names = sorted(os.path.join(f, n) for f, _, ns in os.walk('/data/catalog') for n in ns)
files = [open(name, 'rb') for _ in range(10) for name in names]
total = sum(len(file.read()) for file in reversed(files))
print(len(files), total)
for file in files: file.close()
print(len(open(names[0]).read()) > 0, len(os.listdir('/proc/self/fd')) < 40)
"""
        total = sum(what[2] for what in self.pod.tree("/data/catalog").values() if what[0] == "file")
        self.assertEqual("3200 %d\nTrue True\n" % (total * 10), self.output(python_with(), "-c", program))

    def test_long_paths(self):
        def make_deep():
            os.chdir("/data")
            for _ in range(19):
                os.mkdir("d" * 200)
                os.chdir("d" * 200)
            with open("leaf", "w", encoding="utf-8") as file:
                file.write("deep\n")
            os.chdir("/")
        self.pod.inside(make_deep)
        path = "/data/" + ("d" * 200 + "/") * 19 + "leaf"
        self.assertEqual("deep\n", self.output("cat", path))
        for size in (4095, 4096, 5000, 70000):
            _, errors = self.run_remote("cat", "/data/" + "n" * (size - 6), status=1)
            self.assertIn(b"File name too long", errors)
        _, errors = self.run_remote("cat", "/data/" + "n/" * 2044 + "x", status=1)
        self.assertIn(b"No such file", errors)

    def test_names_that_are_not_utf8(self):
        odd = b"/data/odd/caf\xe9"

        def make():
            os.mkdir("/data/odd")
            for name in (odd, b"/data/odd/plain"):
                with open(name, "wb") as file:
                    file.write(b"text\n")
        self.pod.inside(make)
        # The wire protocol carries paths as UTF-8: an error, but no crash, and the others are there.
        self.run_remote("cat", odd, status=1)
        self.assertIn("plain", self.output("ls", "/data/odd"))
        local = os.path.join(os.fsencode(self.work), b"caf\xe9")
        with open(local, "wb") as file:
            file.write(b"here\n")
        self.assertEqual(b"here\n", self.run_remote("cat", local)[0])

    def test_a_growing_file_is_followed(self):
        process = self.start_remote("tail", "-n", "+1", "-f", "/var/log/shop.log")
        self.assertEqual(b"started\n", process.stdout.readline())
        for number in range(3):
            time.sleep(0.3)

            def append():
                with open("/var/log/shop.log", "a", encoding="utf-8") as file:
                    file.write("line %d\n" % number)
            self.pod.inside(append)
            self.assertEqual(b"line %d\n" % number, process.stdout.readline())
        process.kill()

    def test_a_program_that_closes_everything(self):
        program = """
import os
os.closerange(3, 65536)
try:
    os.closerange(3, 2 ** 31 - 1)
except (OverflowError, OSError): pass
print(open('/app/version').read(), end='')
for fd in range(3, 2000):
    try: os.close(fd)
    except OSError: pass
print(open('/app/version').read(), end='')
import socket
print(socket.gethostbyname('shop'))
"""
        self.assertEqual("2.14.0\n2.14.0\n10.96.12.34\n", self.output(python_with(), "-c", program))

    def test_a_daemon_keeps_its_session(self):
        out = os.path.join(self.work, "out")
        program = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for fd in (0, 1, 2): os.close(fd)
time.sleep(0.5)
open(sys.argv[1], 'w').write(open('/app/version').read())
"""
        self.run_remote(python_with(), "-c", program, out)
        self.assertTrue(wait_until(lambda: os.path.exists(out) and os.path.getsize(out) > 0, 10))
        with open(out, encoding="utf-8") as file:
            self.assertEqual("2.14.0\n", file.read())
