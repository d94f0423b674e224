// applets/intproxy/lifetime.cpp — when a session ends, and what it leaves behind: nothing.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>

#include "applets/intproxy/session.h"
#include "applets/intproxy/session_processes.h"
#include "applets/intproxy/stale.h"

namespace mirrord::intproxy {
namespace {

using std::chrono::milliseconds;

// Gives the last process time to be seen as gone, and bursts of ends one check.
constexpr milliseconds kCheckDelay{20};
// How often processes that hold the session open without a connection are looked for.
constexpr milliseconds kRecheck{500};
// How long writes of ended programs may take to be answered, and how often that is looked at.
constexpr std::chrono::duration<std::uint64_t, std::milli> kMaxFinish{10'000};
constexpr milliseconds kFinishStep{5};
// Calls that are on their way when the agent is lost get their errors within this time.
constexpr milliseconds kLossDelay{100};

}  // namespace

void Session::watch_root() {
  if (options_.root_pid == 0) {
    if (options_.explain_not_loaded) {
      load_watch_ = std::make_unique<LoadWatch>(loop_, options_.directory,
                                                std::move(options_.explain_not_loaded));
    }
    return;
  }
  root_pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, options_.root_pid, 0)));
  if (!root_pidfd_.is_open()) {
    return;  // ended already
  }
  has_root_ = true;
  if (options_.standard_error.is_open() && options_.explain_not_loaded) {
    load_watch_ =
        std::make_unique<LoadWatch>(loop_, options_.root_pid, std::move(options_.standard_error),
                                    std::move(options_.explain_not_loaded));
  }
  root_watcher_ = std::make_unique<net::FdWatcher>(loop_, root_pidfd_.get(), [this](int) {
    has_root_ = false;
    load_watch_.reset();
    idle_since_ms_ = loop_.now_ms();
    root_watcher_.reset();
    schedule_check();
  });
  root_watcher_->watch(net::FdWatcher::kReadable);
}

void Session::schedule_check() {
  if (!has_ended_ && end_reason_.empty()) {
    check_timer_.start(kCheckDelay, [this] { check_end(); });
  }
}

void Session::check_end() {
  if (has_ended_ || !end_reason_.empty() || has_root_ || server_.connection_count() > 0) {
    return;  // whatever ends next checks again
  }
  const bool is_starting = options_.root_pid == 0 && !had_connection_;
  const milliseconds patience = is_starting ? options_.start_idle_timeout : options_.idle_timeout;
  const milliseconds idle(loop_.now_ms() - idle_since_ms_);
  if (idle >= patience) {
    // Where others start the programs, one without the hook may be a debugger that starts the next.
    const bool is_used =
        options_.waits_for_programs
            ? !processes_of_session(options_.directory).empty()
            : !is_starting && has_unconnected_process(options_.directory, hook_path());
    if (!is_used) {
      end("nothing uses the session");
      return;
    }
    check_timer_.start(std::max(kRecheck, options_.idle_timeout), [this] { check_end(); });
    return;
  }
  // Where others start the programs there may be a pause between two of them.
  const bool is_alone = !is_starting && !options_.waits_for_programs &&
                        std::ranges::none_of(processes_, [](const auto& entry) {
                          return !entry.second->is_announced;
                        });
  if (is_alone && !has_unconnected_process(options_.directory, hook_path())) {
    end("its last process has ended");
    return;
  }
  check_timer_.start(std::min(kRecheck, patience - idle), [this] { check_end(); });
}

std::string_view Session::hook_path() const {
  return text(&local::Settings::hook_path);
}

void Session::end(std::string_view why) {
  if (end_reason_.empty()) {
    end_reason_ = why;
    end_wanted_at_ms_ = loop_.now_ms();
    finish();
  }
}

// What programs wrote before they ended must reach the agent first.
void Session::finish() {
  const bool is_late = loop_.now_ms() - end_wanted_at_ms_ > kMaxFinish.count();
  bool is_busy = false;
  for (const std::unique_ptr<Part>& part : parts_) {
    is_busy = part->has_unfinished_work() || is_busy;
  }
  if (is_busy && !is_late && !agent_->is_lost()) {
    check_timer_.start(kFinishStep, [this] { finish(); });
    return;
  }
  has_ended_ = true;
  log_.info(log::Component::kSession, "the session ends: " + end_reason_);
  check_timer_.stop();
  server_.close_all();
  if (reconnector_) {
    reconnector_->stop();
  }
  agent_->leave();
  loop_.stop();
}

// Nothing remote can work any more. Programs learn it from their closed connections, and their hook
// says so; what was pending has its error already.
void Session::on_agent_lost(const Error& why) {
  if (has_ended_) {
    return;
  }
  log_.error(log::Component::kSession, why.what);
  if (options_.serves_container) {
    tell_user(why.what);  // the program may be gone before its hook can say so
  }
  for (const std::unique_ptr<Part>& part : parts_) {
    part->agent_lost(why);
  }
  if (end_reason_.empty()) {
    end_reason_ = "the agent is lost";
    end_wanted_at_ms_ = loop_.now_ms();
    check_timer_.start(kLossDelay, [this] { finish(); });
  }
}

// Only files that sessions make are in it; whatever else may be there stays, with the directory.
void Session::remove_directory() {
  if (remove_session_directory(options_.directory)) {
    return;
  }
  log_.warn(log::Component::kSession, system_error("remove " + options_.directory, errno).what);
}

}  // namespace mirrord::intproxy
