// k8s/agent_line.cpp — attempts at a port-forward until somebody answers.
#include "k8s/agent_line.h"

#include <algorithm>
#include <utility>

namespace mirrord::k8s {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLongestPause{500};
// The server agrees to a port before it knows whether the pod does; a refusal follows at once.
constexpr milliseconds kSettled{30};
constexpr int kDoubtful = 4;  // failures after which the agent itself is looked at

bool is_final(const Error& error) {
  return error.code == ErrorCode::kPermission || error.code == ErrorCode::kConfig ||
         error.code == ErrorCode::kUsage;
}

}  // namespace

struct AgentLine::Attempt {
  Attempt(ApiClient& client, const PodPort& target, milliseconds timeout)
      : forward(client, target, {.connect_timeout = timeout}), settle(client.loop()) {}
  PortForward forward;
  std::unique_ptr<net::TlsPump> tls;
  net::Timer settle;
  Fd socket;
  bool is_answered = false;
  bool has_ended = false;
};

AgentLine::AgentLine(ApiClient& client, std::optional<net::TlsIdentity> identity)
    : client_(client), identity_(std::move(identity)), pause_(client.loop()) {}

AgentLine::~AgentLine() = default;

bool AgentLine::is_answered() const {
  return attempt_ && attempt_->is_answered;
}

void AgentLine::drop() {
  pause_.stop();
  attempt_.reset();
}

void AgentLine::finish(milliseconds limit) {
  if (is_answered()) {
    client_.run_until([this] { return attempt_->has_ended; }, limit);
  }
  drop();
}

void AgentLine::begin(const PodPort& target) {
  drop();
  target_ = target;
  failures_ = 0;
  last_failure_.reset();
  try_once();
}

void AgentLine::answered() {
  attempt_->is_answered = true;
}

void AgentLine::try_once() {
  constexpr milliseconds kAttemptLimit{10'000};
  attempt_ = std::make_unique<Attempt>(client_, target_, kAttemptLimit);
  if (Status started = start_attempt(); !started) {
    attempt_failed(std::move(started.error()));
  }
}

// The agent speaks first under TLS, as its client: the handshake shows that it is there. Without, it
// is silent, and all there is to see is that nobody refuses.
Status AgentLine::start_attempt() {
  PortForward::Handlers handlers;
  handlers.opened = [this] {
    if (!identity_) {
      attempt_->settle.start(kSettled, [this] { answered(); });
    }
  };
  handlers.ended = [this](Error why) {
    attempt_->has_ended = true;
    if (!attempt_->is_answered) {
      attempt_failed(std::move(why));
    }
  };
  MIRRORD_TRY(socket, attempt_->forward.open(std::move(handlers)));
  if (!identity_) {
    attempt_->socket = std::move(socket);
    return {};
  }
  if (!tls_) {
    MIRRORD_TRY(context, net::TlsContext::make({.role = net::TlsRole::kServer,
                                                .certificate = identity_->certificate,
                                                .key = identity_->key}));
    tls_ = std::move(context);
  }
  attempt_->tls = std::make_unique<net::TlsPump>(client_.loop(), tls_, std::move(socket),
                                                 "the agent in pod " + target_.pod);
  net::TlsPump::Handlers events;
  events.ready = [this](std::string_view) { answered(); };
  events.ended = [this](std::optional<Error> why) {
    // A refused port-forward says more, a moment later.
    if (!attempt_->is_answered) {
      attempt_->settle.start(kSettled, [this, error = std::move(why)]() mutable {
        attempt_failed(std::move(error).value_or(
            Error{ErrorCode::kDisconnected, "connect to the agent: it has hung up", {}, 0}));
      });
    }
  };
  MIRRORD_TRY(plain, attempt_->tls->start(std::move(events)));
  attempt_->socket = std::move(plain);
  return {};
}

// The next attempt follows by itself: the present one is replaced then, not here in its callback.
void AgentLine::attempt_failed(Error why) {
  attempt_->settle.stop();
  last_failure_ = std::move(why);
  ++failures_;
  if (!is_final(*last_failure_)) {
    const milliseconds pause = kFirstPause * (1 << std::min(failures_ - 1, 10));
    pause_.start(std::min(pause, kLongestPause), [this] { try_once(); });
  }
}

Result<Fd> AgentLine::connect(const PodPort& target, milliseconds limit,
                              const std::function<bool()>& give_up,
                              const std::function<Status()>& still_possible) {
  const bool is_under_way = attempt_ != nullptr && target_.pod == target.pod;
  if (!is_under_way || (last_failure_ && is_final(*last_failure_))) {
    begin(target);
  }
  int seen = failures_;
  const auto has_news = [&] {
    return is_answered() || failures_ != seen || (give_up && give_up());
  };
  const auto until = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left =
        std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    const bool is_in_time = left.count() > 0 && client_.run_until(has_news, left);
    if (is_answered()) {
      return std::move(attempt_->socket);
    }
    if (give_up && give_up()) {
      drop();
      return fail(ErrorCode::kDisconnected, "connect to the agent: it was given up");
    }
    if (!is_in_time) {
      drop();
      Error error = last_failure_.value_or(
          Error{ErrorCode::kTimeout, "connect to the agent in pod " + target.pod, {}, 0});
      error.what += " (given up after " + std::to_string(limit.count() / 1000) + " s)";
      return std::unexpected(std::move(error));
    }
    seen = failures_;
    if (is_final(*last_failure_)) {
      drop();
      return std::unexpected(*last_failure_);
    }
    if (failures_ >= kDoubtful && still_possible) {
      if (Status possible = still_possible(); !possible) {
        drop();
        return std::unexpected(std::move(possible.error()));
      }
    }
  }
}

}  // namespace mirrord::k8s
