// tests/unit/hook/debugger_ports_test.cpp — the command lines of debuggers, as editors start them.
#include "hook/debugger_ports.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mirrord::hook {
namespace {

class DebuggerPorts : public testing::Test {
 protected:
  std::string found() const {
    std::string text;
    for (uint32_t i = 0; i < ports_.count; ++i) {
      const auto [first, last] = items_[i];
      text += (i == 0 ? "" : ",") + std::to_string(first);
      if (last != first) {
        text += "-" + std::to_string(last);
      }
    }
    return text;
  }
  std::string list(const char* text) {
    ports_.count = 0;
    add_listed_ports(ports_, text);
    return found();
  }
  std::string arguments(const char* kind, const std::vector<std::string>& words) {
    ports_.count = 0;
    // Exactly as long as its content: a sanitizer sees every byte read beyond it.
    std::vector<char> line;
    for (const std::string& word : words) {
      line.insert(line.end(), word.c_str(), word.c_str() + word.size() + 1);
    }
    add_argument_ports(ports_, kind, line.data(), line.size());
    return found();
  }
  std::string node(const char* options, const char* info) {
    ports_.count = 0;
    add_inspector_ports(ports_, options, info);
    return found();
  }

  local::PortRange items_[4] = {};
  PortRanges ports_ = {items_, 4, 0};
};

TEST_F(DebuggerPorts, Listed) {
  EXPECT_EQ(list("45000-65535"), "45000-65535");
  EXPECT_EQ(list("1, 2-3 ,4"), "1,2-3,4");
  EXPECT_EQ(list(""), "");
  EXPECT_EQ(list(",,x,0,70000,5-4,1-,-1,99999999999999999999,7x"), "");
  EXPECT_EQ(list("1,2,3,4,5,6"), "1,2,3,4");
}

TEST_F(DebuggerPorts, Debugpy) {
  EXPECT_EQ(arguments("debugpy",
                      {"/usr/bin/python3", "/x/debugpy", "--connect", "127.0.0.1:40001", "app.py"}),
            "40001");
  EXPECT_EQ(arguments("debugpy", {"python", "-X", "frozen_modules=off", "/x/debugpy", "--connect",
                                  "[::1]:40002"}),
            "40002");
  EXPECT_EQ(arguments("debugpy", {"python", "app.py", "--connect", "127.0.0.1:40001"}), "");
  EXPECT_EQ(arguments("debugpy", {"ruby", "/x/debugpy", "--connect", "127.0.0.1:40001"}), "");
  EXPECT_EQ(arguments("debugpy", {"python", "/x/debugpy", "--connect"}), "");
  EXPECT_EQ(arguments("debugpy", {}), "");
}

TEST_F(DebuggerPorts, Pydevd) {
  EXPECT_EQ(arguments("pydevd", {"/venv/bin/python", "/ide/pydev/pydevd.py", "--multiprocess",
                                 "--client", "127.0.0.1", "--port", "32845", "--file", "a.py"}),
            "32845");
  EXPECT_EQ(arguments("pydevd", {"python", "pydevd/main.py", "--port", "32845"}), "");
}

TEST_F(DebuggerPorts, Resharper) {
  EXPECT_EQ(arguments("resharper", {"/usr/share/dotnet", "exec", "/r/JetBrains.Debugger.Worker.exe",
                                    "--mode=server", "--frontend-port=40905"}),
            "40905");
  EXPECT_EQ(arguments("resharper", {"dotnet", "run", "app.dll", "--frontend-port=40905"}), "");
}

TEST_F(DebuggerPorts, Java) {
  const std::string agent =
      "-agentlib:jdwp=transport=dt_socket,address=127.0.0.1:54898,suspend=y,server=n";
  EXPECT_EQ(arguments("javaagent", {"/opt/jdk/bin/java", agent, "Main"}), "54898");
  EXPECT_EQ(arguments("javaagent", {"C:\\jdk\\JAVAW.exe", agent}), "54898");
  EXPECT_EQ(
      arguments("javaagent", {"java", "-agentlib:jdwp=transport=dt_socket,server=y,address=5005"}),
      "5005");
  EXPECT_EQ(arguments("javaagent", {"javac", agent}), "");
  EXPECT_EQ(arguments("javaagent", {"java", "-agentlib:jdwp=transport=dt_socket,server=y"}), "");

  const std::string line("java\0@/tmp/a\0-x\0@b\0@\0", 21);
  std::size_t at = 0;
  EXPECT_STREQ(next_argument_file(line.data(), line.size(), &at), "/tmp/a");
  EXPECT_STREQ(next_argument_file(line.data(), line.size(), &at), "b");
  EXPECT_EQ(next_argument_file(line.data(), line.size(), &at), nullptr);
  ports_.count = 0;
  const std::string text = "-cp\n\"/a b\"\n\"" + agent + "\"\nMain\n";
  add_argument_file_ports(ports_, text.data(), text.size());
  EXPECT_EQ(found(), "54898");
}

TEST_F(DebuggerPorts, Node) {
  EXPECT_EQ(node("--require x --inspect=9300", nullptr), "9300");
  EXPECT_EQ(node("--inspect-brk --inspect-wait=127.0.0.1:9301", nullptr), "9229,9301");
  EXPECT_EQ(node("--inspector=1 --inspect-port", nullptr), "");
  EXPECT_EQ(node(nullptr, R"({"ipc":"/tmp/x","inspectorURL":"ws://127.0.0.1:40123/abc:1"})"),
            "40123");
  EXPECT_EQ(node("--x", R"({"inspectorURL":""})"), "");
  EXPECT_EQ(node(nullptr, nullptr), "");
}

TEST_F(DebuggerPorts, UnknownKinds) {
  EXPECT_EQ(arguments("gdb", {"python", "/x/debugpy", "--connect", "127.0.0.1:1"}), "");
}

}  // namespace
}  // namespace mirrord::hook
