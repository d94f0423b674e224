# tests/local/test_programs.py — git, PostgreSQL, busybox on musl, shell scripts.
import glob
import os
import pwd
import shutil
import socket
import subprocess
import sys
import unittest

from support import (LocalTest, build_once, compile_with, enter, need, python_with, sha256_file,
                     wait_until, write_file)


def put_tree(pod, source, destination):
    """Copies a tree of this machine into the pod."""
    for folder, folders, files in os.walk(source):
        inside = os.path.join(destination, os.path.relpath(folder, source))
        for name in folders:
            pod.inside(os.makedirs, os.path.join(inside, name), 0o755, True)
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                pod.write(os.path.join(inside, name), file.read(), os.stat(path).st_mode & 0o777)


# git counts as a build tool, and those are left alone unless the configuration says otherwise.
HOOKED = {"skip_build_tools": False}


class Git(LocalTest):
    def setUp(self):
        super().setUp()
        need("git")
        # The pod's files belong to its root, whoever that is outside.
        config = os.path.join(self.folder, "gitconfig")
        write_file(config, b"[safe]\n\tdirectory = *\n")
        self.env.update({"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": config,
                         "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example", "GIT_AUTHOR_DATE": "1700000000 +0000",
                         "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example",
                         "GIT_COMMITTER_DATE": "1700000000 +0000"})
        self.repo = os.path.join(self.folder, "repo")
        self.git("init", "-q", "-b", "main", self.repo)
        for number in range(12):
            with open(os.path.join(self.repo, "file-%d" % (number % 5)), "a", encoding="utf-8") as file:
                file.write("change %d\n" % number * 50)
            self.git("-C", self.repo, "add", "-A")
            self.git("-C", self.repo, "commit", "-q", "-m", "Change %d" % number)
            if number == 7:
                self.git("-C", self.repo, "gc", "-q")
        self.git("-C", self.repo, "update-server-info")

    def git(self, *arguments):
        return subprocess.run(["git", *arguments], env=self.env, check=True, capture_output=True).stdout.decode()

    def test_reads_a_repository_of_the_pod(self):
        put_tree(self.pod, self.repo, "/srv/repo")
        folder = "--git-dir=/srv/repo/.git"
        self.assertEqual(self.git("-C", self.repo, "log", "--stat"), self.output("git", folder, "log", "--stat", config=HOOKED))
        self.assertEqual(self.git("-C", self.repo, "show", "HEAD~9:file-2"),
                         self.output("git", folder, "show", "HEAD~9:file-2", config=HOOKED))
        self.assertEqual(self.git("-C", self.repo, "rev-list", "--objects", "--all"),
                         self.output("git", folder, "rev-list", "--objects", "--all", config=HOOKED))
        self.run_remote("git", folder, "fsck", "--strict", config=HOOKED)
        self.run_remote("git", "clone", "-q", "/srv/repo", "copy", config=HOOKED)
        self.assertEqual(self.git("-C", self.repo, "log"), self.git("-C", os.path.join(self.work, "copy"), "log"))

    def test_clones_over_http_from_the_pod(self):
        server = self.pod.popen(sys.executable, "-m", "http.server", "--bind", "10.96.12.37", "80",
                                "--directory", os.path.join(self.repo, ".git"),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env)
        self.started.append(server)

        def answers():
            with socket.socket() as s:
                return s.connect_ex(("10.96.12.37", 80)) == 0
        self.assertTrue(wait_until(lambda: self.pod.inside(answers), 10))
        self.run_remote("git", "clone", "-q", "http://cache/", "copy", config=HOOKED)
        self.assertEqual(self.git("-C", self.repo, "log"), self.git("-C", os.path.join(self.work, "copy"), "log"))

    def test_works_in_a_local_repository(self):
        shutil.copytree(self.repo, os.path.join(self.work, "mine"))
        text = self.output("git", "-C", "mine", "log", "--oneline")
        self.assertEqual(self.git("-C", self.repo, "log", "--oneline"), text)
        self.local_file("mine/new", b"new\n")
        self.run_remote("git", "-C", "mine", "add", "new")
        self.run_remote("git", "-C", "mine", "commit", "-q", "-m", "New")
        self.assertIn("New", self.git("-C", os.path.join(self.work, "mine"), "log", "-1"))


class Postgres(LocalTest):
    def start_server(self):
        folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not folders:
            raise unittest.SkipTest("no PostgreSQL server is installed")
        need("psql")
        if os.geteuid() != 0:
            raise unittest.SkipTest("the server refuses to run as the pod's root; starting it as somebody "
                                    "else needs root here")
        nobody = pwd.getpwnam("nobody")
        target = self.pod.pid
        data = os.path.join(self.folder, "pgdata")
        os.mkdir(data, 0o700)
        os.chown(data, nobody.pw_uid, nobody.pw_gid)

        def become_nobody():
            enter(target, "net")
            os.setgroups([])
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
        options = {"preexec_fn": become_nobody, "env": self.env, "cwd": "/"}
        subprocess.run([folders[-1] + "/initdb", "-D", data, "-U", "shop", "-A", "trust", "-N", "-E", "UTF8"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, **options)
        with open(data + "/pg_hba.conf", "a", encoding="utf-8") as file:
            file.write("host all all 0.0.0.0/0 trust\n")
        server = subprocess.Popen([folders[-1] + "/postgres", "-D", data, "-h", "10.96.12.36", "-k", data, "-F",
                                   "-c", "shared_buffers=4MB"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        self.started.append(server)

        def answers():
            with socket.socket() as s:
                return s.connect_ex(("10.96.12.36", 5432)) == 0
        self.assertTrue(wait_until(lambda: self.pod.inside(answers), 20))

    def test_psql_works_with_a_server_of_the_pod(self):
        self.start_server()
        connection = "psql -X -qAt -h $DB_HOST -U $DB_USER -d postgres"
        self.assertEqual("42|10.96.12.36\n", self.output(
            "sh", "-c", connection + " -c 'select 6*7, host(inet_server_addr())'"))
        self.run_remote("sh", "-c", connection, stdin=b"create table t(n int, s text);\n"
                        b"insert into t select n, repeat('x', 100) from generate_series(1, 20000) n;\n")
        self.assertEqual("20000|2000000\n", self.output(
            "sh", "-c", connection + " -c 'select count(*), sum(length(s)) from t'"))
        text = self.output("sh", "-c", connection + " -c 'copy t to stdout'")
        self.assertEqual(20000, text.count("\n"))
        _, errors = self.run_remote("psql", "-X", "-h", "postgres", "-p", "5433", "-U", "shop", "-c", "select 1",
                                    status=2)
        self.assertIn(b"Connection refused", errors)


class Busybox(LocalTest):
    def start(self):
        need("musl-gcc", "make", "bzip2")
        folder = build_once("busybox", ["busybox"], lambda out: compile_with(self.app("busybox"), out))
        return os.path.join(folder, "busybox")

    def test_reads_the_pods_files(self):
        busybox = self.start()
        self.assertEqual(self.pod.read("/app/config.yaml"), self.run_remote(busybox, "cat", "/app/config.yaml")[0])
        tree = self.pod.tree("/data")
        self.assertEqual(sorted(["/data"] + ["/data/" + name for name in tree]),
                         sorted(self.output(busybox, "find", "/data").splitlines()))
        paths = sorted("/data/" + name for name, what in tree.items() if what[0] == "file")
        sums = {line[66:]: line[:64] for line in self.output(busybox, "sha256sum", *paths).splitlines()}
        self.assertEqual({"/data/" + name: what[3] for name, what in tree.items() if what[0] == "file"}, sums)
        self.assertEqual(320, len(self.output(busybox, "grep", "-rl", '"end"]', "/data/catalog").splitlines()))
        self.assertEqual(sorted(os.listdir("/usr/bin")), sorted(self.output(busybox, "ls", "-A", "/usr/bin").splitlines()))

    def test_copies_and_packs(self):
        busybox = self.start()
        self.run_remote(busybox, "cp", "-a", "/data/images", self.work)
        tree = self.pod.tree("/data/images")
        for name, what in tree.items():
            self.assertEqual(what[3], sha256_file(os.path.join(self.work, "images", name)))
        archive, _ = self.run_remote(busybox, "tar", "-C", "/data", "-cf", "-", "catalog")
        listing = subprocess.run(["tar", "-tf", "-"], input=archive, capture_output=True, check=True).stdout
        self.assertEqual(320, listing.count(b".json"))

    def test_writes_files(self):
        busybox = self.start()
        self.run_remote(busybox, "sh", "-c", "echo one > /data/w; echo two >> /data/w; mkdir /data/wd; mv /data/w /data/wd/x",
                        mode="write")
        self.assertEqual(b"one\ntwo\n", self.pod.read("/data/wd/x"))

    def test_resolves_and_connects(self):
        busybox = self.start()
        self.assertEqual("ok\n", self.output(busybox, "wget", "-qO-", "http://shop.demo.svc.cluster.local/healthz"))
        self.assertEqual("ok\n", self.output(busybox, "wget", "-qO-", "http://10.96.12.34/healthz"))
        self.run_remote(busybox, "wget", "-qO-", "http://no-such-name.example/", status=1)

    def test_starts_programs_of_both_libraries(self):
        busybox = self.start()
        self.assertEqual("2.14.0\n2.14.0\n", self.output(
            busybox, "sh", "-c", "%s cat /app/version; /bin/cat /app/version" % busybox))
        self.assertEqual("2.14.0\n", self.output("sh", "-c", "%s cat /app/version" % busybox))


SCRIPT = r"""
set -eu
lines=$(cat /app/config.yaml | grep -v '^#' | wc -l)
echo "lines $lines"
while read -r key value; do
  case $key in host:) echo "host $value";; esac
done < /app/config.yaml
sum=0
for file in /data/catalog/02/*.json; do
  size=$(wc -c < "$file"); sum=$((sum + size))
done
echo "sum $sum"
diff <(sort /data/README) <(sort < /data/links/relative) && echo same
cat > local-copy <<END
$(cat /app/version)
END
echo "copy $(< local-copy)"
exec 7</app/version; read -r line <&7; exec 7<&-; echo "fd $line"
[[ -d /data/catalog && ! -e /data/nothing ]] && echo tests
source /app/settings.env; echo "sourced $SETTING"
echo "glob $(echo /data/images/photo-0*.raw | wc -w)"
( cd /data/deep && ls ) | head -n 1
tail -n 1 /var/log/shop.log | tee out | tr a-z A-Z
"""


class Scripts(LocalTest):
    def test_bash_script_with_pipes_and_redirections(self):
        bash = need("bash")
        self.pod.write("/app/settings.env", b"SETTING=value\n")
        script = self.local_file("script", SCRIPT.encode(), 0o755)
        total = sum(what[2] for what in self.pod.tree("/data/catalog/02").values())
        expected = ["lines 7", "host postgres.demo.svc.cluster.local", "sum %d" % total, "same", "copy 2.14.0",
                    "fd 2.14.0", "tests", "sourced value", "glob 10", "one", "STARTED"]
        self.assertEqual(expected, self.output(bash, script).splitlines())

    def test_scripts_start_by_their_first_line(self):
        script = self.local_file("by-line", b"#!/usr/bin/env bash\ncat /app/version\n", 0o755)
        self.assertEqual("2.14.0\n", self.output(script))
        script = self.local_file("in-python", ("#!%s\nprint(open('/app/version').read(), end='')\n"
                                               % os.path.realpath(python_with())).encode(), 0o755)
        self.assertEqual("2.14.0\n", self.output(script))

    def test_many_processes_in_a_pipeline(self):
        text = self.output("sh", "-c", "find /data/catalog -name '*.json' -print0 | sort -z | xargs -0 -n 20 -P 4 "
                                       "sh -c 'cat \"$@\"' _ | wc -c")
        total = sum(what[2] for name, what in self.pod.tree("/data/catalog").items() if what[0] == "file")
        self.assertEqual(total, int(text))

    def test_vfork_and_system_and_popen(self):
        self.assertEqual("2.14.0\n2.14.0\n", self.output(
            "awk", 'BEGIN { system("cat /app/version"); while (("cat /app/version" | getline x) > 0) print x }'))
