// tests/support/child_process.cpp — fork, exec and pipes for tests.
#include "tests/support/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

namespace mirrord::test {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  Fd read_end;
  Fd write_end;
};

Pipe make_pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0)
    std::abort();
  return {Fd(ends[0]), Fd(ends[1])};
}

[[noreturn]] void become(const ChildProcess::Setup& setup, int input, int output, int errors) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(input, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  for (const int fd : setup.passed)
    ::fcntl(fd, F_SETFD, 0);
  std::vector<char*> arguments;
  for (const std::string& word : setup.command)
    arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::vector<std::string> entries;
  for (const auto& [name, value] : setup.environment)
    entries.push_back(name + "=" + value);
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
    if (const char* value = ::getenv(name))
      entries.push_back(std::string(name) + "=" + value);
  }
  std::vector<char*> environment;
  for (std::string& entry : entries)
    environment.push_back(entry.data());
  environment.push_back(nullptr);
  ::execve(arguments[0], arguments.data(), environment.data());
  std::perror(arguments[0]);
  std::_Exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const Setup& setup) {
  Pipe input = make_pipe();
  Pipe output = make_pipe();
  Pipe errors = make_pipe();
  pid_ = ::fork();
  if (pid_ == 0)
    become(setup, input.read_end.get(), output.write_end.get(), errors.write_end.get());
  input_ = std::move(input.write_end);
  output_ = std::move(output.read_end);
  errors_ = std::move(errors.read_end);
}

ChildProcess::~ChildProcess() {
  if (!wait(0)) {
    signal(SIGKILL);
    wait();
  }
  // What a sanitizer has to say about it. A child of the program may still hold the pipe open.
  ::fcntl(errors_.get(), F_SETFL, O_NONBLOCK);
  const std::string errors = error_text();
  for (const char* mark : {"Sanitizer: ", "runtime error: "}) {
    if (errors.find(mark) != std::string::npos)
      ADD_FAILURE() << errors;
  }
}

void ChildProcess::signal(int number) const {
  ::kill(pid_, number);
}

std::optional<int> ChildProcess::wait(int timeout_ms) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!status_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_)
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    else if (Clock::now() >= end)
      return std::nullopt;
    else
      ::usleep(1000);
  }
  return status_;
}

std::optional<std::string> ChildProcess::read_line(int timeout_ms) {
  while (buffered_.find('\n') == std::string::npos) {
    pollfd entry{.fd = output_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&entry, 1, timeout_ms) <= 0)
      return std::nullopt;
    char buffer[4096];
    const ssize_t count = ::read(output_.get(), buffer, sizeof buffer);
    if (count <= 0)
      return std::nullopt;
    buffered_.append(buffer, static_cast<std::size_t>(count));
  }
  const std::size_t end = buffered_.find('\n');
  std::string line = buffered_.substr(0, end);
  buffered_.erase(0, end + 1);
  return line;
}

std::string ChildProcess::read_rest(int timeout_ms) {
  std::string rest;
  while (const auto line = read_line(timeout_ms))
    rest += *line + "\n";
  return rest + buffered_;
}

std::string ChildProcess::error_text() {
  std::string text;
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::read(errors_.get(), buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<std::size_t>(count));
  return text;
}

TempFolder::TempFolder() {
  char pattern[] = "/tmp/mirrord-test-XXXXXX";
  if (::mkdtemp(pattern) == nullptr)
    std::abort();
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, std::string_view content) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  while (!content.empty()) {
    const ssize_t count = ::write(fd.get(), content.data(), content.size());
    if (count <= 0)
      std::abort();
    content.remove_prefix(static_cast<std::size_t>(count));
  }
}

std::string read_file(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string content;
  char buffer[65536];
  ssize_t count = 0;
  while ((count = ::read(fd.get(), buffer, sizeof buffer)) > 0)
    content.append(buffer, static_cast<std::size_t>(count));
  return content;
}

}  // namespace mirrord::test
