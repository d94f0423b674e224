// applets/demo/tour.cpp — the same commands on this machine and in the pod, side by side.
#include "applets/demo/tour.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "applets/demo/sandbox.h"

namespace mirrord::demo {
namespace {

constexpr std::size_t kColumn = 37;    // two of them and their borders fit 80 columns
constexpr std::size_t kMaxLines = 12;  // of one cell
constexpr std::size_t kMaxOutput = 16384;
constexpr std::chrono::seconds kCommandTime{20};

using Words = std::vector<std::string>;

struct Step {
  const char* title;
  Words command;
  std::string shown;  // as a user would type it
};

struct Outcome {
  std::string output;
  int status = 0;
};

bool is_installed(const char* program) {
  const char* path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread
  std::string_view rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    if (access((std::string(folder) + "/" + program).c_str(), X_OK) == 0)
      return true;
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
  }
  return false;
}

// Some program that gets a page, whatever this machine has.
Step fetch_step() {
  constexpr const char* kTitle = "Ask an HTTP service that only the pod can reach";
  if (is_installed("curl"))
    return {kTitle, {"curl", "-sS", "-m", "5", "http://shop/"}, "curl http://shop/"};
  if (is_installed("wget"))
    return {kTitle, {"wget", "-nv", "-T5", "-t1", "-O-", "http://shop/"}, "wget -O- http://shop/"};
  if (is_installed("python3")) {
    return {kTitle,
            {"python3", "-c",
             "import sys, urllib.request as r\n"
             "try: print(r.urlopen('http://shop/', timeout=5).read().decode())\n"
             "except OSError as e: sys.exit(str(e))"},
            "python3 -c \"… urlopen('http://shop/') …\""};
  }
  return {kTitle,
          {"bash", "-c",
           "exec 3<>/dev/tcp/shop/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && "
           "while read -r line <&3; do last=$line; done; echo \"$last\""},
          "bash -c 'exec 3<>/dev/tcp/shop/80; …'"};
}

void wait_for(pid_t child, int& status) {
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void become(const Words& command, int output) {
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : command)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  dprintf(STDERR_FILENO, "%s: %s\n", arguments.front(), strerror(errno));
  _exit(127);
}

// What the command prints on both streams, and its exit status.
Outcome run(const Words& command) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return {.output = "no pipe\n", .status = 1};
  Fd reader(ends[0]), writer(ends[1]);
  const pid_t child = fork();
  if (child == 0)
    become(command, writer.get());
  writer.reset();
  if (child < 0)
    return {.output = "no process\n", .status = 1};
  Outcome outcome;
  const auto deadline = std::chrono::steady_clock::now() + kCommandTime;
  std::array<char, 4096> part{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd waiting{.fd = reader.get(), .events = POLLIN, .revents = 0};
    const int ready = poll(&waiting, 1, static_cast<int>(std::max<long>(left.count(), 0)));
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready <= 0) {
      kill(child, SIGKILL);
      outcome.output += "(no answer in time)\n";
      break;
    }
    const ssize_t count = read(reader.get(), part.data(), part.size());
    if (count <= 0)
      break;
    if (outcome.output.size() < kMaxOutput)
      outcome.output.append(part.data(), static_cast<std::size_t>(count));
  }
  int status = 0;
  wait_for(child, status);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
  return outcome;
}

bool starts_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
}

// How much of the line fits the column; a word is broken only when it is too long by itself.
std::string_view first_part(std::string_view line) {
  std::size_t size = 0, columns = 0;
  for (; size < line.size(); ++size) {
    if (starts_character(line[size]) && columns++ == kColumn)
      break;
  }
  const std::size_t space = line.substr(0, size).rfind(' ');
  return line.substr(0, size == line.size() || space == std::string_view::npos ? size : space + 1);
}

// Lines of one cell: wrapped to the column, cut to the number of lines.
Words cell(std::string_view text) {
  Words lines;
  while (!text.empty() && lines.size() <= kMaxLines) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    do {
      lines.emplace_back(first_part(line));
      line.remove_prefix(lines.back().size());
    } while (!line.empty());
  }
  if (lines.empty())
    lines.emplace_back("(nothing)");
  if (lines.size() > kMaxLines) {
    lines.resize(kMaxLines);
    lines.back() = "...";
  }
  for (std::string& line : lines) {
    // Tabs and escapes of a program would shift the table.
    std::ranges::replace_if(
        line, [](char byte) { return byte >= 0 && byte < ' '; }, ' ');
  }
  return lines;
}

std::string padded(const std::string& line) {
  const auto columns = static_cast<std::size_t>(std::ranges::count_if(line, starts_character));
  return line + std::string(kColumn - std::min(columns, kColumn), ' ');
}

struct Style {
  const char* bold = "";
  const char* faint = "";
  const char* plain = "";
};

Style choose_style() {
  const char* terminal = std::getenv("TERM");  // NOLINT(concurrency-mt-unsafe): one thread
  const bool is_dumb = terminal == nullptr || std::strcmp(terminal, "dumb") == 0;
  if (!isatty(STDOUT_FILENO) || is_dumb ||
      std::getenv("NO_COLOR") != nullptr)  // NOLINT(concurrency-mt-unsafe)
    return {};
  return {.bold = "\x1b[1m", .faint = "\x1b[2m", .plain = "\x1b[0m"};
}

void print_table(const Style& style, const Words& left, const Words& right) {
  const std::string rule(kColumn + 1, '-');
  std::printf("  %s%s | in the pod%s\n", style.faint, padded("on this machine").c_str(),
              style.plain);
  std::printf("  %s%s+%s%s\n", style.faint, rule.c_str(), rule.c_str(), style.plain);
  for (std::size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    const std::string mine = i < left.size() ? left[i] : "";
    const std::string theirs = i < right.size() ? right[i] : "";
    std::printf("  %s %s|%s %s\n", padded(mine).c_str(), style.faint, style.plain, theirs.c_str());
  }
  std::putchar('\n');
}

Words inside(const Words& command, const std::string& target) {
  Words words = {"/proc/self/exe", "exec", "--target", target, "--"};
  words.insert(words.end(), command.begin(), command.end());
  return words;
}

void print_next() {
  std::puts(
      "What to try next:\n"
      "  mirrord demo -- bash                      look around yourself\n"
      "  mirrord demo -- cat /etc/resolv.conf      the pod's name server\n"
      "  mirrord demo -- grep -r price /data       any program, any language\n"
      "  mirrord exec --target process/PID -- ...  a process of this machine\n"
      "  mirrord exec --target container/ID -- ... a container of this machine");
}

int fail_tour(const Error& error) {
  std::fprintf(stderr, "mirrord demo: %s\n", error.what.c_str());
  if (!error.hint.empty())
    std::fprintf(stderr, "  %s\n", error.hint.c_str());
  return 1;
}

}  // namespace

int show_tour() {
  setenv("MIRRORD_PROGRESS_MODE", "off", 1);  // NOLINT(concurrency-mt-unsafe): one thread
  Result<Sandbox> sandbox = Sandbox::start();
  if (!sandbox)
    return fail_tour(sandbox.error());
  const std::string target = "process/" + std::to_string(sandbox->pid());
  const std::vector<Step> steps = {
      {"Read a file of the pod", {"cat", "/app/config.yaml"}, "cat /app/config.yaml"},
      {"Look at its environment", {"printenv", "DB_HOST"}, "printenv DB_HOST"},
      fetch_step(),
      {"List its data", {"ls", "/data"}, "ls /data"},
  };
  const Style style = choose_style();
  std::printf(
      "A pod has been made on this machine: files, variables, names and a network of\n"
      "its own. The same programs of this machine run as they are, then with mirrord.\n\n");
  int code = 0;
  int number = 0;
  for (const Step& step : steps) {
    std::printf("%s%d. %s%s\n  $ %s\n\n", style.bold, ++number, step.title, style.plain,
                step.shown.c_str());
    std::fflush(stdout);
    const Outcome here = run(step.command);
    const Outcome there = run(inside(step.command, target));
    print_table(style, cell(here.output), cell(there.output));
    if (there.status != 0)
      code = 1;
  }
  if (code == 0)
    print_next();
  else
    std::fputs("mirrord demo: a command failed in the pod; the table shows what it said\n", stderr);
  return code;
}

}  // namespace mirrord::demo
