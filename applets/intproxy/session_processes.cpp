// applets/intproxy/session_processes.cpp — reads the environments in /proc.
#include "applets/intproxy/session_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <string>

#include "net/fd.h"
#include "proto/local.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxProcFile = 4 << 20;

// Reads a file of /proc whole; empty when it cannot be read.
std::string read_proc(pid_t process, std::string_view name) {
  const std::string path = "/proc/" + std::to_string(process) + "/" + std::string(name);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 16384> piece;
  while (file.is_open() && text.size() < kMaxProcFile) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count <= 0) {
      break;
    }
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
  return text;
}

}  // namespace

std::vector<pid_t> processes_of_session(std::string_view session_directory) {
  std::string marker = local::kSessionVariable;
  marker += '=';
  marker += session_directory;
  marker += '\0';
  std::vector<pid_t> found;
  DIR* processes = ::opendir("/proc");
  if (processes == nullptr) {
    return found;
  }
  while (const dirent* entry = ::readdir(processes)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') {
      continue;
    }
    const auto process = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (process == ::getpid()) {
      continue;
    }
    const std::string environment = read_proc(process, "environ");
    const std::size_t at = environment.find(marker);
    if (at != std::string::npos && (at == 0 || environment[at - 1] == '\0')) {
      found.push_back(process);
    }
  }
  ::closedir(processes);
  return found;
}

bool has_unconnected_process(std::string_view session_directory, std::string_view hook_path) {
  return std::ranges::any_of(processes_of_session(session_directory), [&](pid_t process) {
    // A program without the hook (a static one) cannot ask for anything any more.
    return hook_path.empty() || read_proc(process, "maps").find(hook_path) != std::string::npos;
  });
}

}  // namespace mirrord::intproxy
