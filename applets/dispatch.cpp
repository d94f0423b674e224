// applets/dispatch.cpp — finds the command to run, prints help, suggests a name for a mistyped one.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "applets/applet.h"
#include "applets/manual.h"
#include "applets/version.h"
#include "net/spelling.h"

namespace mirrord {
namespace {

constexpr std::string_view kProgram = "mirrord";
constexpr int kExitUsage = 2;

sighandler_t g_inherited_pipe_action = SIG_DFL;

std::string_view base_name(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

int printed_length(std::string_view text) {
  return static_cast<int>(text.size());
}

void print_help(std::span<const Applet> applets) {
  std::puts(
      "mirrord runs a local program as if it ran inside a remote pod or process.\n"
      "\n"
      "Usage: mirrord COMMAND [OPTIONS]\n"
      "\n"
      "Commands:");
  for (const Applet& applet : applets) {
    if (applet.visibility == Visibility::kPublic) {
      std::printf("  %-16.*s %.*s\n", printed_length(applet.name), applet.name.data(),
                  printed_length(applet.help), applet.help.data());
    }
  }
  std::puts(
      "  help [COMMAND]   show this text, or a command's help\n"
      "  man              print the manual page\n"
      "\n"
      "Options:\n"
      "  -h, --help       show this text; after a command, that command's help\n"
      "  -V, --version    print the version");
}

std::string_view nearest_name(std::span<const Applet> applets, std::string_view name) {
  net::Nearest nearest(name);
  for (const Applet& applet : applets) {
    if (applet.visibility == Visibility::kPublic)
      nearest.offer(applet.name);
  }
  return nearest.found();
}

int refuse_unknown(std::span<const Applet> applets, std::string_view name) {
  std::fprintf(stderr, "mirrord: unknown command '%.*s'", printed_length(name), name.data());
  const std::string_view nearest = nearest_name(applets, name);
  if (!nearest.empty())
    std::fprintf(stderr, "; did you mean '%.*s'?", printed_length(nearest), nearest.data());
  std::fputs("\nRun 'mirrord --help' for the list of commands.\n", stderr);
  return kExitUsage;
}

const Applet* find(std::span<const Applet> applets, std::string_view name) {
  const auto found = std::ranges::find(applets, name, &Applet::name);
  return found == applets.end() ? nullptr : &*found;
}

int show_help_of(std::span<const Applet> applets, std::string_view name) {
  const Applet* applet = find(applets, name);
  if (applet == nullptr)
    return refuse_unknown(applets, name);
  std::string own_name(name), help = "--help";
  char* argv[] = {own_name.data(), help.data(), nullptr};
  return applet->run(2, argv);
}

// Started without standard streams: nothing else may get their numbers. The program that `exec`
// becomes finds them closed again.
void hold_standard_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) < 0)
      static_cast<void>(open("/dev/null", O_RDWR | O_CLOEXEC));  // the lowest free number: fd
  }
}

}  // namespace

void restore_inherited_signals() {
  signal(SIGPIPE, g_inherited_pipe_action);
}

int run_applet(std::span<const Applet> applets, int argc, char** argv) {
  hold_standard_streams();
  g_inherited_pipe_action =
      signal(SIGPIPE, SIG_IGN);  // a closed peer is an error code here, not the end of the process

  if (argc > 0) {
    const std::string_view started_as = base_name(argv[0]);
    if (started_as.starts_with(kProgram) && started_as.substr(kProgram.size()).starts_with('-')) {
      const Applet* applet = find(applets, started_as.substr(kProgram.size() + 1));
      if (applet != nullptr)
        return applet->run(argc, argv);
    }
  }
  if (argc < 2) {
    print_help(applets);
    return kExitUsage;
  }
  const std::string_view command = argv[1];
  if (command == "help" && argc > 2)
    return show_help_of(applets, argv[2]);
  if (command == "--help" || command == "-h" || command == "help") {
    print_help(applets);
    return 0;
  }
  if (command == "man") {
    std::fputs(manual_page(applets).c_str(), stdout);
    return 0;
  }
  if (command == "--version" || command == "-V") {
    std::printf("mirrord %s\n", kVersion);
    return 0;
  }
  const Applet* applet = find(applets, command);
  if (applet == nullptr)
    return refuse_unknown(applets, command);
  return applet->run(argc - 1, argv + 1);
}

}  // namespace mirrord
