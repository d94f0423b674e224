// applets/session_directory.h — the directory of a session that is being started: gone if the start fails.
#pragma once

#include <signal.h>

#include <array>
#include <string>

namespace mirrord {

// Owns the directory until the session does. A signal during the start removes it too. One at a time:
// a signal handler finds it in static memory.
class SessionDirectory {
 public:
  explicit SessionDirectory(const std::string& path);
  SessionDirectory(const SessionDirectory&) = delete;
  SessionDirectory& operator=(const SessionDirectory&) = delete;
  ~SessionDirectory();
  // Hands the directory over: the program may run.
  void release();

 private:
  static constexpr std::array<int, 3> kSignals = {SIGINT, SIGTERM, SIGHUP};
  static void remove();
  static void on_signal(int number);
  void restore_signals();

  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace mirrord
