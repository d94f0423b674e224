# tests/local/test_clock_jumps.py — the time of day jumps: no time-out fires early, none is missed. Only
# for executables with shared libraries, because libfaketime is one: the sanitizers' build.
import os
import subprocess
import time

from support import LocalTest, python_with
from test_clock import CLOCK_PROGRAM


class ClockJumps(LocalTest):
    def test_the_time_of_day_jumps(self):
        """Program, intproxy and agent all see CLOCK_REALTIME go forward and back by days."""
        library = subprocess.run(["sh", "-c", "ls /usr/lib/*/faketime/libfaketime.so.1"], capture_output=True,
                                 check=False).stdout.decode().strip()
        if not library:
            self.skipTest("libfaketime is not installed")
        clock = os.path.join(self.folder, "clock")

        def set_clock(offset):
            with open(clock + ".new", "w", encoding="ascii") as file:
                file.write(offset + "\n")
            os.rename(clock + ".new", clock)
        set_clock("+0")
        env = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_NO_CACHE": "1",
               "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        process = self.start_remote(python_with(), "-c", CLOCK_PROGRAM, env=env)
        started = time.monotonic()
        for offset in ("+30d", "-400d", "+3650d", "-1d"):
            line = process.stdout.readline()
            self.assertEqual(b"jump\n", line, process.stderr.read().decode() if not line else "")
            set_clock(offset)
            process.stdin.write(b"\n")
            process.stdin.flush()
        output, errors = process.communicate(timeout=60)
        self.assertEqual((0, b"done\n"), (process.returncode, output), errors.decode())
        self.assertLess(time.monotonic() - started, 50)
