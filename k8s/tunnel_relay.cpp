// k8s/tunnel_relay.cpp — the two directions of a port-forward and its end.
#include "k8s/tunnel_relay.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace mirrord::k8s {
namespace {

using State = UpgradedLine::Transfer::State;
using Kind = TunnelEvent::Kind;

constexpr std::size_t kInputSize = 128 * 1024;
constexpr std::size_t kGathered = 64 * 1024;  // bytes from the connection that are handled at once
constexpr std::size_t kFrameSize = 64 * 1024;
constexpr std::size_t kBudget = 1 << 20;
constexpr std::size_t kMaxReplies = 64;  // a server that pings without listening is not one
constexpr int kMaxSilentPings = 3;       // a pod that does not read delays answers to pings too
constexpr std::chrono::milliseconds kLastWords{1'000};  // after an error, and after our own end

}  // namespace

TunnelRelay::TunnelRelay(net::Loop& loop, std::unique_ptr<UpgradedLine> line, Tunnel tunnel,
                         Fd local, Options options)
    : loop_(loop),
      line_(std::move(line)),
      tunnel_(std::move(tunnel)),
      local_(std::move(local)),
      options_(std::move(options)),
      in_(kInputSize),
      out_(kFrameSize + std::visit([](const auto& kind) { return kind.kRoom; }, tunnel_)),
      ping_timer_(loop),
      limit_(loop),
      go_on_(loop) {}

TunnelRelay::~TunnelRelay() {
  *alive_ = false;
}

void TunnelRelay::start(Handlers handlers) {
  handlers_ = std::move(handlers);
  local_watcher_ = std::make_unique<net::FdWatcher>(loop_, local_.get(), [this](int events) {
    const std::shared_ptr<bool> alive = alive_;
    if ((events & net::FdWatcher::kWritable) != 0) {
      run_input();
    }
    if (*alive && !has_ended_ && (events & net::FdWatcher::kReadable) != 0) {
      run_output();
    }
  });
  limit_.start(options_.open_timeout, [this] {
    end(error(ErrorCode::kTimeout, "the server has agreed but does not name the port"));
  });
  ping_timer_.start_repeating(options_.ping_interval, [this] { watch_over(); });
  queue(std::visit([](auto& tunnel) { return tunnel.opening(); }, tunnel_));
  const std::shared_ptr<bool> alive = alive_;
  run_output();
  if (*alive && !has_ended_) {
    run_input();
  }
}

// ---- from the pod

void TunnelRelay::run_input() {
  budget_ = kBudget;
  Progress progress = Progress::kGoOn;
  while (progress == Progress::kGoOn) {
    progress = deliver();
    if (progress == Progress::kGoOn) {
      Event event = std::visit([this](auto& tunnel) { return tunnel.next(input_); }, tunnel_);
      progress = event.kind == Kind::kNeedMore ? receive() : handle(std::move(event));
    }
  }
  if (progress == Progress::kWait) {
    update_interest();
  }
}

// Gives the local socket what is meant for it.
TunnelRelay::Progress TunnelRelay::deliver() {
  while (!for_local_.empty() && !local_takes_none_) {
    const ssize_t count =
        ::send(local_.get(), for_local_.data(), for_local_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      for_local_ = for_local_.subspan(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return Progress::kWait;
    } else if (errno != EINTR) {
      local_takes_none_ = true;
      end_when_silent("the local side is closed");
    }
  }
  for_local_ = {};
  return Progress::kGoOn;
}

TunnelRelay::Progress TunnelRelay::receive() {
  if (budget_ == 0) {
    // TLS may hold bytes of which the socket knows nothing: waiting for it could be for ever.
    go_on_.start(std::chrono::milliseconds(0), [this] { run_input(); });
    return Progress::kWait;
  }
  const std::size_t kept = input_.size();
  if (kept > 0) {
    std::memmove(in_.data(), input_.data(), kept);
  }
  // TLS gives a record at a time; several make one delivery, and wake the user once.
  State state = std::exchange(held_, std::nullopt).value_or(State::kDone);
  std::size_t filled = kept;
  while (state == State::kDone && filled < kGathered) {
    const auto transfer = line_->receive(std::span(in_).subspan(filled));
    state = transfer.state;
    filled += transfer.count;
  }
  input_ = std::span(in_).first(filled);
  if (filled > kept) {
    has_heard_ = true;
    budget_ -= std::min(budget_, filled - kept);
    if (state != State::kDone) {
      held_ = state;
    }
    return Progress::kGoOn;
  }
  switch (state) {
    case State::kDone:
    case State::kBlocked:
      return Progress::kWait;
    case State::kEnded:
      end(last_word("the API server closed the connection"));
      return Progress::kGone;
    case State::kFailed:
      end(last_word(line_->error().what));
      return Progress::kGone;
  }
  return Progress::kWait;
}

TunnelRelay::Progress TunnelRelay::handle(Event event) {
  const std::shared_ptr<bool> alive = alive_;
  switch (event.kind) {
    case Kind::kNeedMore:
    case Kind::kNothing:
      break;
    case Kind::kData:
      for_local_ = event.data;
      has_data_come_ = true;
      break;
    case Kind::kOpened:
      is_open_ = true;
      limit_.stop();
      if (handlers_.opened) {
        handlers_.opened();
      }
      if (*alive && !has_ended_) {
        run_output();
      }
      break;
    case Kind::kDataEnded:
      pod_has_ended();
      break;
    case Kind::kReply:
      queue(std::move(event.reply));
      run_output();
      break;
    case Kind::kPodError:
      // What the pod has sent before may still be on its way.
      pod_error_ = std::move(event.text);
      end_when_silent({});
      break;
    case Kind::kClosed:
      end(last_word(event.text));
      break;
    case Kind::kBroken:
      end(error(ErrorCode::kPeer, event.text));
      break;
  }
  return *alive && !has_ended_ ? Progress::kGoOn : Progress::kGone;
}

void TunnelRelay::pod_has_ended() {
  if (!std::exchange(pod_has_ended_, true)) {
    ::shutdown(local_.get(), SHUT_WR);
  }
  if (local_has_ended_) {
    end_when_silent("both sides have finished");
  }
}

// ---- to the pod

void TunnelRelay::run_output() {
  std::size_t budget = kBudget;
  while (budget > 0 && (!sending_.empty() || fill_output())) {
    const auto transfer = line_->send(sending_);
    if (transfer.state == State::kFailed || transfer.state == State::kEnded) {
      // The server's last words may wait to be read; reading finds the end as well.
      sending_ = {};
      local_has_ended_ = true;
      replies_.clear();
      end_when_silent(line_->error().what);
      break;
    }
    if (transfer.state == State::kBlocked) {
      break;
    }
    sending_ = sending_.subspan(transfer.count);
    budget -= std::min(budget, transfer.count);
    if (sending_.empty() && is_sending_reply_) {
      replies_.pop_front();
    }
  }
  update_interest();
}

// Finds something to send; false when there is nothing.
bool TunnelRelay::fill_output() {
  is_sending_reply_ = !replies_.empty();
  if (is_sending_reply_) {
    sending_ = replies_.front();
    return true;
  }
  if (!is_open_ || local_has_ended_) {
    return false;
  }
  const std::size_t room = out_.size() - kFrameSize;
  ssize_t count = 0;
  do {
    count = ::recv(local_.get(), out_.data() + room, kFrameSize, MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count > 0) {
    sending_ = std::visit(
        [&](auto& tunnel) {
          return tunnel.wrap(out_.data() + room, static_cast<std::size_t>(count));
        },
        tunnel_);
    return true;
  }
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    return false;
  }
  local_has_ended_ = true;
  queue(std::visit([](auto& tunnel) { return tunnel.finish(); }, tunnel_));
  const bool ends_all = std::visit([](auto& tunnel) { return tunnel.kFinishEndsAll; }, tunnel_);
  if (ends_all || pod_has_ended_ || local_takes_none_) {
    end_when_silent("both sides have finished");
  }
  return fill_output();
}

void TunnelRelay::queue(std::vector<std::byte> frame) {
  if (!frame.empty() && replies_.size() < kMaxReplies) {
    replies_.push_back(std::move(frame));
  }
}

void TunnelRelay::update_interest() {
  if (has_ended_) {
    return;
  }
  const bool is_blocked_locally = !for_local_.empty();
  line_->watch((is_blocked_locally ? 0 : net::FdWatcher::kReadable) |
                   (sending_.empty() ? 0 : net::FdWatcher::kWritable),
               [this](int events) {
                 const std::shared_ptr<bool> alive = alive_;
                 if ((events & net::FdWatcher::kWritable) != 0) {
                   run_output();
                 }
                 if (*alive && !has_ended_ && (events & net::FdWatcher::kReadable) != 0) {
                   run_input();
                 }
               });
  const bool wants_more = is_open_ && !local_has_ended_ && sending_.empty();
  local_watcher_->watch((is_blocked_locally ? net::FdWatcher::kWritable : 0) |
                        (wants_more ? net::FdWatcher::kReadable : 0));
}

// ---- life and end

void TunnelRelay::watch_over() {
  const bool could_hear = for_local_.empty();
  silent_pings_ = has_heard_ || !could_hear ? 0 : silent_pings_ + 1;
  has_heard_ = false;
  if (silent_pings_ > kMaxSilentPings) {
    end(error(ErrorCode::kTimeout,
              "nothing was heard from the API server for " +
                  std::to_string(options_.ping_interval.count() * kMaxSilentPings / 1000) +
                  " seconds"));
    return;
  }
  if (replies_.empty()) {
    queue(std::visit([](auto& tunnel) { return tunnel.ping(); }, tunnel_));
    run_output();
  }
}

// Ends after a while without data from the pod: what it, or we, have sent before comes first.
void TunnelRelay::end_when_silent(std::string why) {
  has_data_come_ = false;
  limit_.start(kLastWords, [this, why = std::move(why)] {
    const bool is_delivering = !for_local_.empty() && !local_takes_none_;
    const bool is_sending = !sending_.empty() || !replies_.empty();
    if (has_data_come_ || is_delivering || is_sending) {
      end_when_silent(why);
    } else {
      end(last_word(why));
    }
  });
}

Error TunnelRelay::error(ErrorCode code, const std::string& why) const {
  return {code, "forward " + options_.what + ": " + why, {}, 0};
}

// The server's own words, when it has said any.
Error TunnelRelay::last_word(const std::string& otherwise) const {
  Error why = error(ErrorCode::kDisconnected, pod_error_.value_or(otherwise));
  if (pod_error_ && pod_error_->find("refused") != std::string::npos) {
    why.sys = ECONNREFUSED;
    why.hint = "Check that the program in the pod listens on that port.";
  }
  return why;
}

void TunnelRelay::end(Error why) {
  if (std::exchange(has_ended_, true)) {
    return;
  }
  ping_timer_.stop();
  limit_.stop();
  go_on_.stop();
  local_watcher_.reset();
  // A close with bytes unread would take from the caller what the pod has sent last.
  ::shutdown(local_.get(), SHUT_RDWR);
  std::array<std::byte, 4096> unread;
  while (::recv(local_.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0) {
  }
  local_.reset();
  line_.reset();
  auto ended = std::move(handlers_.ended);
  if (ended) {
    ended(std::move(why));
  }
}

}  // namespace mirrord::k8s
