# tests/local/test_container_command.py — `mirrord container` and `container-ext` with Podman: containers of this machine that run
# in the context of a target. The image is empty but for a few files; programs are this machine's, mounted.
import io
import json
import os
import signal
import subprocess
import tarfile
import time
import unittest

from support import OWN_NETWORK, LocalTest, free_port, need, read_file, wait_until

SETTINGS = """
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
tmp_dir = "{0}/libpod"
volume_path = "{0}/volumes"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "{0}/storage"
runroot = "{0}/run"
"""
IMAGE = "localhost/box:1"
NO_NETWORK = {"container": {"cli_extra_args": ["--network", "none"]}}

# Says who it is to whoever asks.
SERVER = r"""
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("container " + self.client_address[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
"""


def image_archive():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("usr", "etc", "tmp", "app"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name in ("bin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, "usr/" + name
            tar.addfile(entry)
        for name, text in (("app/local.txt", b"of the image\n"), ("etc/passwd", b"root:x:0:0::/:/bin/sh\n")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text))
    return content.getvalue()


@unittest.skipUnless(os.geteuid() == 0, "making a container needs root")
class Containers(LocalTest):
    runtime_name = "podman"

    def setUp(self):
        super().setUp()
        need("podman", "runc")
        self.podman_folder = os.path.join(self.folder, "podman")
        os.mkdir(self.podman_folder)
        for name, text in (("containers.conf", SETTINGS), ("storage.conf", STORAGE)):
            with open(os.path.join(self.podman_folder, name), "w", encoding="utf-8") as file:
                file.write(text.format(self.podman_folder))
        self.env["CONTAINERS_CONF"] = os.path.join(self.podman_folder, "containers.conf")
        self.env["CONTAINERS_STORAGE_CONF"] = os.path.join(self.podman_folder, "storage.conf")
        del self.env["XDG_RUNTIME_DIR"]  # Podman's own would be in it
        self.env["XDG_RUNTIME_DIR"] = self.runtime
        self.podman("import", "-", IMAGE, stdin=image_archive())

    def tearDown(self):
        left = self.names() if wait_until(lambda: not self.names(), 15, 0.2) is not True else []
        self.podman("rm", "--force", "--time", "0", "--all")
        super().tearDown()
        self.assertEqual([], left, "containers stayed behind")

    def podman(self, *words, status=0, stdin=b""):
        done = subprocess.run(["podman", *words], input=stdin, capture_output=True, timeout=120, env=self.env, check=False)
        self.assertEqual(status, done.returncode, done.stderr.decode())
        return done.stdout.decode()

    def names(self):
        return self.podman("ps", "--all", "--format", "{{.Names}}").split()

    def words(self, *program, target=None, config=NO_NETWORK, options=(), image=IMAGE):
        path = os.path.join(self.folder, "container.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        return [self.mirrord, "container", "-f", path, "-t", target or self.pod.target, "--", self.runtime_name, "run", "--rm",
                "-v", "/usr:/usr:ro", *options, image, *program]

    def run_inside(self, *program, status=0, **options):
        done = subprocess.run(self.words(*program, **options), capture_output=True, timeout=120, env=self.env, check=False)
        self.assertEqual(status, done.returncode, done.stderr.decode() + done.stdout.decode())
        return done.stdout.decode() + done.stderr.decode() if status else done.stdout.decode()


class Sessions(Containers):
    def test_files_environment_names_and_network_are_the_targets(self):
        script = "cat /app/version /etc/hostname; echo $DB_HOST; curl -sS http://shop/; ls /app"
        text = self.run_inside("sh", "-c", script)
        self.assertIn(self.pod.read("/app/version").decode(), text)
        self.assertIn("shop-7d4b9c6f5-x2k8p", text)
        self.assertIn("postgres.demo.svc.cluster.local", text)
        self.assertIn('"pod": "shop-', text)
        self.assertIn("config.yaml", text)
        self.assertNotIn("local.txt", text)

    def test_files_below_the_working_directory_are_the_images(self):
        text = self.run_inside("cat", "/app/local.txt", "/etc/hostname", options=("--workdir", "/app"))
        self.assertEqual("of the image\nshop-7d4b9c6f5-x2k8p\n", text)

    def test_a_container_of_another_user(self):
        text = self.run_inside("sh", "-c", "id -u; cat /etc/hostname; curl -sS http://shop/", options=("--user", "1234:1234"))
        self.assertTrue(text.startswith("1234\nshop-7d4b9c6f5-x2k8p\n"), text)
        self.assertIn('"pod"', text)

    def test_files_can_be_written(self):
        config = {**NO_NETWORK, "feature": {"fs": "write"}}
        self.run_inside("sh", "-c", "echo from the container > /var/note", config=config)
        self.assertEqual(b"from the container\n", self.pod.read("/var/note"))

    def test_the_configuration_may_come_from_standard_input(self):
        config = json.dumps({**NO_NETWORK, "feature": {"env": {"override": {"FROM_STDIN": "yes"}}}}).encode()
        for command in (["container"], ["ci", "container", "--foreground"]):
            words = self.words("sh", "-c", "echo $FROM_STDIN; cat /etc/hostname")
            words[1:4] = [*command, "-f", "-"]
            done = subprocess.run(words, env=self.env, input=config, capture_output=True, timeout=60, check=False)
            self.assertEqual((0, b"yes\nshop-7d4b9c6f5-x2k8p\n"), (done.returncode, done.stdout), done.stderr)

    def test_children_and_many_processes(self):
        script = "for n in 1 2 3 4 5 6 7 8; do (cat /etc/hostname | cat) & done; wait"
        self.assertEqual("shop-7d4b9c6f5-x2k8p\n" * 8, self.run_inside("sh", "-c", script))

    def test_the_exit_status_is_the_containers(self):
        self.run_inside("sh", "-c", "exit 7", status=7)
        self.assertIn("no-such-program", self.run_inside("no-such-program", status=127))
        self.run_inside("sh", "-c", "sleep 100 & kill -9 $!; wait $!", status=137)

    def test_stolen_traffic_comes_into_the_container(self):
        port = free_port()
        target = self.start_target("sh", "-c", "echo ready && exec sleep 10000")
        config = {**NO_NETWORK, "feature": {"network": {"incoming": "steal"}}}
        words = self.words("/usr/bin/python3", "-c", SERVER, str(port), target="process/%d" % target.pid, config=config,
                           options=("--name", "server"))
        process = subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        line = process.stdout.readline()
        self.assertEqual(b"ready\n", line, line or process.stderr.read())
        ask = ["nsenter", "--target", str(target.pid), "--net", "curl", "-sS", "--max-time", "10", "http://127.0.0.1:%d/" % port]
        answer = wait_until(lambda: subprocess.run(ask, capture_output=True, check=False).stdout, 10, 0.1)
        self.assertEqual(b"container 127.0.0.1", answer)
        process.send_signal(signal.SIGTERM)  # goes to the container
        self.podman("rm", "--force", "--time", "0", "server")
        process.wait(30)

    def test_a_container_that_does_not_listen_to_signals_is_ended(self):
        process = subprocess.Popen(self.words("sh", "-c", "echo ready; sleep 10000"), env=self.env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.started.append(process)
        self.assertEqual(b"ready\n", process.stdout.readline())
        process.terminate()
        self.assertEqual(137, process.wait(30))
        self.assertTrue(wait_until(lambda: not self.names(), 10, 0.2), self.names())

    def test_in_the_background_of_a_pipeline(self):
        words = self.words("sh", "-c", "cat /etc/hostname; sleep 10000")
        words[1:2] = ["ci", "container"]
        started = subprocess.run(words, env=self.env, capture_output=True, timeout=60, check=False)
        self.assertEqual(0, started.returncode, started.stderr)
        output = started.stdout.decode().split("output: ")[1].strip()
        self.assertTrue(wait_until(lambda: read_file(os.path.join(output, "stdout")), 20, 0.1))
        self.assertEqual(b"shop-7d4b9c6f5-x2k8p\n", read_file(os.path.join(output, "stdout")))
        stopped = subprocess.run([self.mirrord, "ci", "stop"], env=self.env, capture_output=True, timeout=60, check=True)
        self.assertIn(b"stopped, exit status 137", stopped.stdout)
        self.assertEqual([], self.names())
        subprocess.run(["rm", "-rf", os.path.join(self.temporary, "mirrord-%d" % os.geteuid())], check=True)

    def test_a_pipelines_step_in_a_container(self):
        # Only the executable is there, no terminal and no home; the agent is reached by its address.
        port = free_port()
        agent = subprocess.Popen([self.mirrord, "agent", "-l", str(port), "-t", "60", "process", "--pid",
                                  self.pod.target.split("/")[1]], env=self.env, stdout=subprocess.PIPE)
        self.started.append(agent)
        agent.stdout.readline()
        script = ("/mirrord ci start --agent-address 127.0.0.1:%d -- sh -c 'cat /etc/hostname; sleep 1000' || exit 1; "
                  "sleep 0.5; cat /tmp/mirrord-0/output/*/stdout; /mirrord ci stop" % port)
        text = self.podman("run", "--rm", "--network", "host", "-v", self.mirrord + ":/mirrord:ro", "-v", "/usr:/usr:ro",
                           IMAGE, "sh", "-c", script)
        self.assertIn("\nshop-7d4b9c6f5-x2k8p\n", text)
        self.assertIn("stopped, exit status 143", text)

    def redis_config(self):
        """A session's Redis in a container: in the network of the test's own, since forwarding a port needs more
        rights than a test may have."""
        script = "#!/bin/sh\n[ \"$1\" = run ] || exec podman \"$@\"\nshift\nexec podman run --network host -v /usr:/usr:ro \"$@\"\n"
        command = self.local_file("my-podman", script.encode(), 0o755)
        branch = {"type": "redis", "location": "local", "connection": {"url": {"type": "env", "variable": "REDIS_URL"}},
                  "local": {"container_runtime": "podman", "container_command": command,
                            "options": {"args": ["--maxmemory", "64mb"]}}}
        return {"feature": {"db_branches": [branch]}}

    def start_with_redis(self):
        process = self.start_remote(
            "sh", "-c", "redis-cli -u $REDIS_URL set greeting hello; redis-cli config get maxmemory | tail -n 1; "
                        "hostname; read line", before=OWN_NETWORK, config=self.redis_config())
        output = b"".join(process.stdout.readline() for _ in range(3))
        self.assertEqual(b"OK\n67108864\nshop-7d4b9c6f5-x2k8p\n", output, output or process.stderr.read())
        self.assertEqual(["mirrord-redis-6379"], self.names())
        return process

    def test_a_redis_of_a_session_in_a_container(self):
        need("redis-server", "redis-cli")
        self.podman("import", "--change", 'ENTRYPOINT ["/usr/bin/redis-server"]', "-", "docker.io/library/redis:7-alpine",
                    stdin=image_archive())
        process = self.start_with_redis()
        os.kill(self.victim("intproxy"), signal.SIGKILL)
        self.assertTrue(wait_until(lambda: not self.names(), 20, 0.2), "it goes with a killed session")
        process.kill()
        process.communicate(timeout=30)
        process = self.start_with_redis()
        process.communicate(b"\n", timeout=30)
        self.assertTrue(wait_until(lambda: not self.names(), 20, 0.2), "it goes with its session")
        words = self.command("sleep", "1000", before=OWN_NETWORK, config=self.redis_config(), verb=("ci", "start"))
        subprocess.run(words, env=self.env, capture_output=True, timeout=60, check=True)
        self.assertEqual(["mirrord-redis-6379"], self.names())
        subprocess.run([self.mirrord, "ci", "stop"], env=self.env, capture_output=True, timeout=60, check=True)
        self.assertTrue(wait_until(lambda: not self.names(), 20, 0.2), "it goes with a stopped run")
        subprocess.run(["rm", "-rf", os.path.join(self.temporary, "mirrord-%d" % os.geteuid())], check=True)

    def test_secrets_are_on_no_command_line(self):
        process = subprocess.Popen(self.words("sh", "-c", "echo ready; read line; env", options=("-i",)), env=self.env,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        self.assertEqual(b"ready\n", process.stdout.readline())
        lines = [read_file("/proc/%d/cmdline" % pid) for pid in self.processes()]
        self.assertTrue(any(b"podman\0run" in line for line in lines))
        for line in lines:
            self.assertNotIn(b"correct horse", line)
        text, errors = process.communicate(b"\n", timeout=60)
        self.assertIn(b"DB_PASSWORD=correct horse battery staple\n", text, errors)

    def test_a_lost_agent_is_told(self):
        process = subprocess.Popen(self.words("sh", "-c", "echo ready; read line; cat /app/version", options=("-i",)), env=self.env,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        self.assertEqual(b"ready\n", process.stdout.readline())
        os.kill(self.victim("agent"), signal.SIGKILL)
        time.sleep(1)
        text, errors = process.communicate(b"\n", timeout=60)
        self.assertNotEqual(0, process.returncode)
        self.assertIn(b"agent", text + errors)

    def test_nothing_stays_after_a_kill(self):
        process = subprocess.Popen(self.words("sh", "-c", "echo ready; sleep 10000", options=("--name", "server")),
                                   env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.started.append(process)
        self.assertEqual(b"ready\n", process.stdout.readline())
        self.assertEqual(2, len(self.names()))
        process.kill()
        self.podman("rm", "--force", "--time", "0", "server")
        self.assertTrue(wait_until(lambda: not self.names(), 15, 0.2), self.names())
        # What cannot be removed by the killed is removed by the next.
        self.run_inside("true")
        self.assertEqual([], os.listdir(os.path.join(self.runtime, "mirrord")))


class Refusals(Containers):
    def test_what_is_no_container_command(self):
        path = os.path.join(self.folder, "container.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(NO_NETWORK, file)
        for words, what in (([], "no container command is given"), (["cat", "x"], "`cat` is no container runtime"),
                            (["podman"], "its command is missing"), (["podman", "ps"], "`podman ps` starts no container")):
            done = subprocess.run([self.mirrord, "container", "-f", path, *words], capture_output=True, timeout=60,
                                  env=self.env, check=False)
            self.assertEqual(2, done.returncode, words)
            self.assertIn(what, done.stderr.decode())

    def test_a_runtime_that_is_not_there(self):
        words = self.words("true")
        words[words.index("podman")] = "nerdctl"
        done = subprocess.run(words, capture_output=True, timeout=60, env=self.env, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("nerdctl", done.stderr.decode())
        self.assertIn("No such file", done.stderr.decode())

    def test_an_image_that_is_not_there(self):
        self.assertIn("no-such", self.run_inside("true", image="localhost/no-such:1", options=("--pull", "never"), status=125))

    def test_a_target_that_is_not_there(self):
        self.assertIn("start the agent: ", self.run_inside("true", target="process/999999999", status=1))

    def test_a_platform_of_another_kind(self):
        config = {"container": {**NO_NETWORK["container"], "platform": "linux/riscv64"}}
        self.assertIn("container.platform `linux/riscv64`", self.run_inside("true", config=config, status=1))

    def test_options_that_the_runtime_refuses(self):
        config = {"container": {"cli_extra_args": ["--no-such-option"]}}
        text = self.run_inside("true", config=config, status=1)
        self.assertIn("create the proxy's container", text)
        self.assertIn("no-such-option", text)

    def test_a_runtime_that_dies_at_once(self):
        folder = os.path.join(self.folder, "bin")
        os.mkdir(folder)
        with open(os.path.join(folder, "docker"), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n[ \"$1\" != start ] || { echo Cannot connect to the Docker daemon >&2; exit 1; }\n")
        os.chmod(os.path.join(folder, "docker"), 0o755)
        self.env["PATH"] = folder + ":" + self.env["PATH"]
        words = self.words("true")
        words[words.index("podman")] = "docker"
        done = subprocess.run(words, capture_output=True, timeout=60, env=self.env, check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn("docker ended with status 1: Cannot connect to the Docker daemon", done.stderr.decode())


class Extension(Containers):
    def start_extension(self, **variables):
        path = os.path.join(self.folder, "container.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(NO_NETWORK, file)
        process = subprocess.Popen([self.mirrord, "container-ext", "-f", path, "-t", self.pod.target],
                                   env={**self.env, "MIRRORD_PROGRESS_MODE": "json", **variables}, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.started.append(process)
        return process

    def test_an_editor_starts_the_container(self):
        process = self.start_extension(MIRRORD_CONTAINER_USE_RUNTIME="podman")
        lines = []
        while not lines or lines[-1].get("name") != "mirrord preparing to launch" or lines[-1]["type"] != "FinishedTask":
            line = process.stdout.readline()
            self.assertNotEqual(b"", line, process.stderr.read() if not line else "")
            lines.append(json.loads(line))
        self.assertTrue(lines[-1]["success"])
        launch = json.loads(lines[-1]["message"])
        self.assertEqual(["runtime", "extra_args"], list(launch))
        self.assertEqual("podman", launch["runtime"])
        text = self.podman("run", "--rm", *launch["extra_args"], "-v", "/usr:/usr:ro", IMAGE, "sh", "-c",
                           "cat /etc/hostname; echo $DB_PASSWORD; curl -sS http://shop/")
        self.assertTrue(text.startswith("shop-7d4b9c6f5-x2k8p\ncorrect horse battery staple\n{"), text)
        # The session ends after its last container, and the command with it.
        self.assertEqual(0, process.wait(30))
        self.assertEqual(b"", process.stdout.read() + process.stderr.read())

    def test_an_error_is_one_line_of_json(self):
        process = self.start_extension(MIRRORD_CONTAINER_USE_RUNTIME="nerdctl")
        self.assertEqual(1, process.wait(60))
        errors = process.stderr.read().decode()
        self.assertTrue(errors.startswith("Error: {"), errors)
        self.assertIn("nerdctl", json.loads(errors[len("Error: "):])["message"])


if __name__ == "__main__":
    unittest.main()
