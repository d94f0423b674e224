// applets/config/text_file.cpp — bounded reading of a whole file.
#include "applets/config/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "net/fd.h"

namespace mirrord::config {

Result<std::string> read_text_file(const std::string& path, std::size_t limit) {
  const bool is_stdin = path == "-";
  const std::string tried = "reading " + (is_stdin ? "standard input" : "`" + path + "`");
  const Fd owned(is_stdin ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!is_stdin && !owned)
    return fail_system(tried, errno, "Check the path and its permissions.");
  const int fd = is_stdin ? STDIN_FILENO : owned.get();
  std::string text;
  std::array<char, 16384> chunk;
  while (true) {
    const ssize_t count = ::read(fd, chunk.data(), chunk.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fail_system(tried, errno, errno == EISDIR ? "Name a file in the directory." : "");
    if (count == 0)
      return text;
    text.append(chunk.data(), static_cast<std::size_t>(count));
    if (text.size() > limit)
      return fail(ErrorCode::kConfig,
                  tried + ": it has more than " + std::to_string(limit) + " bytes",
                  "Check that it is the right file.");
  }
}

}  // namespace mirrord::config
