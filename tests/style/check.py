#!/usr/bin/env python3
# tests/style/check.py — the project's rules about its own text: check.py ROOT RULE...
import re
import subprocess
import sys
from pathlib import Path

# Who may include whom: a folder, and the beginnings of the paths it may name (design: arrows only
# point down). Tests and benchmarks may include everything.
DIRECTIONS = {
    "main.cpp": ["applets/"],
    "applets/": ["applets/", "k8s/", "net/", "proto/", "hook/image.h"],
    "k8s/": ["k8s/", "net/", "proto/"],
    "net/": ["net/"],
    "proto/": ["proto/"],
    "hook/": ["hook/", "proto/local"],
}
OUR_FOLDERS = ("applets/", "k8s/", "net/", "proto/", "hook/", "tests/", "bench/")

# Functions that need shared libraries at run time in a static glibc program, or that block a loop.
BANNED_CALLS = re.compile(
    r"(?<![\w:.>])(?:::)?(getaddrinfo|getnameinfo|gethostby\w+|getpw(?:nam|uid)(?:_r)?|getgr(?:nam|gid)(?:_r)?|"
    r"uv_getaddrinfo|uv_getnameinfo|uv_os_get_passwd|dlopen)\s*\(")

BANNED_HEADERS = ("iostream", "sstream", "regex", "locale", "format")
# They bring the locales of the standard library into the executable.
BANNED_IN_PROGRAM = ("fstream", "filesystem")

MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 90
# Longer than allowed, with the reason: "path:function name" → reason.
SIZE_EXCEPTIONS = {}

# Paths and addresses of a machine that somebody happened to build on.
MACHINE_PATHS = re.compile(
    r"(?<![\w.})/-])/root/\.(cache|ccache)"
)

CODE = (".h", ".cpp", ".c")


def project_files(root):
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True)
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
    else:  # an exported tree
        names = [str(p.relative_to(root)) for p in Path(root).rglob("*") if p.is_file()]
        names = [n for n in names if not n.startswith("build/")]
    for name in sorted(set(names)):
        path = Path(root, name)
        if path.is_file():
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                pass  # a binary fixture


def without_comments_and_strings(text):
    """The same text, same length and lines, with comments and literals blanked."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^()\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        kept = '"' if match.group().endswith('"') else " "
        return re.sub(r"[^\n]", " ", match.group()[:-1]) + kept

    # A digit separator (1'000) is not the start of a character literal.
    return pattern.sub(blank, re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "_", text))


def check_includes(name, text):
    allowed = next((v for k, v in DIRECTIONS.items() if name.startswith(k)), None)
    if allowed is None or not name.endswith(CODE):
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if not match:
            continue
        target = match.group(1)
        if not target.startswith(OUR_FOLDERS):
            if Path(target).suffix in (".h", ".def"):
                yield number, f'"{target}" is not rooted at the top folder'
        elif not target.startswith(tuple(allowed)):
            yield number, f'may not include "{target}"; allowed are {", ".join(allowed)}'


def check_first_line(name, text):
    starts = {".h": "//", ".cpp": "//", ".c": "//", ".def": "//", ".cmake": "#", ".py": "#",
              ".sh": "#", ".map": "/*", ".js": "//", ".go": "//", ".rs": "//", ".java": "//"}
    path = Path(name)
    mark = starts.get(path.suffix)
    if path.name == "CMakeLists.txt" or name.startswith((".ci/", "scripts/")):
        mark = "#"
    if mark is None or path.suffix == ".json":
        return
    lines = text.splitlines() or [""]
    line = lines[1] if lines[0].startswith("#!") and len(lines) > 1 else lines[0]
    if not line.startswith(f"{mark} {name} — "):
        yield 1, f'the first line must be "{mark} {name} — what the file is for"'


def check_size(name, text):
    if not name.endswith(CODE + (".py", ".sh", ".cmake", ".js")):
        return
    lines = text.splitlines()
    if len(lines) > MAX_FILE_LINES and name not in SIZE_EXCEPTIONS:
        yield 1, f"{len(lines)} lines; the limit is {MAX_FILE_LINES}"
    if not name.endswith(CODE):
        return
    # Namespaces are not indented, so a function of a .cpp starts and ends in column 0.
    start, title = None, ""
    for number, line in enumerate(without_comments_and_strings(text).splitlines(), 1):
        if re.match(r"[A-Za-z_~\[].*[({,]\s*$|[A-Za-z_~].*\)\s*(const|noexcept|override)*\s*\{$", line):
            if start is None or title == "":
                start, title = number, line
            if re.match(r"(namespace|struct|class|enum|union|extern|template|using)\b", line):
                title = ""
        if line.startswith("}"):
            if title and "(" in title and start is not None:
                length = number - start + 1
                called = re.search(r"([~\w:]+)\s*\(", title)
                called = called.group(1) if called else title
                if length > MAX_FUNCTION_LINES and f"{name}:{called}" not in SIZE_EXCEPTIONS:
                    yield start, f"{called} has {length} lines; the limit is {MAX_FUNCTION_LINES}"
            start, title = None, ""


def check_banned(name, text):
    if not name.endswith(CODE) or name.startswith(("tests/apps/", "bench/")):
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*#\s*include\s*<(\w+)>", line)
        is_program = name.startswith(("applets/", "hook/", "k8s/", "net/", "proto/"))
        if match and (match.group(1) in BANNED_HEADERS or is_program and match.group(1) in BANNED_IN_PROGRAM):
            yield number, f"<{match.group(1)}> is not used here: it doubles the program"
    if name.startswith(("applets/", "net/", "k8s/")):
        for number, line in enumerate(without_comments_and_strings(text).splitlines(), 1):
            match = BANNED_CALLS.search(line)
            if match:
                yield number, f"{match.group(1)} does not work in a static program"


def check_coroutines(name, text):
    """GCC 12 miscompiles temporaries inside a co_await expression: only names may stand there."""
    if not name.endswith((".h", ".cpp")) or "co_await" not in text:
        return
    code = without_comments_and_strings(text)
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group()), code,
                  flags=re.M)
    for found in re.finditer(r"\bco_await\b", code):
        begin = max(code.rfind(c, 0, found.start()) for c in ";{}") + 1
        depth, end = 0, found.end()
        while end < len(code):
            c = code[end]
            if c in "([{":
                depth += 1
            elif c in ")]}":
                depth -= 1
            if depth < 0 or (c == ";" and depth == 0):
                break
            end += 1
        number = code.count("\n", 0, found.start()) + 1
        before, after = code[begin:found.start()], code[found.end():end]
        # `Type name{co_await …}` begins at its brace, so look at what stands before that too.
        if code[begin - 1:begin] == "{" and re.search(r"[\w>]\s*$", code[:begin - 1]) and not re.search(
                r"\b(else|do|try|mutable|const|noexcept|->\s*[\w:<>*& ]+)\s*$", code[:begin - 1]):
            yield number, "co_await inside a braced initialiser; give the parts names first"
        expression = re.sub(r"^.*\b(?:if|while|switch|for)\s*\(", "", before, flags=re.S) + after
        if "{" in expression:
            yield number, "a braced list in a co_await expression; give it a name first"
        if "?" in expression:
            yield number, "a ?: in a co_await expression; give its value a name first"
        if re.search(r"(?<![\w)\]\s])\s*\[(?!\[)", re.sub(r"\bauto\s*&*\s*\[[^\]]*\]", "", expression)):
            yield number, "a lambda in a co_await expression; give it a name first"


def check_paths(name, text):
    if name == "tests/style/check.py":
        return
    for number, line in enumerate(text.splitlines(), 1):
        match = MACHINE_PATHS.search(line)
        if match:
            yield number, f"names a place on one machine: {match.group().strip()}"


def check_notes(name, text):
    if name != "third_party_notes.md":
        return
    table = Path(__file__).resolve().parents[2] / "cmake/dependencies.txt"
    for line in table.read_text().splitlines():
        if line and not line.startswith("#"):
            library, version, _, sha256, *_ = line.split()
            if not any(version in row and sha256 in row for row in text.splitlines()):
                yield 1, f"has no row with the version and sum of {library} in cmake/dependencies.txt"


RULES = {
    "includes": check_includes,
    "first_line": check_first_line,
    "size": check_size,
    "banned": check_banned,
    "coroutines": check_coroutines,
    "paths": check_paths,
    "notes": check_notes,
}


def main():
    root, *rules = sys.argv[1:]
    complaints = 0
    for name, text in project_files(root):
        for rule in rules or RULES:
            for number, message in RULES[rule](name, text):
                print(f"{name}:{number}: {message}")
                complaints += 1
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
