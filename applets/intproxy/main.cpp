// applets/intproxy/main.cpp — `mirrord intproxy`: a session of its own in the foreground, for tests
// and for other tools that prepare a session directory themselves.
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "applets/applet.h"
#include "applets/intproxy/start.h"

namespace mirrord {
namespace {

constexpr char kUsage[] =
    "Usage: mirrord intproxy --session-dir DIR (--agent-address ADDRESS:PORT | --stream-fd FD)\n"
    "                        [--root-pid PID] [--buffer BYTES]\n"
    "\n"
    "Serves the programs of one session. `mirrord exec` does this by itself.\n"
    "\n"
    "  --session-dir DIR          its socket and slots are made here; removed at the end\n"
    "  --agent-address ADDRESS    a running agent\n"
    "  --stream-fd FD             a connected stream to an agent\n"
    "  --root-pid PID             the session lives as long as this process\n"
    "  --buffer BYTES             files up to this size are read with the open [128000]\n";

bool parse_number(std::string_view text, long& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && number >= 0;
}

// False: the flag or its value is wrong.
bool take_flag(std::string_view flag, std::string_view value, intproxy::SessionOptions& options) {
  long number = 0;
  if (flag == "--session-dir") {
    options.directory = value;
    return true;
  }
  if (flag == "--agent-address") {
    options.agent.address = value;
    return true;
  }
  if (!parse_number(value, number)) {
    return false;
  }
  if (flag == "--stream-fd") {
    options.agent.stream.reset(static_cast<int>(number));
  } else if (flag == "--root-pid") {
    options.root_pid = static_cast<pid_t>(number);
  } else if (flag == "--buffer") {
    options.readonly_file_buffer = static_cast<std::size_t>(number);
  } else {
    return false;
  }
  return true;
}

}  // namespace

int intproxy_main(int argc, char** argv) {
  intproxy::SessionOptions options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--help" || flag == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (i + 1 >= argc || !take_flag(flag, argv[i + 1], options)) {
      std::fprintf(stderr, "mirrord intproxy: wrong argument '%s'\n%s", argv[i], kUsage);
      return 2;
    }
  }
  if (options.directory.empty() ||
      (options.agent.address.empty() && !options.agent.stream.is_open())) {
    std::fprintf(stderr, "mirrord intproxy: a session directory and an agent are needed\n%s",
                 kUsage);
    return 2;
  }
  options.fetch_environment = false;
  const Status served = intproxy::serve_session(std::move(options), Fd());
  if (!served) {
    std::fprintf(stderr, "mirrord intproxy: %s\n", served.error().what.c_str());
    if (!served.error().hint.empty()) {
      std::fprintf(stderr, "%s\n", served.error().hint.c_str());
    }
    return 1;
  }
  return 0;
}

}  // namespace mirrord
