#!/usr/bin/env python3
# tests/style/check_test.py — the style checks themselves: what each must refuse and must let pass.
import check


def verdict(rule, name, text):
    return [number for number, _ in check.RULES[rule](name, text)]


def test_includes():
    assert verdict("includes", "net/a.cpp", '#include "net/b.h"\n') == []
    assert verdict("includes", "net/a.cpp", '#include "proto/b.h"\n') == [1]
    assert verdict("includes", "proto/a.h", '#include "net/b.h"\n') == [1]
    assert verdict("includes", "hook/a.cpp", '#include "proto/local.h"\n') == []
    assert verdict("includes", "hook/a.cpp", '#include "proto/codec.h"\n') == [1]
    assert verdict("includes", "main.cpp", '#include "net/b.h"\n') == [1]
    assert verdict("includes", "net/a.cpp", '#include "b.h"\n') == [1]


def test_first_line():
    assert verdict("first_line", "net/a.h", "// net/a.h — one thing.\n") == []
    assert verdict("first_line", "net/a.h", "#pragma once\n") == [1]
    assert verdict("first_line", "scripts/x", "#!/bin/sh\n# scripts/x — one thing.\n") == []


def test_size():
    body = "  x();\n"
    assert verdict("size", "net/a.cpp", "void f(int a) {\n" + body * 80 + "}\n") == []
    assert verdict("size", "net/a.cpp", "void f(int a) {\n" + body * 95 + "}\n") == [1]
    assert verdict("size", "net/a.cpp", "namespace a {\nint f(int a,\n      int b) {\n" + body * 95 + "}\n}\n") == [2]
    assert verdict("size", "net/a.cpp", "constexpr int kTable[] = {\n" + "  1,\n" * 95 + "};\n") == []
    assert verdict("size", "net/a.cpp", "// a\n" * 801) == [1]


def test_coroutines():
    def complaints(statement):
        return verdict("coroutines", "net/a.cpp", "Task f() {\n  " + statement + "\n}\n")

    assert complaints("auto a = co_await read(stream, std::move(buffer));") == []
    assert complaints("if (auto a = co_await read(stream); !a) { return; }") == []
    assert complaints("co_await items[i];") == []
    assert complaints("while (co_await next(stream)) { ask({1}); }") == []
    assert complaints('co_await say("{?}");') == []
    assert complaints("MIRRORD_CO_TRY(a, co_await read(stream));") == []
    assert complaints("auto [a, b] = co_await read(stream);") == []
    assert complaints("co_await read(Options{1});") == [2]
    assert complaints("co_await read(a ? b : c);") == [2]
    assert complaints("co_await read([] { return 1; });")[:1] == [2]
    assert complaints("auto a = flag ? co_await x : y;") == [2]
    assert complaints("Pair a{co_await x, 1};") == [2]
    assert complaints("MIRRORD_CO_TRY(a, co_await read(Options{1}));") == [2]


def test_paths_and_banned():
    assert verdict("banned", "net/a.cpp", "#include <regex>\n") == [1]
    assert verdict("banned", "net/a.cpp", "#include <string>\n") == []
    assert verdict("banned", "net/a.cpp", "x = ::getaddrinfo(a, b, c, d);\n") == [1]
    assert verdict("banned", "net/a.cpp", "ares_getaddrinfo(a, b);  // not getaddrinfo()\n") == []
    assert verdict("banned", "hook/a.cpp", "getaddrinfo(a, b, c, d);\n") == []
    assert verdict("paths", "docs/a.md", "cd /root/" + ".cache\n") == [1]
    assert verdict("paths", "docs/a.md", "/proc/1/root/etc\n") == []


for case in [value for key, value in list(globals().items()) if key.startswith("test_")]:
    case()
print("the style checks refuse and accept what they should")
