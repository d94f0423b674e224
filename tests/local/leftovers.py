# tests/local/leftovers.py — what a session may leave behind: nothing. Looks for processes, namespaces,
# mounts, control groups, sockets and files that a test brought about.
import os
import re

HOOK_FILE = re.compile(r"(^|/)hook[^/]*$|\.so$")  # the one thing that is kept, for the next session


def marked_processes(folder):
    """PID -> command line of everything that was started with the folder's mark or program."""
    found = {}
    mark = ("TEST_MARK=" + folder).encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            program = os.readlink("/proc/%s/exe" % name)
            with open("/proc/%s/environ" % name, "rb") as file:
                environment = file.read()
            with open("/proc/%s/cmdline" % name, "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # gone, or a zombie
        if program.startswith(folder) or mark in environment.split(b"\0"):
            found[int(name)] = command
    return found


def namespaces(process):
    """The namespaces of a process, as "net:[4026531840]"."""
    found = set()
    for kind in ("user", "mnt", "net", "pid", "uts", "ipc"):
        try:
            found.add(os.readlink("/proc/%s/ns/%s" % (process, kind)))
        except OSError:
            pass  # gone, or somebody else's
    return found


class Leftovers:
    """Made before a test; `find` afterwards says what the test has left."""

    def __init__(self, folder, runtime, temporary):
        self.folder, self.runtime, self.temporary = folder, runtime, temporary
        self.seen = set()  # namespaces that processes of the test were seen in
        self.own = namespaces("self")

    def watch(self):
        """Remembers the namespaces of what runs now."""
        for pid in marked_processes(self.folder):
            self.seen |= namespaces(pid)

    def find(self):
        left = {"processes": sorted(marked_processes(self.folder).values()), "files": sorted(self.files())}
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            mounts = [line.strip() for line in file]
        left["mounts"] = [mount for mount in mounts if self.folder in mount]
        # Without a process a namespace lives on where it is mounted, and only there.
        left["namespaces"] = [mount for mount in mounts if mount.split()[3] in self.seen - self.own]
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
            left["sockets"] = [line.split()[-1] for line in file if self.folder in line]
        return {kind: what for kind, what in left.items() if what}

    def files(self):
        for top in (self.runtime, self.temporary):
            for folder, folders, names in os.walk(top):
                for name in names + folders:
                    path = os.path.join(folder, name)
                    ours = top == self.runtime or name.startswith("mirrord")
                    is_empty_folder = os.path.isdir(path) and not os.path.islink(path) and name == "mirrord"
                    if ours and not is_empty_folder and not HOOK_FILE.search(os.path.relpath(path, top)):
                        yield os.path.relpath(path, self.folder)
