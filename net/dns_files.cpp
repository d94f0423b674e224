// net/dns_files.cpp — opens a file below a root without leaving it, and tells whether it changed.
#include "net/dns_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "net/file.h"

namespace mirrord::net {

namespace {

constexpr std::size_t kMaxFile = 4 << 20;

int open_below(int root_fd, const char* path) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  if (root_fd < 0) {
    return ::open((std::string("/") + path).c_str(), kFlags);
  }
  open_how how{};
  how.flags = kFlags;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, root_fd, path, &how, sizeof how));
}

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

bool WatchedFile::Stamp::operator==(const Stamp& other) const {
  return device == other.device && inode == other.inode && size == other.size &&
         same_time(modified, other.modified) && same_time(changed, other.changed);
}

std::optional<std::string> WatchedFile::read_if_changed(int root_fd) {
  const Fd file(open_below(root_fd, path_));
  open_error_ = file ? 0 : errno;
  struct stat status {};
  Stamp now;
  if (file && ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) {
    now = {status.st_dev, status.st_ino, status.st_size, status.st_mtim, status.st_ctim};
  }
  if (stamp_ == now) {
    return std::nullopt;
  }
  stamp_ = now;
  return now.size < 0 ? std::string() : read_to_end(file.get(), kMaxFile);
}

}  // namespace mirrord::net
