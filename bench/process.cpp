// bench/process.cpp — child processes of the benchmark.
#include "bench/process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

pid_t start(const std::vector<std::string>& command, int output) {
  const pid_t pid = ::fork();
  if (pid != 0) {
    return pid;
  }
  if (output >= 0) {
    ::dup2(output, STDOUT_FILENO);
  }
  std::vector<char*> words;
  for (const std::string& word : command) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  std::_Exit(127);
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

double resident_mib(pid_t pid) {
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = status.find("VmRSS:");
  return at == std::string::npos ? 0 : std::strtod(status.c_str() + at + 6, nullptr) / 1024;
}

double cpu_us(pid_t pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t name_end = stat.rfind(')');
  unsigned long user = 0;
  unsigned long system = 0;
  if (name_end == std::string::npos ||
      std::sscanf(stat.c_str() + name_end + 2,
                  "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
    return 0;
  }
  return static_cast<double>(user + system) * 1e6 / static_cast<double>(::sysconf(_SC_CLK_TCK));
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
