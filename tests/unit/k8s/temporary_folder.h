// tests/unit/k8s/temporary_folder.h — a folder of files that is gone at the end of the test.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace mirrord::k8s {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = "/tmp/mirrord-test-XXXXXX";
    static_cast<void>(::mkdtemp(path_.data()));
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
    std::string file = path_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    FILE* out = ::fopen(file.c_str(), "we");
    static_cast<void>(::fwrite(text.data(), 1, text.size(), out));
    ::fclose(out);
    ::chmod(file.c_str(), mode);
    return file;
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::string text;
    if (FILE* in = ::fopen((path_ + "/" + name).c_str(), "re")) {
      for (int c = ::fgetc(in); c != EOF; c = ::fgetc(in))
        text += static_cast<char>(c);
      ::fclose(in);
    }
    return text;
  }

 private:
  std::string path_;
};

// Sets an environment variable, or takes it away, until the end of the test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = ::getenv(name)) {
      old_ = old;
      had_ = true;
    }
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }
  ~ScopedVariable() { had_ ? ::setenv(name_, old_.c_str(), 1) : ::unsetenv(name_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

}  // namespace mirrord::k8s
