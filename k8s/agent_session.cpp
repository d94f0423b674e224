// k8s/agent_session.cpp — resolves, starts, connects, watches the target's pod, connects again.
#include "k8s/agent_session.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "k8s/agent_line.h"
#include "k8s/agent_manifest.h"
#include "k8s/resolve_target.h"
#include "k8s/start_deadline.h"
#include "k8s/watch.h"

namespace mirrord::k8s {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// The end of a session waits for these: a server that is away does not get much time to come back.
constexpr milliseconds kAwayLimit{2'000};
constexpr milliseconds kDeleteLimit{5'000};
constexpr milliseconds kWatchPatience{24 * 3'600'000};

std::string pod_name(const std::string& name_space, const std::string& name) {
  return name_space + "/" + name;
}

}  // namespace

struct AgentSession::Impl {
  Impl(net::Loop& loop, AgentSessionRequest asked, Handlers wanted)
      : handlers(std::move(wanted)), request(std::move(asked)), client(loop, request.client) {}

  Result<AgentSessionStream> open();
  Result<AgentSessionStream> reopen(milliseconds limit);
  Status start(bool is_first);
  Result<AgentSessionStream> connect(milliseconds limit);
  Result<bool> agent_runs();
  [[nodiscard]] std::string likely_name_space() const;
  void watch_target();
  void target_leaves(std::string_view what);
  void forget_agent();
  AgentSessionStream stream_of(Fd socket) const;

  [[nodiscard]] bool is_interrupted() const {
    return handlers.is_interrupted && handlers.is_interrupted();
  }
  void timed(std::string_view part, Clock::time_point since) const {
    if (handlers.timed) {
      handlers.timed(part,
                     std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - since));
    }
  }

  Handlers handlers;
  AgentSessionRequest request;
  ApiClient client;
  std::optional<TargetPod> target;
  std::optional<StartedAgent> agent;
  std::unique_ptr<StartDeadline> deadline;
  std::unique_ptr<AgentLine> line;
  std::unique_ptr<Watch> watch;
  bool is_server_away = false;   // it did not answer last time
  bool target_was_seen = false;  // by the watch
  bool target_is_leaving = false;
};

// Where the agent will be, for a question that is asked before that is settled.
std::string AgentSession::Impl::likely_name_space() const {
  const std::string& wanted = request.target.kind == TargetKind::kTargetless
                                  ? request.target_name_space
                                  : request.settings.name_space;
  return wanted.empty() ? client.config().name_space : wanted;
}

// Finds the target and starts an agent for it.
Status AgentSession::Impl::start(bool is_first) {
  const Clock::time_point began = Clock::now();
  deadline = std::make_unique<StartDeadline>(client, likely_name_space());
  std::optional<TargetPod> found;
  if (request.target.kind != TargetKind::kTargetless) {
    MIRRORD_TRY(pod, resolve_target(client, request.target, request.target_name_space));
    found = std::move(pod);
  }
  timed("target", began);

  AgentPlanRequest planning{.settings = request.settings,
                            .target = found,
                            .target_name_space = request.target_name_space,
                            .client_name_space = client.config().name_space,
                            .takes_traffic = request.takes_traffic,
                            .idle_ttl_seconds = request.idle_seconds};
  // The original's agent would take TLS too; its peers do without unless an operator is there.
  std::optional<net::TlsIdentity> identity;
  if (!is_original_image(request.settings.image)) {
    MIRRORD_TRY(made, net::make_tls_identity("mirrord-client"));
    planning.tls_certificate = made.certificate;
    identity = std::move(made);
  }
  line = std::make_unique<AgentLine>(client, std::move(identity));
  MIRRORD_TRY(plan, plan_agent(std::move(planning)));
  if (plan.kind == AgentKind::kJob) {
    plan.deadline_seconds =
        deadline->seconds(plan.name_space, plan.settings.startup_timeout_seconds);
  }
  const Clock::time_point asked = Clock::now();
  StartOptions options;
  if (is_first) {
    options.progress = handlers.progress;
  }
  options.is_interrupted = [this] { return is_interrupted(); };
  MIRRORD_TRY(started, start_agent(client, plan, options));
  timed("agent's pod", asked);
  target = std::move(found);
  agent = std::move(started);
  target_is_leaving = false;
  return {};
}

AgentSessionStream AgentSession::Impl::stream_of(Fd socket) const {
  return {std::move(socket), "the agent in pod " + pod_name(agent->name_space, agent->pod), {}};
}

// A line to the agent that is known to run. It may not listen yet, or not any more.
Result<AgentSessionStream> AgentSession::Impl::connect(milliseconds limit) {
  const Clock::time_point began = Clock::now();
  auto socket = line->connect(
      {agent->name_space, agent->pod, agent->port}, limit, [this] { return is_interrupted(); },
      [this]() -> Status {
        MIRRORD_TRY(runs, agent_runs());
        return runs ? Status()
                    : fail(ErrorCode::kDisconnected,
                           "connect to the agent in pod " + agent->pod + ": it has ended");
      });
  if (!socket) {
    return std::unexpected(std::move(socket.error()));
  }
  timed("port-forward", began);
  deadline->lift(*agent);
  return stream_of(std::move(*socket));
}

Result<AgentSessionStream> AgentSession::Impl::open() {
  MIRRORD_CHECK_STATUS(start(true));
  auto stream = connect(std::chrono::seconds(request.settings.startup_timeout_seconds));
  if (!stream) {
    Error error = std::move(stream.error());
    const std::string more = explain_silent_agent(client, *agent);
    if (!more.empty()) {
      error.what += "; " + more;
    }
    if (!request.settings.disabled_capabilities.empty()) {
      error.hint = "agent.disabled_capabilities takes from it what it may need:";
      for (const std::string& capability : request.settings.disabled_capabilities) {
        error.hint += " " + capability;
      }
      error.hint += '.';
    }
    forget_agent();
    return std::unexpected(std::move(error));
  }
  watch_target();
  return stream;
}

// Whether the agent's container still runs; an error when the server does not say.
Result<bool> AgentSession::Impl::agent_runs() {
  auto call = client.begin(
      {.path = "/api/v1/namespaces/" + escape(agent->name_space) + "/pods/" + escape(agent->pod),
       .timeout = kAwayLimit});
  auto pod = call.wait();
  if (!pod) {
    if (pod.error().status == 404) {
      return false;
    }
    is_server_away = pod.error().status == 0;
    return std::unexpected(Error(std::move(pod.error())));
  }
  is_server_away = false;
  if ((*pod)["metadata"]["deletionTimestamp"].is_present()) {
    return false;
  }
  const char* list =
      agent->kind == AgentKind::kEphemeral ? "ephemeralContainerStatuses" : "containerStatuses";
  for (const JsonView status : (*pod)["status"][list]) {
    if (status["name"].text() == agent->container) {
      return !status["state"]["terminated"].is_present();
    }
  }
  return true;
}

Result<AgentSessionStream> AgentSession::Impl::reopen(milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  line->drop();
  if (agent && !target_is_leaving) {
    MIRRORD_TRY(runs, agent_runs());
    if (runs) {
      return connect(limit);
    }
  }
  const std::string before = target ? pod_name(target->name_space, target->name) : std::string();
  watch.reset();
  forget_agent();
  Status started = start(false);
  if (!started) {
    Error error = std::move(started.error());
    // A workload's next pod may still be on its way.
    if (error.code == ErrorCode::kNotFound && request.target.kind != TargetKind::kPod) {
      error.code = ErrorCode::kDisconnected;
    }
    return std::unexpected(std::move(error));
  }
  const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
  MIRRORD_TRY(stream, connect(std::max(left, milliseconds(1000))));
  if (target) {
    const std::string now = pod_name(target->name_space, target->name);
    stream.notice = now == before ? "the container was started anew; the session goes on in it"
                                  : "the session has moved to pod " + now;
  } else {
    stream.notice = "the session goes on with a new agent";
  }
  watch_target();
  return stream;
}

// Tells of a target that is about to go as soon as the API server does.
void AgentSession::Impl::watch_target() {
  if (!target || watch != nullptr) {
    return;
  }
  target_was_seen = false;
  WatchHandlers events;
  events.event = [this](WatchEvent event, JsonView pod) {
    target_was_seen = true;
    if (event == WatchEvent::kDeleted) {
      target_leaves("was deleted");
    } else if (pod["metadata"]["uid"].text() != target->uid) {
      target_leaves("was replaced");
    } else if (pod["metadata"]["deletionTimestamp"].is_present()) {
      target_leaves("is being deleted");
    }
  };
  events.synced = [this] {
    if (!target_was_seen) {
      target_leaves("was deleted");
    }
  };
  events.failed = [](const ApiError&) {};  // the agent itself shows whether its target is there
  watch = std::make_unique<Watch>(
      client,
      WatchRequest{.path = "/api/v1/namespaces/" + escape(target->name_space) + "/pods",
                   .field_selector = "metadata.name=" + target->name,
                   .patience = kWatchPatience},
      std::move(events));
}

void AgentSession::Impl::target_leaves(std::string_view what) {
  if (std::exchange(target_is_leaving, true)) {
    return;
  }
  const std::string sentence =
      "the target's pod " + pod_name(target->name_space, target->name) + " " + std::string(what);
  const bool can_move = request.target.kind != TargetKind::kPod;
  if (handlers.notice) {
    handlers.notice(sentence + (can_move ? "; looking for another pod of " + to_text(request.target)
                                         : "; what is remote ends with it"));
  }
  if (can_move && handlers.leave) {
    handlers.leave(sentence);
  }
}

void AgentSession::Impl::forget_agent() {
  if (line) {
    line->drop();
  }
  if (agent) {
    [[maybe_unused]] const Status deleted =
        delete_agent(client, *agent, is_server_away ? kAwayLimit : kDeleteLimit);
    agent.reset();
  }
}

AgentSession::AgentSession(net::Loop& loop, AgentSessionRequest request, Handlers handlers)
    : impl_(std::make_unique<Impl>(loop, std::move(request), std::move(handlers))) {}

AgentSession::~AgentSession() = default;

Result<AgentSessionStream> AgentSession::open() {
  return impl_->open();
}

Result<AgentSessionStream> AgentSession::reopen(milliseconds limit) {
  return impl_->reopen(limit);
}

void AgentSession::end() {
  constexpr milliseconds kLastWords{2'000};
  impl_->watch.reset();
  if (impl_->line) {
    impl_->line->finish(kLastWords);
  }
  impl_->forget_agent();
}

}  // namespace mirrord::k8s
