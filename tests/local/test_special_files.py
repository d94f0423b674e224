# tests/local/test_special_files.py — FIFOs of the target block and end as FIFOs of this machine do.
import os
import time

from support import LocalTest, python_with, wait_until

READ_ALL = """
import threading
def others():
    for _ in range(50): assert open('/data/README').read()
    print('others read', flush=True)
thread = threading.Thread(target=others)
def late():
    import time; time.sleep(0.2); thread.start()
threading.Thread(target=late).start()
with open('/data/test-fifo', 'rb', buffering=0) as fifo:
    print('opened', flush=True)
    while part := fifo.read(100):
        print('read', part.decode(), flush=True)
print('end', flush=True)
"""

WRITE_ALL = """
print('opening', flush=True)
with open('/data/test-fifo', 'wb', buffering=0) as fifo:
    print('opened', flush=True)
    sent = 0
    while sent < 300_000:
        sent += fifo.write(b'x' * min(50_000, 300_000 - sent))
print('sent', sent)
"""

WITHOUT_BLOCKING = """
import errno, os
def attempt(name, call):
    try: print(name, call())
    except OSError as error: print(name, errno.errorcode[error.errno])
fd = os.open('/data/test-fifo', os.O_RDONLY | os.O_NONBLOCK)
attempt('read without a writer', lambda: os.read(fd, 10))
attempt('open to write without a reader', lambda: os.open('/data/test-other', os.O_WRONLY | os.O_NONBLOCK))
both = os.open('/data/test-fifo', os.O_RDWR | os.O_NONBLOCK)
attempt('read without data', lambda: os.read(both, 10))
os.write(both, b'data')
attempt('read', lambda: os.read(fd, 10))
"""

INTERRUPTED = """
import signal, time
class Alarm(Exception): pass
def ring(*_): raise Alarm()
signal.signal(signal.SIGALRM, ring)
for name in ('open', 'read'):
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        if name == 'open': open('/data/test-fifo', 'rb')
        else:
            with open('/data/test-fifo', 'r+b', buffering=0) as fifo: fifo.read(1)
        print(name, 'came back')
    except Alarm:
        print(name, 'was interrupted')
"""

BROKEN = """
import os
with open('/data/test-fifo', 'wb', buffering=0) as fifo:
    fifo.write(b'x'); print('ready', flush=True); input()
    try: fifo.write(b'y'); print('written')
    except BrokenPipeError: print('broken')
"""


def write_fifo(path, *parts):
    with open(path, "wb", buffering=0) as fifo:
        for part in parts:
            fifo.write(part)
            time.sleep(0.3)


def read_fifo(path, size):
    with open(path, "rb") as fifo:
        return len(fifo.read(size))


class Fifos(LocalTest):
    def setUp(self):
        super().setUp()
        for name in ("/data/test-fifo", "/data/test-other"):
            self.pod.inside(os.mkfifo, name)

    def test_a_reader_waits_for_a_writer_and_for_bytes(self):
        process = self.start_remote(python_with(), "-c", READ_ALL)
        # Nobody writes: the program waits in open(), and other files are not held up.
        self.assertEqual(b"others read\n", process.stdout.readline())
        time.sleep(1)
        self.assertIsNone(process.poll())
        used = os.times()
        self.pod.inside(write_fifo, "/data/test-fifo", b"first", b"second")
        output, errors = process.communicate(timeout=20)
        self.assertEqual(["opened", "read first", "read second", "end"], output.decode().split("\n")[:-1],
                         errors.decode())
        self.assertLess(os.times().children_user - used.children_user, 1)

    def test_a_waiting_reader_does_not_spin(self):
        process = self.start_remote(python_with(), "-c", "open('/data/test-fifo')")
        time.sleep(1)

        def ticks():
            with open("/proc/%d/stat" % process.pid, encoding="utf-8") as file:
                return sum(int(word) for word in file.read().rsplit(")", 1)[1].split()[11:13])
        before = ticks()
        time.sleep(2)
        self.assertLess(ticks() - before, 10)  # of 200
        process.kill()

    def test_a_writer_waits_for_a_reader_and_for_room(self):
        process = self.start_remote(python_with(), "-c", WRITE_ALL, mode="write")
        self.assertEqual(b"opening\n", process.stdout.readline())
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        self.assertEqual(300_000, self.pod.inside(read_fifo, "/data/test-fifo", 300_000))
        output, errors = process.communicate(timeout=20)
        self.assertEqual(b"opened\nsent 300000\n", output, errors.decode())

    def test_nothing_waits_without_blocking(self):
        self.assertEqual("read without a writer b''\nopen to write without a reader ENXIO\n"
                         "read without data EAGAIN\nread b'data'\n",
                         self.output(python_with(), "-c", WITHOUT_BLOCKING, mode="write"))

    def test_signals_interrupt_the_wait(self):
        self.assertEqual("open was interrupted\nread was interrupted\n",
                         self.output(python_with(), "-c", INTERRUPTED, mode="write"))

    def test_a_writer_learns_that_the_reader_is_gone(self):
        process = self.start_remote(python_with(), "-c", BROKEN, mode="write")
        self.assertEqual(1, self.pod.inside(read_fifo, "/data/test-fifo", 1))
        self.assertEqual(b"ready\n", process.stdout.readline())
        output, errors = process.communicate(b"\n", timeout=20)
        self.assertEqual(b"broken\n", output, errors.decode())

    def test_a_shell_redirects_from_one(self):
        process = self.start_remote("bash", "-c", "cat < /data/test-fifo", mode="write")
        self.pod.inside(write_fifo, "/data/test-fifo", b"from the pod")
        output, errors = process.communicate(timeout=20)
        self.assertEqual(b"from the pod", output, errors.decode())
        self.assertTrue(wait_until(lambda: process.poll() == 0, 5))

    def test_a_shell_is_told_that_it_cannot_redirect_to_one(self):
        process = self.start_remote("bash", "-c", "echo to the pod > /data/test-other || echo refused", mode="write")
        self.assertEqual(0, self.pod.inside(read_fifo, "/data/test-other", 100))
        output, errors = process.communicate(timeout=20)
        self.assertEqual(b"refused\n", output, errors.decode())
        self.assertIn(b"not supported", errors)
