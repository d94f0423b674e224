# tests/local/terminal.py — a terminal for tests: runs a program on it and tells what a user would see.
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time

TOKEN = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n])")


class Screen:
    """What a terminal shows; knows the few sequences that mirrord uses, and refuses all others."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column, self.top, self.colours = [""], 0, 0, 0, set()

    def feed(self, text):
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise ValueError("unknown sequence: %r" % text[at:at + 20])
            at = match.end()
            number, letter, back, down, character = match.groups()
            if letter == "A":
                self.row -= int(number)
                if self.row < self.top:
                    raise ValueError("above the screen")
            elif letter == "J" and number == "":
                self.lines = self.lines[:self.row] + [self.lines[self.row][:self.column]]
            elif letter == "m":
                self.colours.add(number)
            elif back:
                self.column = 0
            elif down:
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
                self.top = max(self.top, self.row - self.rows + 1)
            elif character:
                if self.column >= self.columns:
                    raise ValueError("a row is too long: %r" % self.lines[self.row])
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[:self.column] + character + line[self.column + 1:]
                self.column += 1
            else:
                raise ValueError("unknown sequence: %r" % match[0])


def run_on_terminal(command, env, cwd, columns=100, rows=24):
    """Returns the exit status, the screen at the end and all states in which it was seen."""
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.chdir(cwd)
        os.execve(command[0], command, env)
    screen, states, pending = Screen(columns, rows), [], b""
    end = time.monotonic() + 60
    while time.monotonic() < end and select.select([master], [], [], 60)[0]:
        try:
            pending += os.read(master, 65536)
        except OSError:
            break
        # Whole writes only: a state in the middle of one is nobody's.
        if pending.endswith(b"\n"):
            screen.feed(pending.decode())
            states.append(list(screen.lines))
            pending = b""
    screen.feed(pending.decode())
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen, states
