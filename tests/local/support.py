# tests/local/support.py — a pod to run programs against, and a check that nothing stays behind.
import ctypes
import fcntl
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

from leftovers import Leftovers, marked_processes

libc = ctypes.CDLL(None, use_errno=True)
SOURCE = os.environ.get("MIRRORD_SOURCE_DIR", "")
APPS = os.path.join(SOURCE, "tests", "apps")
APP_CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                         "mirrord-build", "test-apps")
# Before a program: it runs in a network of its own that has nothing but loopback.
OWN_NETWORK = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"')
SANITIZE = os.environ.get("MIRRORD_SANITIZE", "")  # what the executable under test was built with
# A program under the hook that is the executable itself has the hook before the sanitizer's library.
SANITIZER_OPTIONS = {"TSAN_OPTIONS": "die_after_fork=0", "ASAN_OPTIONS": "verify_asan_link_order=0"}
END_SECONDS = 20 if SANITIZE else 8  # how long a session may take to disappear after its program


def need(*programs):
    """Skips the test where one of the programs is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise unittest.SkipTest(program + " is not installed")
    return shutil.which(programs[0])


def wait_until(condition, seconds, step=0.02):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


def enter(pid, *kinds):
    """Moves this (single-threaded) process into namespaces of another one."""
    files = {}
    for kind in ("user",) + kinds:
        path = "/proc/%d/ns/%s" % (pid, kind)
        if os.readlink(path) != os.readlink("/proc/self/ns/" + kind):
            files[kind] = os.open(path, os.O_RDONLY)
    for kind, fd in files.items():
        if libc.setns(fd, 0) != 0:
            raise OSError(ctypes.get_errno(), "setns " + kind)
    if "mnt" in kinds:
        os.chdir("/")


def describe_tree(top):
    """Everything below a folder: relative path -> (type, mode, size or link target, SHA-256)."""
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            kind, mode = stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode)
            relative = os.path.relpath(path, top)
            if stat.S_ISREG(info.st_mode):
                found[relative] = ("file", mode, info.st_size, sha256_file(path))
            elif stat.S_ISLNK(info.st_mode):
                found[relative] = ("link", 0, os.readlink(path), "")
            else:
                found[relative] = (kind, mode, 0, "")
    return found


_claimed_ports = []  # one socket for each; their names end with this process


def free_port():
    """A TCP port that nobody has in any family, and that no other test gets while this one runs: it is below
    those that the kernel hands out, and claimed by the name of a socket."""
    while True:
        port = random.randrange(11000, 30000)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind("\0mirrord-test-port-%d" % port)
            socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True).close()
        except OSError:
            claim.close()
        else:
            _claimed_ports.append(claim)
            return port


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def write_file(path, data, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


class Pod:
    """`mirrord demo --serve`: the target, and the place where the truth is looked up."""

    def __init__(self, mirrord, env):
        self.owner = subprocess.Popen([mirrord, "demo", "--serve"], stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env)
        line = self.owner.stdout.readline()
        if not line:
            raise RuntimeError("no pod: " + self.owner.stderr.read().decode())
        self.pid = int(line)
        self.target = "process/%d" % self.pid

    def inside(self, function, *arguments):
        """Calls the function in the pod's namespaces and root; returns what it returns."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                enter(self.pid, "net", "uts", "ipc", "mnt")
                answer = (True, function(*arguments))
            except BaseException:
                answer = (False, traceback.format_exc())
            with os.fdopen(writer, "wb") as file:
                pickle.dump(answer, file)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            ok, value = pickle.load(file)
        os.waitpid(child, 0)
        if not ok:
            raise AssertionError("inside the pod: " + value)
        return value

    def inside_socket(self, address):
        """A datagram socket in the pod's network, bound to an address."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            try:
                enter(self.pid, "net")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
                    made.bind(address)
                    socket.send_fds(theirs, [b"x"], [made.fileno()])
            finally:
                os._exit(0)
        theirs.close()
        with ours:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        os.waitpid(child, 0)
        return socket.socket(fileno=descriptors[0])

    def popen(self, *command, kinds=("net",), **options):
        """Starts a program of this machine in some of the pod's namespaces."""
        return subprocess.Popen(command, preexec_fn=lambda: enter(self.pid, *kinds), **options)

    def read(self, path):
        return self.inside(read_file, path)

    def write(self, path, data, mode=0o644):
        self.inside(write_file, path, data, mode)

    def tree(self, path):
        return self.inside(describe_tree, path)

    def stop(self):
        if self.owner.poll() is None:
            self.owner.terminate()
        self.owner.wait(10)
        self.owner.stdout.close()
        self.owner.stderr.close()


class LocalTest(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        # The temporary folder is local by default; its name marks whatever this test starts.
        self.folder = tempfile.mkdtemp(prefix="mirrord-test-")
        os.chmod(self.folder, 0o755)
        self.work = os.path.join(self.folder, "work")
        self.runtime = os.path.join(self.folder, "runtime")
        self.temporary = os.path.join(self.folder, "tmp")
        for name in (self.work, self.runtime, self.temporary):
            os.mkdir(name, 0o700)
        self.mirrord = os.path.join(self.folder, "mirrord")
        binary = os.environ["MIRRORD"]
        try:
            os.link(binary, self.mirrord)
        except OSError:
            shutil.copy2(binary, self.mirrord)
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith("MIRRORD") and name != "KUBECONFIG"}
        self.env.update({"MIRRORD_PROGRESS_MODE": "off", "XDG_RUNTIME_DIR": self.runtime,
                         "TMPDIR": self.temporary, "TEST_MARK": self.folder, "LC_ALL": "C.UTF-8"})
        self.reports = os.path.join(self.folder, "sanitizer")
        if SANITIZE:
            os.mkdir(self.reports)
            os.chmod(self.reports, 0o777)
            for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
                self.env[name] = "log_path=%s/report:%s" % (self.reports, SANITIZER_OPTIONS.get(name, ""))
        self.leftovers = Leftovers(self.folder, self.runtime, self.temporary)
        self.started = []
        self._pod = None

    def tearDown(self):
        self.leftovers.watch()
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    stream.close()
        if self._pod is not None:
            self._pod.stop()
        left = wait_until(lambda: not self.leftovers.find(), END_SECONDS) or self.leftovers.find()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reports = b"".join(read_file(os.path.join(self.reports, name)) for name in sorted(
            os.listdir(self.reports) if os.path.isdir(self.reports) else []))
        shutil.rmtree(self.folder, ignore_errors=True)
        self.assertEqual("", reports.decode(errors="replace"), "a sanitizer has found something")
        self.assertIs(True, left, "stayed behind")

    def processes(self):
        """Every process that this test has brought about and that still runs."""
        return marked_processes(self.folder)

    def victim(self, which):
        """The session's process of that role, "agent" or "intproxy"; None while there is none."""
        for pid, command in self.processes().items():
            try:
                is_ours = os.readlink("/proc/%d/exe" % pid).startswith(self.mirrord) and \
                    read_file("/proc/%d/comm" % pid) != b"mirrord-redis\n"
            except OSError:
                continue
            is_agent = " agent" in command or "mirrord-agent" in command
            if is_ours and "demo" not in command and is_agent == (which == "agent"):
                return pid
        return None

    @property
    def pod(self):
        if self._pod is None:
            self._pod = Pod(self.mirrord, self.env)
        return self._pod

    def command(self, *program, target=None, config=None, mode=None, flags=(), before=(), verb=("exec",)):
        """The command line of a program under mirrord; a target is a name, or the words that say it. The words
        `before` come before mirrord's own."""
        words = [*before, self.mirrord, *verb, *(target if isinstance(target, list) else ["--target", target or self.pod.target])]
        settings = dict(config or {})
        if mode is not None:
            settings.setdefault("feature", {})["fs"] = mode
        if settings:
            path = os.path.join(self.folder, "config-%d.json" % len(os.listdir(self.folder)))
            with open(path, "w", encoding="utf-8") as file:
                json.dump(settings, file)
            words += ["-f", path]
        return words + list(flags) + ["--", *program]

    def run_remote(self, *program, status=0, stdin=b"", timeout=60, env=None, cwd=None, **options):
        """Runs a program under mirrord and returns (stdout, stderr) as bytes."""
        command = self.command(*program, **options)
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout,
                              env={**self.env, **(env or {})}, cwd=cwd or self.work, check=False)
        if status is not None:
            self.assertEqual(status, done.returncode,
                             "%s\nstdout: %s\nstderr: %s" % (program, done.stdout[-2000:].decode(errors="replace"),
                                                             done.stderr[-4000:].decode(errors="replace")))
        return done.stdout, done.stderr

    def output(self, *program, **options):
        return self.run_remote(*program, **options)[0].decode(errors="surrogateescape")

    def start_remote(self, *program, env=None, **options):
        """Starts a program under mirrord in the background."""
        keys = ("target", "config", "mode", "flags", "before")
        command = self.command(*program, **{k: options.pop(k) for k in keys if k in options})
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                    "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(command, env={**self.env, **(env or {})},
                                   cwd=self.work, **settings)
        self.started.append(process)
        return process

    def start_target(self, *program):
        """Starts a program in a network of its own; it has said that it is ready."""
        target = subprocess.Popen([*OWN_NETWORK, *program], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started.append(target)
        self.assertEqual(b"ready\n", target.stdout.readline())
        return target

    def local_file(self, name, data=b"local\n", mode=0o644):
        path = os.path.join(self.work, name)
        write_file(path, data, mode)
        return path

    def app(self, name):
        """A program under test, by its path in tests/apps."""
        return os.path.join(APPS, name)


def build_once(name, sources, make):
    """Builds a program under test outside the source tree, again only when a source changes."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(read_file(os.path.join(APPS, source)))
    folder = os.path.join(APP_CACHE, "%s-%s" % (name, digest.hexdigest()[:12]))
    os.makedirs(APP_CACHE, exist_ok=True)
    # Tests run side by side: one builds, the others wait for it.
    with open(os.path.join(APP_CACHE, name + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(folder, ".done")):
            scratch = tempfile.mkdtemp(prefix=name + ".", dir=APP_CACHE)
            make(scratch)
            write_file(os.path.join(scratch, ".done"), b"")
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(scratch, folder)
    return folder


def compile_with(*command, cwd=None, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd,
                          env={**os.environ, **(env or {})}, check=False)
    if done.returncode != 0:
        raise RuntimeError("%s\n%s" % (" ".join(command), done.stdout.decode(errors="replace")))


def go_program(name, package, *sources):
    """Builds a program of the module in tests/apps/go: a folder of it, or a tool that its go.mod names."""
    need("go")
    done = subprocess.run(["go", "list", "-m"], cwd=os.path.join(APPS, "go"), capture_output=True, text=True, check=False)
    if "requires go >= " in done.stderr:
        raise unittest.SkipTest(done.stderr.strip())
    files = ["go/go.mod", "go/go.sum"] + ["go/" + source for source in sources]
    folder = build_once(name, files, lambda out: compile_with(
        "go", "build", "-o", os.path.join(out, name), package, cwd=os.path.join(APPS, "go"),
        env={"CGO_ENABLED": "1", "GOFLAGS": "-p=2", "GO111MODULE": "on"}))
    return os.path.join(folder, name)


def python_with(*modules):
    """A Python interpreter that has these modules."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([candidate, "-c", "import " + ", ".join(modules or ("sys",))],
                              capture_output=True, check=False)
        if done.returncode == 0:
            return candidate
    raise unittest.SkipTest("no Python with " + ", ".join(modules))
