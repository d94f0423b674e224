# tests/local/test_containers.py — containers as targets, by name and id, whatever runtime made them.
# Runtimes and mirrord run in a mount namespace of the test, where /run and /var/lib are its own: all
# state lies where it lies by default, and none of it on this machine.
import json
import os
import shutil
import subprocess

from support import LocalTest, need, wait_until

# In the container: a server that only its own network sees, and a file for it to serve.
COMMAND = ["/bin/busybox", "httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"]
FILES = {"app/name": "of the container\n", "www/page": "from inside\n", "etc/hostname": "boxed\n",
         "etc/hosts": "127.0.0.1 localhost boxed\n10.1.2.3 neighbour\n", "etc/resolv.conf": "nameserver 127.0.0.1\n",
         "etc/passwd": "root:x:0:0:root:/:/bin/sh\n", "etc/group": "root:x:0:\n"}
FOLDERS = ("bin", "dev", "proc", "sys", "run", "tmp", "var/log", "root")
# crun wants one kind of control groups, not both.
ONE_KIND = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && "
PRIVATE = ("mount -t tmpfs -o mode=755 none /run && mount -t tmpfs -o mode=755 none /var/lib && "
           "mkdir -p /run/lock /var/lib/containers && %s echo ready && exec sleep 100000")


class ContainerTest(LocalTest):
    preparation = ""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("making a container needs root")
        need("busybox", "curl")
        self.name = "box-" + os.urandom(4).hex()
        self.group = self.name  # what its control groups are called
        self.root = os.path.join(self.folder, "rootfs")
        for folder in FOLDERS:
            os.makedirs(os.path.join(self.root, folder))
        for path, text in FILES.items():
            os.makedirs(os.path.dirname(os.path.join(self.root, path)), exist_ok=True)
            with open(os.path.join(self.root, path), "w", encoding="utf-8") as file:
                file.write(text)
        shutil.copy2(shutil.which("busybox"), os.path.join(self.root, "bin", "busybox"))
        os.symlink("busybox", os.path.join(self.root, "bin", "sh"))
        self.stops = []
        self.tool_env = {name: value for name, value in self.env.items() if name != "XDG_RUNTIME_DIR"}
        self.space = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", PRIVATE % self.preparation],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        self.started.append(self.space)
        self.assertEqual(b"ready\n", self.space.stdout.readline())
        self.enter = ["nsenter", "--mount", "--target", str(self.space.pid)]

    def tearDown(self):
        for stop in reversed(self.stops):
            stop()
        super().tearDown()
        groups = subprocess.run(["find", "/sys/fs/cgroup", "-name", "*%s*" % self.group], capture_output=True,
                                check=False).stdout.decode()
        self.assertEqual("", groups, "control groups stayed behind")

    def command(self, *program, **options):
        return self.enter + super().command(*program, **options)

    def tool(self, *words, timeout=60, **options):
        """Runs a runtime's command; what it starts must not keep our pipes."""
        log = os.path.join(self.folder, "log-%d" % len(os.listdir(self.folder)))
        with open(log, "wb") as file:
            status = subprocess.run([*self.enter, *words], stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=timeout,
                                    env=self.tool_env, check=False, **options).returncode
        with open(log, encoding="utf-8", errors="replace") as file:
            return status, file.read().strip()

    def start(self, *words, **options):
        status, text = self.tool(*words, **options)
        if status != 0:
            # Not a failure of ours, and nothing that could be tested: the runtime cannot run here. What
            # it leaves behind is not ours either.
            subprocess.run(["find", "/sys/fs/cgroup", "-depth", "-name", "*%s*" % self.group, "-exec", "rmdir", "{}", "+"],
                           capture_output=True, check=False)
            self.skipTest("%s cannot start a container here: %s" % (words[0], text[-300:]))
        return text

    def bundle(self, container_id):
        """An OCI bundle for runc and its like."""
        folder = os.path.join(self.folder, "bundle")
        os.makedirs(folder)
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            spec = json.load(file)
        spec["root"] = {"path": self.root, "readonly": False}
        spec["process"].update(terminal=False, args=COMMAND, env=["PATH=/bin", "BOXED=yes"])
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] == "proc"]
        spec["linux"]["cgroupsPath"] = "/" + container_id
        self.group = container_id
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump(spec, file)
        return folder

    def check(self, *names):
        """Files, environment, names and connections are the container's."""
        for name in names:
            with self.subTest(name):
                target = "container/" + name
                program = ("cat /app/name; printenv BOXED; getent ahosts neighbour | head -1; "
                           "curl -sS -m 10 --retry 5 --retry-connrefused http://127.0.0.1:8080/page")
                lines = self.output("sh", "-c", program, target=target).splitlines()
                self.assertEqual(["of the container", "yes", "from inside"], lines[:2] + lines[3:], lines)
                self.assertIn("10.1.2.3", lines[2])
        _, errors = self.run_remote("echo", "ran", target="container/no-such-" + names[0], status=None)
        self.assertIn("no-such-" + names[0], errors.decode())


class OciTest(ContainerTest):
    def run_with(self, runtime):
        need("runc", runtime)
        container_id = os.urandom(32).hex()
        command = [runtime, "--root", os.path.join(self.folder, runtime)]
        self.stops.append(lambda: self.tool(*command, "delete", "-f", container_id))
        self.start(*command, "run", "-d", "-b", self.bundle(container_id), container_id)
        self.check(container_id, container_id[:12])

    def run_by_name(self, runtime):
        # Where the runtime keeps its state by default, a name of the user's own choice is found too.
        need("runc", runtime)
        self.stops.append(lambda: self.tool(runtime, "delete", "-f", self.name))
        self.start(runtime, "run", "-d", "-b", self.bundle(self.name), self.name)
        self.check(self.name)


class Crun(OciTest):
    preparation = ONE_KIND

    def test_crun_by_id(self):
        self.run_with("crun")

    def test_crun_by_name(self):
        self.run_by_name("crun")


class Runc(OciTest):
    def test_runc_by_id(self):
        self.run_with("runc")

    def test_runc_by_name(self):
        self.run_by_name("runc")

    def test_a_stopped_container(self):
        need("runc")
        self.stops.append(lambda: self.tool("runc", "delete", "-f", self.name))
        self.start("runc", "create", "-b", self.bundle(self.name), self.name)
        self.tool("runc", "kill", self.name, "KILL")
        wait_until(lambda: "stopped" in self.tool("runc", "state", self.name)[1], 5)
        _, errors = self.run_remote("echo", "ran", target="container/" + self.name, status=None)
        self.assertIn("not running", errors.decode())


class Containerd(ContainerTest):
    def test_containerd(self):
        need("containerd", "ctr", "runc")
        config = os.path.join(self.folder, "containerd.toml")
        with open(config, "w", encoding="utf-8") as file:
            file.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        with open(os.path.join(self.folder, "containerd.log"), "wb") as log:
            daemon = subprocess.Popen([*self.enter, "containerd", "--config", config], stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log, env=self.env)
        self.started.append(daemon)
        ctr = ["ctr", "--namespace", "mirrord-test"]

        def stop():
            self.tool(*ctr, "task", "kill", "--signal", "KILL", self.name)
            wait_until(lambda: self.tool(*ctr, "task", "delete", "--force", self.name)[0] == 0, 10)
            self.tool(*ctr, "container", "delete", self.name)
            daemon.terminate()
            daemon.wait(20)
        self.stops.append(stop)
        if not wait_until(lambda: self.tool(*ctr, "version")[0] == 0, 20, 0.2):
            with open(os.path.join(self.folder, "containerd.log"), encoding="utf-8", errors="replace") as log:
                self.skipTest("containerd does not start here: " + log.read()[-300:])
        self.start(*ctr, "run", "--detach", "--rootfs", "--env", "BOXED=yes", "--runc-binary",
                   shutil.which("runc"), self.root, self.name, *COMMAND)
        self.check(self.name)


class Podman(ContainerTest):
    def test_podman(self):
        need("podman", "runc")
        podman = ["podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
                  "--storage-driver", "vfs"]
        self.stops.append(lambda: self.tool(*podman, "rm", "--force", "--time", "0", self.name))
        text = self.start(*podman, "run", "--detach", "--name", self.name, "--env", "BOXED=yes", "--network", "none",
                          "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--add-host", "neighbour:10.1.2.3", "--rootfs", self.root, *COMMAND)
        container_id = text.splitlines()[-1]
        self.check(self.name, container_id, container_id[:12])


class Lxc(ContainerTest):
    def test_lxc(self):
        need("lxc-start")
        folder = os.path.join(self.folder, "lxc")
        os.makedirs(os.path.join(folder, self.name))
        with open(os.path.join(folder, self.name, "config"), "w", encoding="utf-8") as file:
            file.write("lxc.uts.name = boxed\nlxc.rootfs.path = dir:%s\nlxc.net.0.type = empty\n"
                       "lxc.mount.auto = proc:mixed\nlxc.init.cmd = /bin/sh /start\nlxc.environment = BOXED=yes\n"
                       "lxc.apparmor.profile = unconfined\n" % self.root)
        with open(os.path.join(self.root, "start"), "w", encoding="utf-8") as file:
            file.write("/bin/busybox ifconfig lo up\nexec %s\n" % " ".join(COMMAND))
        self.stops.append(lambda: self.tool("lxc-stop", "-P", folder, "-n", self.name, "-k"))
        self.start("lxc-start", "-P", folder, "-n", self.name, "-d", "-l", "DEBUG", "-o",
                   os.path.join(self.folder, "lxc.log"))
        self.check(self.name)


class Nspawn(ContainerTest):
    def test_systemd_nspawn(self):
        if not os.path.isdir("/run/systemd/system"):
            self.skipTest("systemd-nspawn registers its containers with systemd, which does not run here")
        need("systemd-nspawn")
        self.enter = []  # the service that keeps the records writes to the machine's own /run
        process = subprocess.Popen(["systemd-nspawn", "--quiet", "--machine", self.name, "--directory", self.root,
                                    "--private-network", "--setenv=BOXED=yes", *COMMAND], env=self.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.started.append(process)
        wait_until(lambda: os.path.exists("/run/systemd/machines/" + self.name), 20)
        if process.poll() is not None:
            self.skipTest("systemd-nspawn cannot start a container here: " + process.stderr.read().decode())
        self.check(self.name)
