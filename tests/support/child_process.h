// tests/support/child_process.h — a program under test in the background.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "net/fd.h"

namespace mirrord::test {

class ChildProcess {
 public:
  struct Setup {
    std::vector<std::string> command;
    std::map<std::string, std::string> environment;  // all of it
    std::vector<int> passed;                         // descriptors it inherits under their numbers
  };
  explicit ChildProcess(const Setup& setup);
  ~ChildProcess();  // ends it if it still runs
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // The next line of its standard output, or nothing within the time or at its end.
  std::optional<std::string> read_line(int timeout_ms = 10'000);
  // All that it still prints, to the end of its output.
  std::string read_rest(int timeout_ms = 10'000);
  std::string error_text();
  void close_input() { input_.reset(); }
  void signal(int number) const;
  // The exit status (128 + the signal's number after a signal), or nothing when it runs on.
  std::optional<int> wait(int timeout_ms = 10'000);
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
  Fd input_;
  Fd output_;
  Fd errors_;
  std::string buffered_;
};

// A folder for one test, removed with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Writes a file, making its folders.
void write_file(const std::string& path, std::string_view content);
std::string read_file(const std::string& path);

}  // namespace mirrord::test
