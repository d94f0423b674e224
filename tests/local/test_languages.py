# tests/local/test_languages.py — the same program in Python, Node, Java, Go, Rust and C++ (tests/apps).
import os
import zlib

from support import LocalTest, build_once, compile_with, need, python_with, read_file


def crc_lines(top):
    """What `files` must print: found out inside the pod."""
    lines = []
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
                lines.append((path, "%08x %d %s" % (zlib.crc32(data), len(data), path)))
    return [line for _, line in sorted(lines)]


class Cases:
    """One class for each language derives from it and says how its program is started."""

    def start(self):
        raise NotImplementedError

    def probe(self, *arguments, **options):
        return self.output(*self.start(), *arguments, **options)

    def test_reads_every_file(self):
        self.assertEqual(self.pod.inside(crc_lines, "/data"), self.probe("files", "/data").splitlines())

    def test_reads_local_files(self):
        self.local_file("mine/a", b"one")
        self.local_file("mine/b/c", b"two" * 5000)
        top = os.path.join(self.work, "mine")
        self.assertEqual(crc_lines(top), self.probe("files", top).splitlines())

    def test_sees_metadata(self):
        info = self.pod.inside(os.stat, "/data/script")
        self.assertEqual("%d %o %d\n" % (info.st_size, info.st_mode & 0o7777, info.st_mtime),
                         self.probe("stat", "/data/script"))

    def test_fails_for_a_missing_file(self):
        self.run_remote(*self.start(), "stat", "/data/nothing", status=1)

    def test_has_the_environment(self):
        self.assertEqual("postgres.demo.svc.cluster.local\n", self.probe("env", "DB_HOST"))

    def test_resolves_names(self):
        got = self.probe("resolve", "shop").split()
        self.assertIn("10.96.12.34", got)
        self.run_remote(*self.start(), "resolve", "no-such-name.example", status=1)

    def test_gets_a_page(self):
        self.assertIn('"pod": "shop-7d4b9c6f5-x2k8p"', self.probe("get", "http://shop/"))
        self.assertEqual("ok\n", self.probe("get", "http://203.0.113.10/healthz"))

    def test_writes_a_file(self):
        self.assertEqual("Grüße\n", self.probe("write", "/data/written", "Grüße", mode="write"))
        self.assertEqual("Grüße".encode(), self.pod.read("/data/written"))

    def test_starts_processes(self):
        self.assertEqual("2.14.0\n", self.probe("spawn", "cat", "/app/version"))

    def test_reads_in_threads(self):
        data = self.pod.read("/data/archive.bin")
        self.assertEqual("1 %08x\n" % zlib.crc32(data), self.probe("threads", "8", "/data/archive.bin"))


class Python(Cases, LocalTest):
    def start(self):
        return [python_with(), self.app("probe.py")]

    def test_walks_with_pathlib(self):
        self.assertEqual(self.pod.inside(crc_lines, "/data"), self.probe("pathlib_files", "/data").splitlines())

    def test_gets_pages_with_requests(self):
        text = self.output(python_with("requests"), self.app("probe.py"), "requests_get", "http://shop/")
        self.assertIn("shop-7d4b9c6f5-x2k8p", text)

    def test_gets_pages_with_asyncio(self):
        text = self.probe("asyncio_get", *["http://shop/bytes/%d" % (1000 * n) for n in range(1, 31)])
        self.assertEqual(sum(1000 * n for n in range(1, 31)), len(text))

    def test_starts_processes_with_asyncio(self):
        self.assertEqual("2.14.0\n", self.probe("asyncio_spawn", "cat", "/app/version"))

    def test_reads_in_processes(self):
        data = self.pod.read("/data/images/photo-09.raw")
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                self.assertEqual("1 %08x\n" % zlib.crc32(data),
                                 self.probe("processes", method, "12", "/data/images/photo-09.raw"))


class Node(Cases, LocalTest):
    def start(self):
        # Like any project of its user, in the working directory: that is local.
        return [need("node"), self.local_file("probe.mjs", read_file(self.app("probe.mjs")))]

    def test_streams_a_file(self):
        data = self.pod.read("/data/archive.bin")
        self.assertEqual("%08x %d /data/archive.bin\n" % (zlib.crc32(data), len(data)),
                         self.probe("streamed", "/data/archive.bin"))


class Java(Cases, LocalTest):
    def start(self):
        need("java", "javac")
        folder = build_once("java", ["Probe.java"], lambda out: compile_with(
            "javac", "-d", out, self.app("Probe.java")))
        return ["java", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", folder, "Probe"]

    def test_maps_a_file(self):
        data = self.pod.read("/data/archive.bin")
        self.assertEqual("%08x %d /data/archive.bin\n" % (zlib.crc32(data), len(data)),
                         self.probe("mapped", "/data/archive.bin"))


class Go(Cases, LocalTest):
    def start(self):
        need("go", "gcc")
        folder = build_once("go", ["probe.go"], lambda out: compile_with(
            "go", "build", "-o", os.path.join(out, "probe"), self.app("probe.go"),
            env={"CGO_ENABLED": "1", "GOFLAGS": "-p=2", "GO111MODULE": "off"}))
        return [os.path.join(folder, "probe")]


class Rust(Cases, LocalTest):
    def start(self):
        need("rustc")
        folder = build_once("rust", ["probe.rs"], lambda out: compile_with(
            "rustc", "--edition", "2021", "-O", "-o", os.path.join(out, "probe"), self.app("probe.rs")))
        return [os.path.join(folder, "probe")]


class Cpp(Cases, LocalTest):
    def start(self):
        need("g++")
        folder = build_once("cpp", ["probe.cpp"], lambda out: compile_with(
            "g++", "-std=c++20", "-O2", "-o", os.path.join(out, "probe"), self.app("probe.cpp"), "-pthread"))
        return [os.path.join(folder, "probe")]

    def test_maps_a_file(self):
        data = self.pod.read("/data/archive.bin")
        self.assertEqual("%08x %d /data/archive.bin\n" % (zlib.crc32(data), len(data)),
                         self.probe("mapped", "/data/archive.bin"))


del Cases  # only its children are tests
