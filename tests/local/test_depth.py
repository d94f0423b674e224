# tests/local/test_depth.py — what programs really do with files and sockets, many at a time.
import hashlib
import os
import zlib

from support import LocalTest, build_once, compile_with, need, python_with

FILE_CALLS = r"""
import glob, hashlib, mmap, os, shutil, sys, tempfile, zlib
path, work = '/data/archive.bin', sys.argv[1]
digest = lambda data: hashlib.sha256(data).hexdigest()
truth = digest(open(path, 'rb').read())
def check(name, value): print(name, value == truth)
with open(path, 'rb') as file:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view: check('mmap', digest(view))
with open(path, 'rb') as source, open(work + '/a', 'wb') as target:
    done = 0
    while count := os.sendfile(target.fileno(), source.fileno(), done, 1 << 20): done += count
check('sendfile', digest(open(work + '/a', 'rb').read()))
with open(path, 'rb') as source, open(work + '/b', 'wb') as target:
    while os.copy_file_range(source.fileno(), target.fileno(), 1 << 20): pass
check('copy_file_range', digest(open(work + '/b', 'rb').read()))
with open(path, 'rb') as source:
    reader, writer = os.pipe(); data = b''
    while count := os.splice(source.fileno(), writer, 60000): data += os.read(reader, count)
check('splice', digest(data))
shutil.copyfile(path, work + '/c'); check('copyfile', digest(open(work + '/c', 'rb').read()))
with open(path, 'rb', buffering=0) as file:
    data, size = bytearray(8 << 20), 4099
    for offset in reversed(range(0, len(data), size)):
        part = os.pread(file.fileno(), size, offset); data[offset:offset + len(part)] = part
check('pread', digest(data))
with open(path, 'rb', buffering=0) as file:
    other = os.dup(file.fileno()); data = b''
    while part := (file.read(50001) + os.read(other, 7)): data += part
check('dup', digest(data))
with open(path, 'rb', buffering=0) as file:
    data, a, b = b'', bytearray(1000), bytearray(77777)
    while count := os.readv(file.fileno(), [a, b]): data += (bytes(a) + bytes(b))[:count]
check('readv', digest(data))
with open(path, 'rb') as file:
    file.seek(-5, os.SEEK_END); print('tail', len(file.read()), file.tell(), os.fstat(file.fileno()).st_size)
    print('hole', os.lseek(os.open('/data/sparse', os.O_RDONLY), 0, os.SEEK_END))
fd = os.open('/data', os.O_RDONLY | os.O_DIRECTORY)
print('at', os.read(os.open('README', os.O_RDONLY, dir_fd=fd), 8), os.stat('archive.bin', dir_fd=fd).st_size)
print('list', sorted(os.listdir(fd)) == sorted(os.listdir('/data')))
print('glob', len(glob.glob('/data/catalog/*/item-0*.json')), len(glob.glob('/data/**/*.txt', recursive=True)))
print('scandir', sorted(e.name for e in os.scandir('/data') if e.is_dir()))
os.chdir('/data/deep'); print('chdir', os.getcwd(), os.listdir('.'), open('../README').read(8))
"""
FILE_ANSWERS = ["%s True" % name for name in ("mmap", "sendfile", "copy_file_range", "splice", "copyfile",
                                              "pread", "dup", "readv")] + [
    "tail 5 8388608 8388608", "hole 1048576", "at b'The data' 8388608", "list True", "glob 160 3",
    "scandir ['catalog', 'deep', 'images', 'links']", "chdir /data/deep ['one'] The data"]

WRITE_CALLS = r"""
import os, sqlite3, zipfile
fd = os.open('/data/w', os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
os.write(fd, b'0123456789'); os.pwrite(fd, b'ab', 3); os.lseek(fd, 0, 0); print(os.read(fd, 100))
os.ftruncate(fd, 5); os.fsync(fd); os.lseek(fd, -2, os.SEEK_END); print(os.read(fd, 9), os.fstat(fd).st_size)
os.fchmod(fd, 0o604); os.close(fd); print(oct(os.stat('/data/w').st_mode))
try: os.open('/data/w', os.O_RDWR | os.O_CREAT | os.O_EXCL)
except FileExistsError: print('exists')
with open('/data/log', 'a') as one, open('/data/log', 'a') as two:
    for i in range(50): one.write('a%d\n' % i); one.flush(); two.write('b%d\n' % i); two.flush()
print(len(open('/data/log').read().split()))
with zipfile.ZipFile('/data/x.zip', 'w') as z: z.writestr('inner', 'text' * 1000)
print(zipfile.ZipFile('/data/x.zip').read('inner')[:4])
db = sqlite3.connect('/data/x.db'); db.execute('create table t(n)')
with db: db.executemany('insert into t values (?)', [(i,) for i in range(2000)])
db.close(); print(sqlite3.connect('/data/x.db').execute('select sum(n) from t').fetchone())
"""

MANY_CONNECTIONS = r"""
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
async def one(number):
    reader, writer = await asyncio.open_connection('10.96.12.35', 7777)
    message = (b'%d ' % number) * 500
    writer.write(message); await writer.drain()
    await gate.wait()
    ok = await reader.readexactly(len(message)) == message
    writer.close(); await writer.wait_closed()
    return ok
async def main():
    global gate
    gate = asyncio.Event()
    tasks = [asyncio.create_task(one(n)) for n in range(1000)]
    await asyncio.sleep(1); gate.set()
    print(sum(await asyncio.gather(*tasks)))
asyncio.run(main())
"""

PREFORK = r"""
import os, socket, threading, urllib.request
children = []
fd = os.open('/app/config.yaml', os.O_RDONLY)
for _ in range(6):
    pid = os.fork()
    if pid == 0:
        bad = []
        def work():
            for _ in range(15):
                if urllib.request.urlopen('http://shop/healthz', timeout=20).read() != b'ok\n': bad.append(1)
                if open('/app/version').read() != '2.14.0\n': bad.append(2)
                if '10.96.12.35' not in socket.gethostbyname_ex('echo')[2]: bad.append(3)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        os._exit(1 if bad else 0)
    children.append(pid)
print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children], len(os.read(fd, 1000)) > 100)
"""


class Depth(LocalTest):
    def test_every_way_to_read_gives_the_same_bytes(self):
        self.assertEqual(FILE_ANSWERS, self.output(python_with(), "-c", FILE_CALLS, self.work).splitlines())

    def test_ways_to_write(self):
        self.assertEqual(["b'012ab56789'", "b'ab' 5", "0o100604", "exists", "100", "b'text'", "(1999000,)"],
                         self.output(python_with("sqlite3"), "-c", WRITE_CALLS, mode="write").splitlines())
        self.assertEqual(b"012ab", self.pod.read("/data/w"))

    def test_a_thousand_connections_at_once(self):
        self.assertEqual("1000\n", self.output(python_with(), "-c", MANY_CONNECTIONS))

    def test_forked_workers_with_threads(self):
        self.assertEqual("[0, 0, 0, 0, 0, 0] True\n", self.output(python_with(), "-c", PREFORK))

    def test_large_uploads_and_downloads_at_once(self):
        need("curl")
        data = os.urandom(900_000)
        path = self.local_file("upload", data)
        script = ("for i in 1 2 3 4 5 6; do curl -sS --data-binary @%s http://shop/echo | sha256sum & "
                  "curl -sS http://shop/bytes/9000000 | sha256sum & done; wait" % path)
        expected = sorted([hashlib.sha256(data).hexdigest()] * 6 + [hashlib.sha256(
            (bytes(range(97, 123)) * 346_154)[:9_000_000]).hexdigest()] * 6)
        self.assertEqual(expected, sorted(line.split()[0] for line in self.output("sh", "-c", script).splitlines()))

    def test_perl_and_compressors(self):
        need("perl", "gzip")
        data = self.pod.read("/data/images/photo-11.raw")
        self.assertEqual("%d\n" % len(data), self.output(
            "perl", "-e", "open F, '/data/images/photo-11.raw'; binmode F; local $/; print length(<F>), qq(\\n)"))
        packed, _ = self.run_remote("gzip", "-c", "/data/images/photo-11.raw")
        self.assertEqual(data, zlib.decompress(packed, 31))
        self.assertEqual("10.96.12.34\n", self.output(
            "perl", "-MSocket", "-e", "print inet_ntoa(scalar gethostbyname('shop')), qq(\\n)"))

    def test_remote_programs_and_libraries_are_not_run(self):
        # Only data comes from the pod: a program of that path does not exist here.
        _, errors = self.run_remote("sh", "-c", "/data/script", status=None)
        self.assertNotIn(b"from inside", errors)

    def test_a_server_of_this_machine_still_serves_it(self):
        program = """
import socket, threading
server = socket.create_server(('127.0.0.1', 0))
def serve():
    client, _ = server.accept(); client.sendall(client.recv(100).upper()); client.close()
threading.Thread(target=serve).start()
with socket.create_connection(server.getsockname()) as s:
    s.sendall(b'own server'); print(s.recv(100).decode())
"""
        self.assertEqual("OWN SERVER\n", self.output(python_with(), "-c", program))

    def test_a_cpp_program_whose_threads_fork_and_read(self):
        need("g++")
        folder = build_once("cpp", ["probe.cpp"], lambda out: compile_with(
            "g++", "-std=c++20", "-O2", "-o", os.path.join(out, "probe"), self.app("probe.cpp"), "-pthread"))
        probe = os.path.join(folder, "probe")
        data = self.pod.read("/data/archive.bin")
        script = "for i in 1 2 3 4; do '%s' threads 16 /data/archive.bin & done; wait" % probe
        self.assertEqual(["1 %08x" % zlib.crc32(data)] * 4, self.output("sh", "-c", script).splitlines())

    def test_sessions_do_not_disturb_each_other(self):
        processes = [self.start_remote("sh", "-c", "sleep 0.3; sha256sum < /data/archive.bin; curl -sS http://shop/healthz")
                     for _ in range(6)]
        expected = hashlib.sha256(self.pod.read("/data/archive.bin")).hexdigest() + "  -\nok\n"
        for process in processes:
            output, errors = process.communicate(timeout=60)
            self.assertEqual(expected, output.decode(), errors.decode())

    def test_a_run_inside_a_run_is_refused(self):
        inner = " ".join([self.mirrord, "exec", "--target", "demo", "--", "cat", "/app/version"])
        output, errors = self.run_remote("sh", "-c", "cat /app/version; " + inner, status=2)
        self.assertEqual(b"2.14.0\n", output)
        self.assertIn(b"already", errors)
