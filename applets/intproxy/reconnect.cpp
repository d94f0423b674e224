// applets/intproxy/reconnect.cpp — attempts, pauses and the end of patience.
#include "applets/intproxy/reconnect.h"

#include <algorithm>
#include <utility>

namespace mirrord::intproxy {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{2000};
// A stream on which nobody answers is no agent's.
constexpr milliseconds kHandshakeLimit{10'000};
// A stream that breaks within this time, without a single answer, has not helped.
constexpr std::uint64_t kUselessMs = 1000;

bool is_final(const Error& error) {
  return error.code == ErrorCode::kNotFound || error.code == ErrorCode::kPermission ||
         error.code == ErrorCode::kConfig || error.code == ErrorCode::kUsage;
}

}  // namespace

Reconnector::Reconnector(net::Loop& loop, AgentLink& link,
                         std::unique_ptr<AgentConnector> connector, milliseconds timeout,
                         Handlers handlers)
    : loop_(loop),
      link_(link),
      connector_(std::move(connector)),
      timeout_(std::max(timeout, connector_->reopen_limit())),
      handlers_(std::move(handlers)),
      pause_(loop),
      deadline_(loop) {
  connector_->set_events(
      {.notice = [this](std::string line) { handlers_.tell(line); },
       .leave =
           [this](std::string why) {
             if (!is_working_ && !is_stopped_) {
               link_.interrupt({ErrorCode::kDisconnected, std::move(why), "", 0});
             }
           }});
}

Reconnector::~Reconnector() = default;

void Reconnector::broken(const Error& why) {
  if (is_stopped_) {
    return;
  }
  last_error_ = why;
  handlers_.log(why.what);
  if (is_working_) {
    retry();  // the new stream was no good
    return;
  }
  is_working_ = true;
  const bool was_useless = attempts_ > 0 && loop_.now_ms() - restored_ms_ < kUselessMs &&
                           link_.answers() == answers_then_;
  if (!was_useless) {
    attempts_ = 0;
    began_ms_ = loop_.now_ms();
  }
  deadline_.start(time_left(), [this] { give_up(last_error_); });
  was_useless ? retry() : attempt();
}

milliseconds Reconnector::time_left() const {
  return std::max(timeout_ - milliseconds(downtime_ms()), milliseconds(1));
}

void Reconnector::attempt() {
  if (!is_working_ || is_asking_) {
    return;  // what is under way comes first
  }
  ++attempts_;
  is_asking_ = true;
  connector_->reopen(time_left(), [this](Result<ReopenedStream> stream) {
    is_asking_ = false;
    if (is_working_) {
      opened(std::move(stream));
    }
  });
}

void Reconnector::opened(Result<ReopenedStream> stream) {
  if (!stream) {
    last_error_ = std::move(stream.error());
    handlers_.log(last_error_.what);
    is_final(last_error_) ? give_up(last_error_) : retry();
    return;
  }
  notice_ = std::move(stream->notice);
  link_.resume(std::move(stream->socket), std::move(stream->peer_name),
               std::min(time_left(), kHandshakeLimit));
}

void Reconnector::retry() {
  const int doublings = std::min(attempts_, 10);
  pause_.start(std::min(kFirstPause * (1 << doublings) / 2, kLongestPause), [this] { attempt(); });
}

void Reconnector::restored() {
  is_working_ = false;
  pause_.stop();
  deadline_.stop();
  restored_ms_ = loop_.now_ms();
  answers_then_ = link_.answers();
  connector_->accepted();
}

void Reconnector::give_up(const Error& why) {
  const std::uint64_t seconds = downtime_ms() / 1000;
  const Error error = why;
  stop();
  handlers_.tell("the agent cannot be reached any more" +
                 (seconds > 0 ? " (tried for " + std::to_string(seconds) + " s)" : std::string()) +
                 ": " + error.what);
  link_.close(error.what);
}

void Reconnector::stop() {
  is_stopped_ = true;
  is_working_ = false;
  pause_.stop();
  deadline_.stop();
}

}  // namespace mirrord::intproxy
