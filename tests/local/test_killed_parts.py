# tests/local/test_killed_parts.py — agent, intproxy or target killed while calls of several threads and
# processes are under way: each call ends with an error, and soon.
import os
import random
import signal
import time

from support import LocalTest, python_with, wait_until

# Threads that do one thing over and over until it fails, and say how it ended.
BUSY = r"""
import errno, os, socket, sys, threading, time
what, seconds = sys.argv[1], 20
def read(number):
    with open('/data/vast', 'rb', buffering=0) as file:
        while True:
            file.seek((number * 37 << 20) % (256 << 20)); number += 1
            if len(file.read(1 << 16)) == 0: raise OSError(errno.ENODATA, 'end')
def open_read(number):
    while True:
        number += 1
        with open('/data/catalog/%s/item-%02d.json' % (folders[number % len(folders)], number % 20)) as file: file.read()
def write(number):
    with open('/data/out-%d' % number, 'wb', buffering=0) as file:
        while True: file.write(b'x' * 50_001); file.seek(0)
def metadata(number):
    while True: os.stat('/data/README'); os.listdir('/data')
def connect(number):
    while True:
        with socket.create_connection(('10.96.12.35', 7777)) as s:
            s.sendall(b'x' * 1000)
            if not s.recv(10): raise OSError(errno.EPIPE, 'end')
def stream(number):
    with socket.create_connection(('10.96.12.35', 7777)) as s:
        while True:
            s.sendall(b'x' * 30_000)
            if not s.recv(100_000): raise OSError(errno.EPIPE, 'end')
def resolve(number):
    while True: socket.getaddrinfo('shop', 80)
folders = sorted(os.listdir('/data/catalog'))
ends = []
def run(function, number):
    try: function(number)
    except OSError as error: ends.append(type(error).__name__)
    except BaseException as error: ends.append('unexpected %r' % error)
threads = [threading.Thread(target=run, args=(globals()[what], number), daemon=True) for number in range(4)]
for thread in threads: thread.start()
time.sleep(0.1); print('busy', flush=True)
for thread in threads: thread.join(seconds)
print(len(ends), 'ended', sorted(set(end for end in ends if end.startswith('unexpected'))))
"""


# Far more than what is kept here of a file: each read of another place has to be answered.
def make_vast_file(path):
    with open(path, "wb") as file:
        file.truncate(256 << 20)


class KilledParts(LocalTest):
    def kill(self, which, what):
        seed = int(os.environ.get("MIRRORD_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
        self.pod.inside(make_vast_file, "/data/vast")
        process = self.start_remote(python_with(), "-c", BUSY, what, mode="write")
        line = process.stdout.readline()
        self.assertEqual(b"busy\n", line, process.stderr.read().decode() if not line else "")
        time.sleep(random.Random(seed).random() / 2)
        victim = self.pod.pid if which == "target" else wait_until(lambda: self.victim(which), 5)
        os.kill(victim, signal.SIGKILL)
        started = time.monotonic()
        output, errors = process.communicate(timeout=60)
        trace = "MIRRORD_TEST_SEED=%d\n%s" % (seed, errors.decode()[-2000:])
        self.assertEqual((0, "4 ended []\n"), (process.returncode, output.decode()), trace)
        self.assertLess(time.monotonic() - started, 15, trace)
        if which == "intproxy":
            # Nobody is left to remove the session's files: the next session does.
            time.sleep(2.1)
            self.run_remote("true")


def add(which, what):
    def test(self):
        self.kill(which, what)
    setattr(KilledParts, "test_%s_killed_during_%s" % (which, what), test)


for part in ("agent", "intproxy"):
    for action in ("read", "open_read", "write", "metadata", "connect", "stream", "resolve"):
        add(part, action)
