// applets/abandoned_sessions.cpp — finds session directories that nobody serves any more.
#include "applets/abandoned_sessions.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <string_view>
#include <vector>

#include "net/fd.h"
#include "proto/local.h"

namespace mirrord {
namespace {

// Between bind and listen a new intproxy looks like a dead one.
constexpr time_t kSocketAgeSeconds = 1;
// A command line that was killed before it had an intproxy leaves a directory without a socket.
constexpr time_t kUnservedAgeSeconds = 600;
constexpr std::size_t kNameLength = 12;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

bool is_session_name(std::string_view name) {
  return name.size() == kNameLength &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool nobody_listens(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return false;
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  const Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return socket.is_open() &&
         connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

bool is_abandoned(const std::string& session) {
  const std::string socket_path = session + "/" + local::kSocketFile;
  const time_t now = std::time(nullptr);
  struct stat info {};
  if (lstat(socket_path.c_str(), &info) == 0) {
    return S_ISSOCK(info.st_mode) && info.st_mtime + kSocketAgeSeconds < now &&
           nobody_listens(socket_path);
  }
  return errno == ENOENT && lstat(session.c_str(), &info) == 0 && S_ISDIR(info.st_mode) &&
         info.st_mtime + kUnservedAgeSeconds < now;
}

// Sessions hold files only: a directory in one stops its removal.
void remove_session(const std::string& session) {
  const Directory directory(opendir(session.c_str()));
  if (!directory)
    return;
  while (const dirent* entry = readdir(directory.get()))  // NOLINT(concurrency-mt-unsafe)
    unlinkat(dirfd(directory.get()), entry->d_name, 0);
  rmdir(session.c_str());
}

}  // namespace

void remove_abandoned_sessions(const std::string& parent) {
  const Directory directory(opendir(parent.c_str()));
  if (!directory)
    return;
  std::vector<std::string> sessions;
  while (const dirent* entry = readdir(directory.get())) {  // NOLINT(concurrency-mt-unsafe)
    if (is_session_name(entry->d_name))
      sessions.push_back(parent + "/" + entry->d_name);
  }
  for (const std::string& session : sessions) {
    if (is_abandoned(session))
      remove_session(session);
  }
}

}  // namespace mirrord
