// applets/intproxy/load_watch.cpp — waits for the first hello, then says what is missing.
#include "applets/intproxy/load_watch.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "applets/intproxy/session_processes.h"
#include "applets/intproxy/user_notice.h"

namespace mirrord::intproxy {
namespace {

// A loaded hook says hello within milliseconds of the program's start; a busy machine may need more.
constexpr std::chrono::milliseconds kPatience{3000};

}  // namespace

LoadWatch::LoadWatch(net::Loop& loop, pid_t root, Fd standard_error, ExplainNotLoaded explain)
    : root_(root),
      standard_error_(std::move(standard_error)),
      explain_(std::move(explain)),
      timer_(loop) {
  timer_.start(kPatience, [this] { check_root(); });
}

LoadWatch::LoadWatch(net::Loop& loop, std::string session_directory, ExplainNotLoaded explain)
    : session_directory_(std::move(session_directory)), explain_(std::move(explain)), timer_(loop) {
  timer_.start(kPatience, [this] { check_session(); });
}

void LoadWatch::check_root() {
  const std::optional<std::string> why = explain_(root_);
  if (!why) {
    timer_.start(kPatience, [this] { check_root(); });
    return;
  }
  if (!why->empty()) {
    print("mirrord: the program runs without mirrord: " + *why + "\n");
  }
  standard_error_.reset();
}

void LoadWatch::check_session() {
  std::vector<pid_t> present = processes_of_session(session_directory_);
  for (const pid_t process : present) {
    if (std::ranges::find(seen_, process) == seen_.end()) {
      continue;  // may be starting right now
    }
    const std::optional<std::string> why = explain_(process);
    if (why && !why->empty()) {
      tell_user(Fd(), {process}, "the program runs without mirrord: " + *why);
      return;
    }
  }
  seen_ = std::move(present);
  timer_.start(kPatience, [this] { check_session(); });
}

void LoadWatch::print(const std::string& text) {
  // A terminal that is held, or a full pipe, must not hold the session.
  pollfd writable{standard_error_.get(), POLLOUT, 0};
  if (::poll(&writable, 1, 0) > 0 && (writable.revents & POLLOUT) != 0) {
    [[maybe_unused]] const ssize_t written =
        ::write(standard_error_.get(), text.data(), text.size());
  }
}

}  // namespace mirrord::intproxy
