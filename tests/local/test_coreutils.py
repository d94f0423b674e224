# tests/local/test_coreutils.py — cat, ls, find, grep, cp, tar, sha256sum and friends read the pod's files.
import os
import subprocess
import unittest

from support import LocalTest, describe_tree, need


class Reading(LocalTest):
    def test_cat_prints_a_small_file(self):
        self.assertEqual(self.pod.read("/app/config.yaml"),
                         self.run_remote("cat", "/app/config.yaml")[0])

    def test_cat_prints_a_file_of_several_megabytes(self):
        self.assertEqual(self.pod.read("/data/archive.bin"),
                         self.run_remote("cat", "/data/archive.bin")[0])

    def test_cat_prints_odd_files(self):
        for path in ("/data/empty", "/data/name with spaces.txt", "/data/grüße.txt", "/data/sparse",
                     "/data/no newline at the end", "/data/deep/one/two/three/four/five/six/leaf.txt",
                     "/var/run/secrets/kubernetes.io/serviceaccount/token"):
            with self.subTest(path):
                self.assertEqual(self.pod.read(path), self.run_remote("cat", path)[0])

    def test_cat_follows_links_inside_the_pod(self):
        for link, path in (("absolute", "/app/config.yaml"), ("relative", "/data/README"),
                           ("chain", "/data/README"), ("outside", "/etc/hostname"), ("hard", "/data/README")):
            with self.subTest(link):
                self.assertEqual(self.pod.read(path), self.run_remote("cat", "/data/links/" + link)[0])

    def test_cat_says_why_a_file_cannot_be_read(self):
        for path, reason in (("/data/nothing", "No such file or directory"), ("/data", "Is a directory"),
                             ("/data/README/x", "Not a directory"),
                             ("/data/links/dangling", "No such file or directory"),
                             ("/data/links/loop", "Too many levels of symbolic links")):
            with self.subTest(path):
                _, errors = self.run_remote("cat", path, status=1)
                self.assertEqual("cat: %s: %s\n" % (path, reason), errors.decode())

    def test_local_files_stay_local(self):
        local = self.local_file("mine.txt", b"on this machine\n")
        self.assertEqual("on this machine\n", self.output("cat", local))
        self.assertEqual("on this machine\n", self.output("cat", "mine.txt"))
        with open("/etc/passwd", "rb") as file:
            self.assertEqual(file.read(), self.run_remote("cat", "/etc/passwd")[0])

    def test_three_files_of_etc_come_from_the_pod(self):
        for path in ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"):
            self.assertEqual(self.pod.read(path), self.run_remote("cat", path)[0])

    def test_head_tail_dd_and_cmp_see_the_right_bytes(self):
        data = self.pod.read("/data/archive.bin")
        self.assertEqual(data[:100], self.run_remote("head", "-c", "100", "/data/archive.bin")[0])
        self.assertEqual(data[-3000:], self.run_remote("tail", "-c", "3000", "/data/archive.bin")[0])
        self.assertEqual(data[5_000_000:5_004_096],
                         self.run_remote("dd", "if=/data/archive.bin", "bs=1000", "skip=5000", "count=4096",
                                         "iflag=count_bytes", "status=none")[0])
        copy = self.local_file("copy", data)
        self.run_remote("cmp", "/data/archive.bin", copy)
        self.local_file("copy", data[:-1] + b"!")
        self.run_remote("cmp", "-s", "/data/archive.bin", copy, status=1)

    def test_text_tools_read_through_stdio_and_mmap(self):
        text = self.pod.read("/data/catalog/03/item-07.json").decode()
        path = "/data/catalog/03/item-07.json"
        self.assertEqual(text, self.output("sed", "", path))
        self.assertEqual(text, self.output("awk", "{print}", path))
        self.assertEqual("%d %s\n" % (text.count("\n"), path), self.output("wc", "-l", path))
        self.assertEqual("".join(sorted(text.splitlines(True))), self.output("sort", path))
        self.assertEqual("".join(reversed(text.splitlines(True))), self.output("tac", path))

    def test_sha256sum_of_every_file(self):
        paths = sorted("/data/" + name for name, what in self.pod.tree("/data").items() if what[0] == "file")
        self.assertGreater(len(paths), 300)
        expected = {"/data/" + name: what[3] for name, what in self.pod.tree("/data").items()
                    if what[0] == "file"}
        listing = self.output("sha256sum", "--", *paths)
        got = {line[66:]: line[:64] for line in listing.splitlines()}
        self.assertEqual(expected, got)


class Directories(LocalTest):
    def test_ls_lists_names(self):
        names = self.pod.inside(os.listdir, "/data")
        self.assertEqual(sorted(names), sorted(self.output("ls", "-A", "/data").splitlines()))

    def test_ls_long_shows_the_pods_metadata(self):
        def truth():
            info = os.lstat("/data/archive.bin")
            return "%o %d %d %d %d.%09d" % (info.st_mode, info.st_size, info.st_nlink, info.st_ino,
                                            info.st_mtime_ns // 10**9, info.st_mtime_ns % 10**9)
        words = self.output("stat", "-c", "%f %s %h %i %.9Y", "/data/archive.bin").split()
        words[0] = "%o" % int(words[0], 16)
        self.assertEqual(self.pod.inside(truth), " ".join(words))
        listing = self.output("ls", "-l", "--time-style=+%s", "/data")
        self.assertIn(" 8388608 1704067200 archive.bin", listing)
        self.assertRegex(listing, r"(?m)^prw-r--r-- .* fifo$")
        self.assertRegex(self.output("ls", "-l", "/data/links"), r"(?m) absolute -> /app/config\.yaml$")

    def test_ls_recursive_and_find_see_the_same_tree(self):
        expected = sorted(["/data"] + ["/data/" + name for name in self.pod.tree("/data")])
        self.assertEqual(expected, sorted(self.output("find", "/data").splitlines()))
        expected_files = sorted("/data/" + name for name, what in self.pod.tree("/data").items()
                                if what[0] == "file" and what[2] > 100_000)
        self.assertEqual(expected_files,
                         sorted(self.output("find", "/data", "-type", "f", "-size", "+100000c").splitlines()))
        listed = [line for line in self.output("ls", "-AR", "/data").splitlines()
                  if line and not line.endswith(":")]
        self.assertEqual(len(expected) - 1, len(listed))

    def test_find_executes_a_program_for_each_file(self):
        expected = sum(what[2] for name, what in self.pod.tree("/data/catalog/05").items())
        text = self.output("find", "/data/catalog/05", "-name", "*.json", "-exec", "cat", "{}", ";")
        self.assertEqual(expected, len(text))

    def test_grep_recursive(self):
        expected = sorted(name for name in self.pod.tree("/data/catalog")
                          if name.endswith(".json"))
        found = self.output("grep", "-rl", '"end"]', "/data/catalog").splitlines()
        self.assertEqual(expected, sorted(os.path.relpath(name, "/data/catalog") for name in found))
        text = self.pod.read("/app/config.yaml").decode()
        matching = sum(": " in line for line in text.splitlines())
        self.assertEqual("/app/config.yaml:%d\n" % matching,
                         self.output("grep", "-c", "--with-filename", ": ", "/app/config.yaml"))
        self.run_remote("grep", "-r", "no such text anywhere", "/data/catalog", status=1)

    def test_cp_copies_a_tree_out_of_the_pod(self):
        self.run_remote("cp", "-a", "/data/catalog", "/data/links", "/data/deep", self.work)
        for name in ("catalog", "links", "deep"):
            self.assertEqual(self.pod.tree("/data/" + name), describe_tree(os.path.join(self.work, name)))

    def test_cp_copies_big_files(self):
        self.run_remote("cp", "/data/archive.bin", "/data/sparse", self.work)
        for name in ("archive.bin", "sparse"):
            with open(os.path.join(self.work, name), "rb") as file:
                self.assertEqual(self.pod.read("/data/" + name), file.read())

    def test_tar_packs_a_tree_of_the_pod(self):
        need("tar")
        archive, _ = self.run_remote("tar", "--exclude=fifo", "-cf", "-", "/data")
        subprocess.run(["tar", "-xf", "-", "-C", self.work], input=archive, check=True)
        expected = self.pod.tree("/data")
        del expected["fifo"]
        self.assertEqual(expected, describe_tree(os.path.join(self.work, "data")))
        archive, _ = self.run_remote("tar", "-C", "/data/catalog", "-cf", "-", ".")
        os.mkdir(os.path.join(self.work, "catalog"))
        subprocess.run(["tar", "-xf", "-", "-C", os.path.join(self.work, "catalog")], input=archive, check=True)
        self.assertEqual(self.pod.tree("/data/catalog"), describe_tree(os.path.join(self.work, "catalog")))

    def test_diff_compares_with_a_local_tree(self):
        self.run_remote("cp", "-r", "/data/images", self.work)
        self.assertEqual("", self.output("diff", "-r", "/data/images", os.path.join(self.work, "images")))
        with open(os.path.join(self.work, "images", "photo-03.raw"), "ab") as file:
            file.write(b"x")
        self.assertIn("photo-03.raw differ",
                      self.output("diff", "-r", "/data/images", os.path.join(self.work, "images"), status=1))

    def test_readlink_realpath_and_test(self):
        self.assertEqual("/app/config.yaml\n", self.output("readlink", "/data/links/absolute"))
        self.assertEqual("/data/README\n", self.output("realpath", "/data/links/chain"))
        self.assertEqual("/data/README\n", self.output("readlink", "-f", "/data/links/relative"))
        self.run_remote("test", "-d", "/data/catalog")
        self.run_remote("test", "-f", "/data/archive.bin")
        self.run_remote("test", "-s", "/data/empty", status=1)
        self.run_remote("test", "-e", "/data/links/dangling", status=1)
        self.run_remote("test", "-L", "/data/links/dangling")
        self.run_remote("test", "-x", "/data/script")
        self.run_remote("test", "-p", "/data/fifo")

    def test_du_counts_the_pods_bytes(self):
        expected = {"/data/images/" + name: what[2] for name, what in self.pod.tree("/data/images").items()}
        lines = [line.split("\t") for line in self.output("du", "-ab", "/data/images").splitlines()]
        self.assertEqual(expected, {name: int(size) for size, name in lines if name != "/data/images"})


if __name__ == "__main__":
    unittest.main()
