// applets/hook_file.cpp — extracts the embedded hook, atomically.
#include "applets/hook_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "applets/config/load.h"
#include "applets/private_directory.h"
#include "hook/image.h"
#include "net/fd.h"

namespace mirrord {
namespace {

constexpr mode_t kMode = 0500;
constexpr std::size_t kHashLetters = 16;

bool is_same_file(const std::string& path, std::size_t size) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
         (info.st_mode & 07777) == kMode && static_cast<std::size_t>(info.st_size) == size;
}

Status write_all(int fd, std::span<const std::byte> bytes, const std::string& tried) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail_system(tried, errno,
                         errno == ENOSPC || errno == EDQUOT
                             ? "Free some space, or set XDG_CACHE_HOME to a directory elsewhere."
                             : "");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

// The temporary file of an extraction; removed unless it was moved into place.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty())
      unlink(path_.c_str());
  }
  Status move_to(const std::string& path) {
    if (rename(path_.c_str(), path.c_str()) != 0)
      return fail_system("moving the hook to `" + path + "`", errno);
    path_.clear();
    return {};
  }

 private:
  std::string path_;
};

}  // namespace

Result<std::string> extract_file(std::span<const std::byte> image, const std::string& directory,
                                 std::string_view name) {
  const std::string path = directory + "/" + std::string(name);
  if (is_same_file(path, image.size()))
    return path;
  const std::string draft = path + "." + std::to_string(getpid());
  const std::string tried = "extracting the hook to `" + path + "`";
  unlink(draft.c_str());
  const Fd file(open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file)
    return fail_system(tried, errno);
  TemporaryFile temporary(draft);
  MIRRORD_CHECK_STATUS(write_all(file.get(), image, tried));
  if (fsync(file.get()) != 0 || fchmod(file.get(), kMode) != 0)
    return fail_system(tried, errno);
  MIRRORD_CHECK_STATUS(temporary.move_to(path));
  return path;
}

Result<std::string> provide_hook() {
  const std::string given = config::process_environment("MIRRORD_LAYER_FILE").value_or("");
  if (!given.empty()) {
    if (access(given.c_str(), R_OK) != 0)
      return fail_system("using the hook `" + given + "` of MIRRORD_LAYER_FILE", errno,
                         "Unset the variable to use the embedded hook.");
    return given;
  }
  MIRRORD_TRY(directory, hook_directory());
  return extract_file(
      hook_image(), directory,
      "libmirrord_layer-" + std::string(hook_image_sha256().substr(0, kHashLetters)) + ".so");
}

}  // namespace mirrord
