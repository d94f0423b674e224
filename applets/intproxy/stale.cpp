// applets/intproxy/stale.cpp — finds dead sessions by their socket: nobody listens on it any more.
#include "applets/intproxy/stale.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <string_view>

#include "net/fd.h"
#include "net/file.h"
#include "net/unix_socket.h"
#include "proto/local.h"

namespace mirrord::intproxy {
namespace {

constexpr std::string_view kParentName = "mirrord";  // …/mirrord or …/mirrord-UID
constexpr int kMaxLookedAt = 256;                    // a start must not take long
// A command line that was killed before it had an intproxy leaves a directory without a socket.
constexpr time_t kUnservedAgeSeconds = 600;
constexpr std::size_t kNameLength = 12;

bool is_refused(const std::string& socket_path) {
  const auto address = net::unix_address(socket_path);
  if (!address) {
    return false;
  }
  const Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) !=
             0 &&
         errno == ECONNREFUSED;
}

bool is_own_directory(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         status.st_uid == ::geteuid();
}

bool has_session_name(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name.size() == kNameLength &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Of a command that held the agent of a container's session (applets/container/sidecar.h).
bool is_left_by_container(const std::string& path) {
  return is_own_directory(path) && has_session_name(path) &&
         is_refused(path + "/private/streams.sock");
}

bool is_stale(const std::string& path) {
  if (!is_own_directory(path)) {
    return false;
  }
  const std::string socket_path = path + "/" + local::kSocketFile;
  struct stat status {};
  if (::lstat(socket_path.c_str(), &status) == 0) {
    return is_refused(socket_path);
  }
  return errno == ENOENT && has_session_name(path) && ::lstat(path.c_str(), &status) == 0 &&
         status.st_mtime + kUnservedAgeSeconds < std::time(nullptr);
}

}  // namespace

bool remove_session_directory(const std::string& directory) {
  for (const char* name :
       {local::kSocketFile, local::kNewSocketFile, local::kSlotsFile, local::kIncomingFile,
        local::kSettingsFile, local::kEnvironmentFile, "log"}) {
    ::unlink((directory + "/" + name).c_str());
  }
  return ::rmdir(directory.c_str()) == 0 || errno == ENOENT;
}

void remove_stale_sessions(const std::string& directory) {
  const std::size_t slash = directory.rfind('/');
  if (slash == std::string::npos || slash == 0) {
    return;
  }
  const std::string parent = directory.substr(0, slash);
  if (!std::string_view(parent).substr(parent.rfind('/') + 1).starts_with(kParentName) ||
      !is_own_directory(parent)) {
    return;
  }
  DIR* entries = ::opendir(parent.c_str());
  if (entries == nullptr) {
    return;
  }
  int looked_at = 0;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string path = parent + "/" + entry->d_name;
    if (entry->d_name[0] == '.' || path == directory || ++looked_at > kMaxLookedAt) {
      continue;
    }
    if (is_left_by_container(path)) {
      net::remove_tree(path);
    } else if (is_stale(path)) {
      remove_session_directory(path);
    }
  }
  ::closedir(entries);
}

}  // namespace mirrord::intproxy
