// bench/process.cpp — child processes of the benchmark.
#include "bench/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>

#include "bench/measure.h"

namespace mirrord::bench {
namespace {

[[noreturn]] void give_up(const std::vector<std::string>& command, const std::string& why) {
  std::string text;
  for (const std::string& word : command) {
    text += word + " ";
  }
  std::fprintf(stderr, "bench: %s\n  command: %s\n", why.c_str(), text.c_str());
  std::exit(1);
}

// Not a fork: copying this process's page tables would be most of what a small program takes.
pid_t start(const std::vector<std::string>& command, int output, int input = -1) {
  std::vector<char*> words;
  for (const std::string& word : command) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (input >= 0) {
    ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  }
  if (output >= 0) {
    ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  }
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    give_up(command, std::string("could not be started: ") + std::strerror(error));
  }
  return pid;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t count; (count = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return text;
}

Values parse(const std::string& text) {
  Values values;
  std::array<char, 64> name;
  double value = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    if (std::sscanf(text.substr(at, end - at).c_str(), "%63s %lf", name.data(), &value) == 2) {
      values[name.data()] = value;
    }
    at = end + 1;
  }
  return values;
}

std::string read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return {};
  }
  std::string text = read_all(fd);
  ::close(fd);
  return text;
}

// A field of /proc/PID/status that is in kB.
double status_mib(pid_t pid, const std::string& field) {
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = status.find(field);
  return at == std::string::npos ? 0
                                 : std::strtod(status.c_str() + at + field.size(), nullptr) / 1024;
}

}  // namespace

Values run_and_read(const std::vector<std::string>& command) {
  std::array<int, 2> pipe;
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    give_up(command, "no pipe");
  }
  const pid_t pid = start(command, pipe[1]);
  ::close(pipe[1]);
  const std::string text = read_all(pipe[0]);
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) {
    give_up(command, "failed with wait status " + std::to_string(status) + ", printed: " + text);
  }
  return parse(text);
}

double run_and_time_ms(const std::vector<std::string>& command) {
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  const double begin = now_us();
  const pid_t pid = start(command, null);
  int status = 0;
  ::waitpid(pid, &status, 0);
  const double end = now_us();
  ::close(null);
  if (status != 0) {
    give_up(command, "failed with wait status " + std::to_string(status));
  }
  return (end - begin) / 1000;
}

Background::Background(const std::vector<std::string>& command, const std::string& ready) {
  std::array<int, 2> pipe;
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    give_up(command, "no pipe");
  }
  pid_ = start(command, pipe[1]);
  ::close(pipe[1]);
  output_ = pipe[0];
  const double deadline = now_us() + 20e6;
  std::array<char, 4096> buffer;
  while (first_lines_.find(ready) == std::string::npos || first_lines_.back() != '\n') {
    pollfd waiting{output_, POLLIN, 0};
    const ssize_t count =
        ::poll(&waiting, 1, 1000) > 0 ? ::read(output_, buffer.data(), buffer.size()) : -1;
    if (count == 0 || now_us() > deadline) {
      give_up(command, "did not become ready; printed: " + first_lines_);
    }
    if (count > 0) {
      first_lines_.append(buffer.data(), static_cast<std::size_t>(count));
    }
  }
}

Background::~Background() {
  ::kill(pid_, SIGTERM);
  for (int i = 0; i < 300; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      ::close(output_);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  ::close(output_);
}

PacedProbe::PacedProbe(const std::vector<std::string>& command) : command_(command) {
  std::array<int, 2> to;
  std::array<int, 2> from;
  if (::pipe2(to.data(), O_CLOEXEC) != 0 || ::pipe2(from.data(), O_CLOEXEC) != 0) {
    give_up(command, "no pipe");
  }
  pid_ = start(command, from[1], to[0]);
  ::close(from[1]);
  ::close(to[0]);
  input_ = to[1];
  output_ = from[0];
  sample_us();  // started, and everything set up
}

PacedProbe::~PacedProbe() {
  ::close(input_);
  ::waitpid(pid_, nullptr, 0);
  ::close(output_);
}

double PacedProbe::sample_us() {
  double us = 0;
  if (::write(input_, "x", 1) != 1 || ::read(output_, &us, sizeof us) != sizeof us) {
    give_up(command_, "ended early");
  }
  return us;
}

double resident_mib(pid_t pid) {
  return status_mib(pid, "VmRSS:");
}

double peak_resident_mib(pid_t pid) {
  return status_mib(pid, "VmHWM:");
}

double cpu_us(pid_t pid) {
  clockid_t clock = 0;
  timespec used{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
    return 0;
  }
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  ::close(fd);
  return bound ? ntohs(address.sin_port) : 0;
}

}  // namespace mirrord::bench
