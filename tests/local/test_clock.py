# tests/local/test_clock.py — a program whose clocks are not those of its session.
import os
import subprocess

from support import LocalTest, need, python_with

# Reads, resolves, connects and waits while the time of day is moved under its feet.
CLOCK_PROGRAM = r"""
import socket, sys, time
def once():
    assert open('/app/version').read() == '2.14.0\n'
    assert socket.gethostbyname('shop') == '10.96.12.34'
    with socket.create_connection(('echo', 7777), 10) as s:
        s.sendall(b'x'); assert s.recv(1) == b'x'
once()
for number in range(4):
    print('jump', flush=True); input()
    with open('/data/archive.bin', 'rb', buffering=0) as file:
        assert sum(len(part) for part in iter(lambda: file.read(1 << 16), b'')) == 8 << 20
    once()
print('done')
"""


class Clock(LocalTest):
    def test_a_program_in_a_time_namespace(self):
        # Its monotonic clock and the intproxy's differ by days.
        need("unshare")
        flags = ["--time", "--monotonic", "400000", "--boottime", "400000"]
        if os.geteuid() != 0:
            flags.append("--map-root-user")
        done = subprocess.run(["unshare", *flags, "true"], capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest("no time namespaces here: " + done.stderr.decode().strip())
        text = self.output("unshare", *flags, "--fork", python_with(), "-c", CLOCK_PROGRAM, stdin=b"\n" * 4)
        self.assertEqual("jump\n" * 4 + "done\n", text)
