// applets/intproxy/log.h — the session's log file: one line per event, whole lines even from
// several writers.
#pragma once

#include <string>
#include <string_view>

#include "net/fd.h"

namespace mirrord::intproxy {

class SessionLog {
 public:
  // Creates the file when it is missing. Without one the log goes nowhere.
  SessionLog(const std::string& path, bool is_verbose);

  void error(std::string_view text) { write("error", text); }
  void warn(std::string_view text) { write("warn", text); }
  void info(std::string_view text) { write("info", text); }
  void debug(std::string_view text) {
    if (is_verbose_) {
      write("debug", text);
    }
  }

 private:
  void write(std::string_view level, std::string_view text);

  Fd file_;
  bool is_verbose_;
};

}  // namespace mirrord::intproxy
