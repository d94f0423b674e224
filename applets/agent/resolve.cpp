// applets/agent/resolve.cpp — path look-up confined to a root, by openat2(2) or name by name.
#include "applets/agent/resolve.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <utility>
#include <vector>

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

namespace mirrord::agent {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel

int call_openat2(int directory, const char* path, int flags, mode_t mode, std::uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  if ((flags & O_CREAT) != 0)
    how.mode = mode;
  how.resolve = resolve;
  return static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how));
}

// What the kernel offers, found out once with calls that cannot fail for another reason.
struct KernelSupport {
  bool openat2 = false;
  bool cached = false;  // RESOLVE_CACHED, Linux 5.12

  KernelSupport() {
    const Fd plain(call_openat2(AT_FDCWD, "/", O_PATH, 0, RESOLVE_IN_ROOT));
    openat2 = plain.is_open();
    const Fd quick(call_openat2(AT_FDCWD, "/", O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_CACHED));
    cached = quick.is_open() || errno == EAGAIN;
  }
};

const KernelSupport& kernel() {
  static const KernelSupport support;
  return support;
}

Fd closed_with(int error_number) {
  errno = error_number;
  return Fd();
}

Fd open_by_kernel(int directory, const char* path, int flags, mode_t mode, std::uint64_t resolve,
                  Attempt attempt) {
  if (attempt == Attempt::kCached) {
    if (!kernel().cached || (flags & (O_CREAT | O_TRUNC)) != 0)
      return closed_with(EAGAIN);
    return Fd(call_openat2(directory, path, flags, mode, resolve | RESOLVE_CACHED));
  }
  // EAGAIN: a rename elsewhere raced with a `..` in the path. It passes.
  constexpr int kTries = 64;
  int fd = -1;
  for (int i = 0; i < kTries; ++i) {
    fd = call_openat2(directory, path, flags, mode, resolve);
    if (fd >= 0 || errno != EAGAIN)
      break;
  }
  return Fd(fd);
}

bool is_link(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISLNK(info.st_mode);
}

std::string link_text(int link) {
  std::array<char, PATH_MAX> text;
  const ssize_t size = ::readlinkat(link, "", text.data(), text.size());
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

// Opens again what an O_PATH descriptor names, with other flags.
Fd reopen(int fd, int flags, mode_t mode) {
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
  return Fd(::open(path.data(), flags | O_CLOEXEC, mode));
}

// Names still to be walked, the next one last.
class PendingNames {
 public:
  explicit PendingNames(std::string_view path) { push_path(path); }

  // Returns true when the path is absolute.
  bool push_path(std::string_view path) {
    const bool is_absolute = path.starts_with('/');
    std::vector<std::string> names;
    while (!path.empty()) {
      const std::size_t slash = path.find('/');
      const std::string_view name = path.substr(0, slash);
      if (!name.empty())
        names.emplace_back(name);
      path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
    }
    names_.insert(names_.end(), std::make_move_iterator(names.rbegin()),
                  std::make_move_iterator(names.rend()));
    return is_absolute;
  }
  [[nodiscard]] bool empty() const { return names_.empty(); }
  std::string take() {
    std::string name = std::move(names_.back());
    names_.pop_back();
    return name;
  }

 private:
  std::vector<std::string> names_;
};

// The walk of one path: the directories from the root down to where it stands.
class Walk {
 public:
  Walk(int root, std::string_view path) : root_(root), pending_(path) {
    must_be_directory_ = path.ends_with('/') || path.ends_with("/.");
  }

  Fd open(int flags, mode_t mode) {
    const bool follows_last =
        (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
    int links = 0;
    while (!pending_.empty()) {
      const std::string name = pending_.take();
      if (name == ".")
        continue;
      if (name == "..") {
        if (!stack_.empty())
          stack_.pop_back();
        continue;
      }
      const bool is_last = pending_.empty();
      Fd next(::openat(here(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!next) {
        const bool creates = is_last && errno == ENOENT && (flags & O_CREAT) != 0;
        return creates && !must_be_directory_
                   ? Fd(::openat(here(), name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC, mode))
                   : closed_with(errno);
      }
      if (is_link(next.get()) && (!is_last || follows_last || must_be_directory_)) {
        if (++links > kMaxLinks)
          return closed_with(ELOOP);
        const std::string text = link_text(next.get());
        if (text.empty())
          return closed_with(ENOENT);
        if (pending_.push_path(text))
          stack_.clear();
        continue;
      }
      stack_.push_back(std::move(next));
    }
    return finish(flags, mode);
  }

 private:
  [[nodiscard]] int here() const { return stack_.empty() ? root_ : stack_.back().get(); }

  Fd finish(int flags, mode_t mode) {
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
      return closed_with(EEXIST);
    if (must_be_directory_)
      flags |= O_DIRECTORY;
    if ((flags & O_PATH) == 0) {
      if (is_link(here()))
        return closed_with(ELOOP);
      return reopen(here(), flags & ~(O_NOFOLLOW | O_CREAT), mode);
    }
    struct stat info {};
    if ((flags & O_DIRECTORY) != 0 && ::fstat(here(), &info) == 0 && !S_ISDIR(info.st_mode))
      return closed_with(ENOTDIR);
    return Fd(::fcntl(here(), F_DUPFD_CLOEXEC, 0));
  }

  int root_;
  PendingNames pending_;
  std::vector<Fd> stack_;
  bool must_be_directory_ = false;
};

std::string descriptor_path(int fd) {
  std::array<char, 32> link;
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  std::array<char, PATH_MAX> text;
  const ssize_t size = ::readlink(link.data(), text.data(), text.size());
  return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

bool is_same_file(int a, int b) {
  struct stat of_a {};
  struct stat of_b {};
  return ::fstat(a, &of_a) == 0 && ::fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

// The path of an open directory as seen from the root, or "" when it cannot be told (removed).
std::string path_inside(int root, int directory) {
  std::string of_root = descriptor_path(root);
  std::string path = descriptor_path(directory);
  if (of_root == "/")
    of_root.clear();
  if (!path.starts_with(of_root))
    return {};
  path.erase(0, of_root.size());
  if (path.empty())
    path = "/";
  const Fd found = open_inside(root, path.c_str(), O_PATH | O_DIRECTORY);
  return found && is_same_file(found.get(), directory) ? path : std::string();
}

// The magic number of the file system that holds `fd`, 0 when it cannot be told.
std::uint32_t file_system_of(int fd) {
  struct statfs info {};
  return ::fstatfs(fd, &info) == 0 ? static_cast<std::uint32_t>(info.f_type) : 0;
}

struct SplitPath {
  std::string parent;
  std::string name;
};

SplitPath split_last(std::string_view path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string_view::npos)
    return {"/", "."};
  const std::size_t slash = path.rfind('/', end);
  if (slash == std::string_view::npos)
    return {".", std::string(path)};
  return {std::string(path.substr(0, slash + 1)), std::string(path.substr(slash + 1))};
}

}  // namespace

Fd open_inside_by_walking(int root, const char* path, int flags, mode_t mode) {
  const std::string_view text(path);
  if (text.empty())
    return closed_with(ENOENT);
  if (text.size() >= PATH_MAX)
    return closed_with(ENAMETOOLONG);
  return Walk(root, text).open(flags, mode);
}

Fd open_inside(int root, const char* path, int flags, mode_t mode, Attempt attempt) {
  if (kernel().openat2)
    return open_by_kernel(root, path, flags, mode, RESOLVE_IN_ROOT, attempt);
  if (attempt == Attempt::kCached)
    return closed_with(EAGAIN);
  return open_inside_by_walking(root, path, flags, mode);
}

Fd open_inside_at(int root, int directory, const char* path, int flags, mode_t mode,
                  Attempt attempt) {
  if (path[0] == '/')
    return open_inside(root, path, flags, mode, attempt);
  if (kernel().openat2) {
    Fd found = open_by_kernel(directory, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
                              attempt);
    // EXDEV: a `..` or an absolute link leads out of the directory, which may be right as long as
    // it stays inside the root.
    if (found || errno != EXDEV)
      return found;
  }
  if (attempt == Attempt::kCached)
    return closed_with(EAGAIN);
  std::string whole = path_inside(root, directory);
  if (whole.empty())
    return closed_with(ENOENT);
  whole += '/';
  whole += path;
  return open_inside(root, whole.c_str(), flags, mode, attempt);
}

Place open_parent(int root, const char* path, Attempt attempt) {
  if (path[0] == '\0')
    return {closed_with(ENOENT), {}};
  SplitPath split = split_last(path);
  return {open_inside(root, split.parent.c_str(), O_PATH | O_DIRECTORY, 0, attempt),
          std::move(split.name)};
}

Place open_parent_at(int root, int directory, const char* path, Attempt attempt) {
  if (path[0] == '\0')
    return {closed_with(ENOENT), {}};
  SplitPath split = split_last(path);
  return {open_inside_at(root, directory, split.parent.c_str(), O_PATH | O_DIRECTORY, 0, attempt),
          std::move(split.name)};
}

bool is_on_memory(int fd) {
  const std::uint32_t type = file_system_of(fd);
  return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}

bool is_in_memory(int fd, std::int64_t offset, std::uint64_t size) {
  constexpr long kCacheStat = 451;  // cachestat(2), Linux 6.5; the same number everywhere
  constexpr std::uint64_t kPage = 4096;
  struct {
    std::uint64_t offset, length;
  } const range{static_cast<std::uint64_t>(offset), size};
  struct {
    std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
  } pages{};
  if (::syscall(kCacheStat, fd, &range, &pages, 0) != 0)
    return false;
  const std::uint64_t first = range.offset / kPage;
  const std::uint64_t last = (range.offset + size - 1) / kPage;
  return pages.cached >= last - first + 1;
}

bool is_served_elsewhere(int fd) {
  constexpr std::uint32_t kTypes[] = {FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC,  V9FS_MAGIC,
                                      CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, CEPH_SUPER_MAGIC,
                                      AFS_FS_MAGIC,     AFS_SUPER_MAGIC};
  return std::ranges::find(kTypes, file_system_of(fd)) != std::end(kTypes);
}

}  // namespace mirrord::agent
