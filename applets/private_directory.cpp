// applets/private_directory.cpp — makes and checks directories of this user.
#include "applets/private_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "applets/config/load.h"
#include "net/fd.h"
#include "net/file.h"
#include "net/random.h"

namespace mirrord {
namespace {

// sockaddr_un holds 108 bytes; the session's id and the socket's name follow.
constexpr std::size_t kLongestSessionParent = 70;
constexpr std::size_t kSessionNameBytes = 6;

std::string variable(const char* name) {
  return config::process_environment(name).value_or("");
}

std::string temporary_parent() {
  return "/tmp/mirrord-" + std::to_string(geteuid());
}

// LD_PRELOAD's list is separated by spaces and colons.
bool fits_preload(std::string_view path) {
  return path.starts_with('/') && path.find_first_of(" :\t\n") == std::string_view::npos;
}

}  // namespace

Status make_private_directory(const std::string& path) {
  const std::string tried = "using the directory `" + path + "`";
  if (mkdir(path.c_str(), 0700) != 0 && errno == ENOENT) {
    net::make_parent_directories(path, 0700);
    mkdir(path.c_str(), 0700);
  }
  const Fd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory)
    return fail_system(tried, errno);
  struct stat info {};
  if (fstat(directory.get(), &info) != 0)
    return fail_system(tried, errno);
  if (info.st_uid != geteuid())
    return fail(ErrorCode::kPermission,
                tried + ": it belongs to the user " + std::to_string(info.st_uid),
                "Remove it, or set XDG_CACHE_HOME and XDG_RUNTIME_DIR to directories of your own.");
  if ((info.st_mode & 022) != 0 && fchmod(directory.get(), 0700) != 0)
    return fail_system(tried, errno);
  return {};
}

Result<std::string> make_session_directory() {
  std::vector<std::string> parents;
  const std::string runtime = variable("XDG_RUNTIME_DIR");
  if (runtime.starts_with('/') && runtime.size() < kLongestSessionParent &&
      access(runtime.c_str(), W_OK | X_OK) == 0)
    parents.push_back(runtime + "/mirrord");
  parents.push_back(temporary_parent());
  Error last;
  for (const std::string& parent : parents) {
    if (auto made = make_private_directory(parent); !made) {
      last = made.error();
      continue;
    }
    const std::string path = parent + "/" + net::random_hex(kSessionNameBytes);
    if (mkdir(path.c_str(), 0700) == 0)
      return path;
    last = system_error("making the session's directory `" + path + "`", errno);
  }
  return std::unexpected(std::move(last));
}

Result<std::string> hook_directory() {
  std::vector<std::string> choices;
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    choices.push_back(cache + "/mirrord");
  else if (const std::string home = variable("HOME"); !home.empty())
    choices.push_back(home + "/.cache/mirrord");
  choices.push_back(temporary_parent());
  Error last;
  for (const std::string& choice : choices) {
    if (!fits_preload(choice))
      continue;
    auto made = make_private_directory(choice);
    if (!made) {
      last = made.error();
      continue;
    }
    struct statvfs system {};
    if (statvfs(choice.c_str(), &system) == 0 && (system.f_flag & ST_NOEXEC) == 0)
      return choice;
    last = {ErrorCode::kUnsupported,
            "the directory `" + choice + "` is on a file system without execution (noexec)",
            "Set XDG_CACHE_HOME to a directory from which libraries can be loaded."};
  }
  return std::unexpected(std::move(last));
}

}  // namespace mirrord
