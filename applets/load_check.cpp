// applets/load_check.cpp — reads the process's executable, maps and environment in /proc.
#include "applets/load_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "applets/program.h"
#include "net/fd.h"

namespace mirrord {
namespace {

constexpr std::size_t kLargestText = 4 << 20;

// Whole or empty; files of /proc have no size that could be asked for.
std::string read_text(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 16384> piece;
  while (file && text.size() < kLargestText) {
    const ssize_t count = read(file.get(), piece.data(), piece.size());
    if (count <= 0)
      break;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
  return text;
}

bool is_same_file(const std::string& one, const std::string& other) {
  struct stat first {};
  struct stat second {};
  return stat(one.c_str(), &first) == 0 && stat(other.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

std::string executable_name(const std::string& link) {
  std::array<char, 4096> name{};
  const ssize_t length = readlink(link.c_str(), name.data(), name.size() - 1);
  return length > 0 ? std::string(name.data(), static_cast<std::size_t>(length)) : std::string();
}

}  // namespace

std::optional<std::string> explain_not_loaded(pid_t process, const std::string& hook) {
  const std::string directory = "/proc/" + std::to_string(process);
  const std::string executable = directory + "/exe";
  const std::string name = executable_name(executable);
  if (name.empty())
    return "";
  if (is_same_file(executable, "/proc/self/exe"))
    return std::nullopt;
  if (read_text(directory + "/maps").find(hook) != std::string::npos)
    return "";
  ProgramKind kind = inspect_program(executable, {});
  kind.binary = name;
  const std::vector<std::string> warnings = program_warnings(kind, name);
  if (!warnings.empty())
    return warnings[0];
  if (read_text(directory + "/environ").find(hook) == std::string::npos)
    return "`" + name +
           "` was started without LD_PRELOAD: a wrapper between mirrord and it has cleaned the "
           "environment; let it pass LD_PRELOAD and MIRRORD_* on, or call mirrord inside it";
  return "the loader of `" + name + "` did not load " + hook +
         ": is its C library of another kind, or is that file out of its reach?";
}

bool is_left_alone(pid_t process, const std::vector<std::string>& names) {
  const std::string directory = "/proc/" + std::to_string(process);
  const std::string path = executable_name(directory + "/exe");
  const std::string name = path.substr(path.rfind('/') + 1);
  if (std::ranges::find(names, name) != names.end())
    return true;
  constexpr std::string_view kVariable = "MIRRORD_SKIP_PROCESSES=";
  const std::string environment = '\0' + read_text(directory + "/environ");
  const std::size_t at = environment.find('\0' + std::string(kVariable));
  if (at == std::string::npos)
    return false;
  const std::string list = environment.c_str() + at + 1 + kVariable.size();
  return (";" + list + ";").find(";" + name + ";") != std::string::npos;
}

}  // namespace mirrord
