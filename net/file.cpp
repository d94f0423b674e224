// net/file.cpp — open, read, nftw. No stream of the standard library: its locales would be the executable's largest part.
#include "net/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "net/fd.h"

namespace mirrord::net {

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    return fail_system("read " + path, errno);
  }
  std::string text;
  std::array<char, 16384> piece;
  for (;;) {
    const ssize_t count = ::read(file.get(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return fail_system("read " + path, errno);
    }
    if (count == 0) {
      return text;
    }
    text.append(piece.data(), static_cast<std::size_t>(count));
    if (text.size() > limit) {
      return fail(ErrorCode::kConfig,
                  "read " + path + ": it is longer than " + std::to_string(limit) + " bytes");
    }
  }
}

std::string read_to_end(int fd, std::size_t limit) {
  std::string text;
  std::array<char, 16384> piece;
  while (text.size() < limit) {
    const ssize_t count = ::read(fd, piece.data(), std::min(piece.size(), limit - text.size()));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      break;
    }
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
  return text;
}

Status write_private_file(const std::string& path, std::string_view text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  while (file && !text.empty()) {
    const ssize_t count = ::write(file.get(), text.data(), text.size());
    if (count < 0 && errno != EINTR) {
      break;
    }
    text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
  }
  if (!file || !text.empty()) {
    return fail_system("write " + path, errno);
  }
  return {};
}

void make_parent_directories(const std::string& path, mode_t mode) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1))
    ::mkdir(path.substr(0, at).c_str(), mode);
}

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> paths;
  DIR* entries = ::opendir(directory.c_str());
  if (entries == nullptr) {
    return paths;
  }
  while (const dirent* entry = ::readdir(entries)) {
    std::string path = directory + "/" + entry->d_name;
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      paths.push_back(std::move(path));
    }
  }
  ::closedir(entries);
  std::ranges::sort(paths);
  return paths;
}

void remove_tree(const std::string& directory) {
  constexpr int kOpenAtOnce = 16;
  const auto remove_one = [](const char* path, const struct stat*, int, struct FTW*) {
    ::remove(path);
    return 0;
  };
  ::nftw(directory.c_str(), remove_one, kOpenAtOnce, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

}  // namespace mirrord::net
