// applets/intproxy/load_watch.cpp — waits for the first hello, then says what is missing.
#include "applets/intproxy/load_watch.h"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <utility>

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
  timer_.start(kPatience, [this] { check(); });
}

void LoadWatch::check() {
  const std::optional<std::string> why = explain_(root_);
  if (!why) {
    timer_.start(kPatience, [this] { check(); });
    return;
  }
  if (!why->empty()) {
    print("mirrord: the program runs without mirrord: " + *why + "\n");
  }
  standard_error_.reset();
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
