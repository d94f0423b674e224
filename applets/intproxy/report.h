// applets/intproxy/report.h — what the starting intproxy tells the command line through a pipe.
#pragma once

#include <string_view>

#include "applets/intproxy/start.h"
#include "net/error.h"
#include "net/fd.h"

namespace mirrord::intproxy {

// The writing end. After success() or failure() the pipe is closed; later calls do nothing.
class Reporter {
 public:
  explicit Reporter(Fd pipe) : pipe_(std::move(pipe)) {}
  void progress(std::string_view line) { step(StartStep::kInfo, line); }
  void step(StartStep step, std::string_view text);
  void success(const StartedSession& session);
  void failure(const Error& error);

 private:
  void send(char kind, std::string_view body);

  Fd pipe_;
};

// Reads until the outcome. An end without one is an error: the intproxy died.
Result<StartedSession> read_reports(int pipe, const StartProgress& progress);

}  // namespace mirrord::intproxy
