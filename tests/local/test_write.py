# tests/local/test_write.py — programs change the pod's files in fs mode write, and not in mode read.
import os
import stat
import subprocess

from support import LocalTest, describe_tree, need

WRITE = {"mode": "write"}


class Writing(LocalTest):
    def test_cp_copies_a_file_into_the_pod(self):
        data = os.urandom(3_000_001)
        local = self.local_file("new", data)
        self.run_remote("cp", local, "/data/new", mode=WRITE)
        self.assertEqual(data, self.pod.read("/data/new"))
        self.assertFalse(os.path.exists("/data/new"))

    def test_cp_copies_a_tree_into_the_pod(self):
        for number in range(40):
            self.local_file("tree/%d/file %d" % (number % 4, number), b"x" * number * 991)
        tree = os.path.join(self.work, "tree")
        self.run_remote("cp", "-r", tree, "/data/", mode=WRITE)
        self.assertEqual(describe_tree(tree), self.pod.tree("/data/tree"))

    def test_cp_copies_inside_the_pod(self):
        self.run_remote("cp", "/data/archive.bin", "/data/second.bin", mode=WRITE)
        self.assertEqual(self.pod.read("/data/archive.bin"), self.pod.read("/data/second.bin"))

    def test_tar_unpacks_into_the_pod(self):
        need("tar")
        for number in range(30):
            self.local_file("packed/%02d" % number, os.urandom(number * 700), 0o600 + number % 3 * 0o44)
        archive = subprocess.run(["tar", "-C", self.work, "-cf", "-", "packed"], capture_output=True,
                                 check=True).stdout
        self.run_remote("tar", "-C", "/data", "-xf", "-", stdin=archive, mode=WRITE)
        self.assertEqual(describe_tree(os.path.join(self.work, "packed")), self.pod.tree("/data/packed"))

    def test_redirections_of_a_shell(self):
        self.run_remote("sh", "-c", "echo one > /data/out; echo two >> /data/out; { echo three; ls /app; } >> /data/out",
                        mode=WRITE)
        self.assertEqual(b"one\ntwo\nthree\nconfig.yaml\nrun\nversion\n", self.pod.read("/data/out"))

    def test_tee_and_append(self):
        self.assertEqual("more\n", self.output("tee", "-a", "/var/log/shop.log", stdin=b"more\n", mode=WRITE))
        self.assertEqual(b"started\nmore\n", self.pod.read("/var/log/shop.log"))

    def test_dd_writes_in_the_middle_of_a_file(self):
        before = self.pod.read("/data/archive.bin")
        patch = os.urandom(10_000)
        self.run_remote("dd", "of=/data/archive.bin", "bs=1000", "seek=777", "conv=notrunc", "iflag=fullblock",
                        "status=none", stdin=patch, mode=WRITE)
        self.assertEqual(before[:777_000] + patch + before[787_000:], self.pod.read("/data/archive.bin"))

    def test_sed_changes_a_file_in_place(self):
        text = self.pod.read("/app/config.yaml")
        self.run_remote("sed", "-i", "s/staging/production/", "/app/config.yaml", mode=WRITE)
        self.assertEqual(text.replace(b"staging", b"production"), self.pod.read("/app/config.yaml"))

    def test_directories_are_made_moved_and_removed(self):
        self.run_remote("mkdir", "-p", "/data/a/b/c", mode=WRITE)
        self.assertTrue(self.pod.inside(os.path.isdir, "/data/a/b/c"))
        self.run_remote("mv", "/data/catalog/00", "/data/a/b/moved", mode=WRITE)
        self.assertEqual(20, len(self.pod.inside(os.listdir, "/data/a/b/moved")))
        self.run_remote("rm", "-r", "/data/a", mode=WRITE)
        self.assertFalse(self.pod.inside(os.path.exists, "/data/a"))
        self.run_remote("rmdir", "/data/links", mode=WRITE, status=1)

    def test_files_are_truncated_and_removed(self):
        self.run_remote("truncate", "-s", "100", "/data/README", mode=WRITE)
        self.assertEqual(100, len(self.pod.read("/data/README")))
        self.run_remote("rm", "/data/README", "/data/links/loop", mode=WRITE)
        self.assertNotIn("README", self.pod.inside(os.listdir, "/data"))

    def test_attributes_are_changed(self):
        self.run_remote("chmod", "0461", "/data/README", mode=WRITE)
        self.run_remote("touch", "-d", "2001-02-03 04:05:06.123456789 UTC", "/data/README", mode=WRITE)
        info = self.pod.inside(os.lstat, "/data/README")
        self.assertEqual((0o461, 981173106123456789), (stat.S_IMODE(info.st_mode), info.st_mtime_ns))
        self.run_remote("touch", "/data/touched", mode=WRITE)
        self.assertTrue(self.pod.inside(os.path.exists, "/data/touched"))

    def test_new_files_have_the_callers_mode(self):
        self.run_remote("sh", "-c", "umask 027; : > /data/masked", mode=WRITE)
        self.assertEqual(0o640, stat.S_IMODE(self.pod.inside(os.lstat, "/data/masked").st_mode))

    def test_read_mode_leaves_the_pod_alone(self):
        # A folder that no machine has: whatever is local fails for it.
        self.pod.write("/only-inside/file", b"text\n")
        _, errors = self.run_remote("sh", "-c", "echo no > /only-inside/file", status=None)
        self.assertIn(b"/only-inside/file", errors)
        self.run_remote("sh", "-c", "echo no >> /only-inside/new", status=None)
        self.run_remote("rm", "-f", "/only-inside/file", status=None)
        self.run_remote("mkdir", "/only-inside/here", status=1)
        self.run_remote("mv", "/only-inside/file", "/only-inside/moved", status=1)
        self.assertEqual(["file"], self.pod.inside(os.listdir, "/only-inside"))
        self.assertEqual(b"text\n", self.pod.read("/only-inside/file"))
        self.assertFalse(os.path.exists("/only-inside"))

    def test_local_writes_stay_local(self):
        for mode in ({"mode": "read"}, WRITE):
            local = os.path.join(self.work, "out-" + mode["mode"])
            self.run_remote("sh", "-c", 'echo here > "$0"; mkdir "$0.d"; mv "$0" "$0.d/x"', local, mode=mode)
            with open(local + ".d/x", "rb") as file:
                self.assertEqual(b"here\n", file.read())

    def test_mode_local_sees_this_machine_only(self):
        self.run_remote("cat", "/app/config.yaml", mode="local", status=1)
        with open("/etc/hostname", "rb") as file:
            self.assertEqual(file.read(), self.run_remote("cat", "/etc/hostname", mode="local")[0])

    def test_patterns_choose_files(self):
        rules = {"mode": "localwithoverrides", "read_only": ["^/app/"], "read_write": ["^/var/log/"],
                 "not_found": ["^/etc/hosts$"]}
        self.assertEqual(self.pod.read("/app/version"), self.run_remote("cat", "/app/version", mode=rules)[0])
        self.pod.write("/only-inside/file", b"text\n")
        self.run_remote("cat", "/only-inside/file", mode=rules, status=1)
        self.run_remote("cat", "/etc/hosts", mode=rules, status=1)
        self.run_remote("sh", "-c", "echo x >> /var/log/shop.log", mode=rules)
        self.assertEqual(b"started\nx\n", self.pod.read("/var/log/shop.log"))

    def test_mapping_leads_to_another_path(self):
        rules = {"mode": "read", "mapping": {"^/virtual/(.*)$": "/app/$1"}}
        self.assertEqual(self.pod.read("/app/version"), self.run_remote("cat", "/virtual/version", mode=rules)[0])
