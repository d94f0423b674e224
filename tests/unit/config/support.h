// tests/unit/config/support.h — loads configurations from text, with an environment of its own.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <map>
#include <string>

#include "applets/config/load.h"

namespace mirrord::config {

// A file that is gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text, const std::string& suffix = ".json") {
    path_ = "/tmp/mirrord-test-XXXXXX" + suffix;
    const int fd = mkstemps(path_.data(), static_cast<int>(suffix.size()));
    [[maybe_unused]] const ssize_t written = write(fd, text.data(), text.size());
    close(fd);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Loading {
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> flags;  // by environment variable

  std::expected<ResolvedConfig, std::vector<Error>> load_file(const std::string& path) const {
    LoadRequest request;
    request.file = path;
    for (const auto& [variable, value] : flags)
      request.overrides[variable] = {value, "--flag"};
    request.environment = [this](std::string_view name) -> std::optional<std::string> {
      const auto found = environment.find(std::string(name));
      return found == environment.end() ? std::nullopt : std::optional(found->second);
    };
    return load(request);
  }

  std::expected<ResolvedConfig, std::vector<Error>> load_text(const std::string& text) const {
    const TemporaryFile file(text);
    return load_file(file.path());
  }

  // The configuration of a text that must be right.
  ResolvedConfig good(const std::string& text) const {
    auto config = load_text(text);
    return config ? std::move(*config) : ResolvedConfig{.file = "BAD: " + config.error()[0].what};
  }

  // All errors of a text that must be wrong, one a line, with "FILE" for the file's name.
  std::string errors(const std::string& text) const {
    const TemporaryFile file(text);
    const auto config = load_file(file.path());
    if (config)
      return "no error";
    std::string out;
    for (const Error& error : config.error()) {
      out += error.what + (error.hint.empty() ? "" : " | " + error.hint) + "\n";
    }
    for (std::size_t at; (at = out.find(file.path())) != std::string::npos;)
      out.replace(at, file.path().size(), "FILE");
    return out;
  }
};

}  // namespace mirrord::config
