// applets/ci/supervisor.h — a program in the background whose end is never lost: one process starts it, waits for it, notes its
// exit status and, told to, ends it with all that it has started.
#pragma once

#include <functional>
#include <string>

#include "applets/ci/records.h"
#include "net/error.h"

namespace mirrord::ci {

// Runs in the child: gets the session ready and becomes the program, or returns an exit code. It calls `is_ready` right
// before the program begins: the standard streams are its own from there on.
using Start = std::function<int(const std::function<void()>& is_ready)>;

struct Supervised {
  std::string id, program;
  std::string directory;  // made already; gets `stdout`, `stderr` and `exit_status`
};

// Returns once the program runs, with its process. Error::sys is the exit status of one that has ended at once; an error without
// words is one that was not started, and has said why on this process's standard error. Call while the process has one thread.
Result<KnownProcess> start_in_background(const Supervised& run, const Start& start);

// The same in the foreground: returns the program's exit status when it has ended. Signals that ask this process to end go to
// the program.
Result<int> run_in_foreground(const Supervised& run, const Start& start);

// How long a program may take to end when it is asked to.
inline constexpr int kGraceSeconds = 10;

// 128 and the signal's number, as shells give it; `status` as wait(2) does.
int shell_status(int status);

}  // namespace mirrord::ci
