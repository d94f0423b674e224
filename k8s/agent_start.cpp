// k8s/agent_start.cpp — the start of an agent: watches first, then the object, then the wait.
#include "k8s/agent_start.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "k8s/agent_objects.h"
#include "k8s/agent_state.h"
#include "k8s/watch.h"

namespace mirrord::k8s {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kTick{250};
constexpr seconds kSlowWarning{20};
constexpr seconds kRehearsalAfter{2};

constexpr char kNoEventsHint[] =
    "Perhaps a quota or a policy refuses it: have somebody look with 'kubectl describe job', or "
    "ask "
    "for the right to list and watch events.";

class Start {
 public:
  Start(ApiClient& client, const AgentPlan& plan, const StartOptions& options)
      : client_(client), plan_(plan), options_(options), tick_(client.loop()) {
    agent_.kind = plan.kind;
    agent_.name_space = plan.name_space;
    agent_.name = plan.name;
    agent_.port = plan.port;
    agent_.container = is_ephemeral() ? plan.name : std::string(kAgentContainer);
    if (is_ephemeral())
      agent_.pod = plan.target->name;
    if (plan.kind == AgentKind::kPod)
      agent_.pod = plan.name;
  }

  Result<StartedAgent> run() {
    deadline_ = Clock::now() + seconds(plan_.settings.startup_timeout_seconds);
    announce();
    watch_objects();
    if (plan_.kind == AgentKind::kPod)
      sweep_ended_pods(client_, plan_.name_space);
    find_node();
    report(StartStep::kBegin,
           is_ephemeral() ? "creating ephemeral container..." : "creating agent pod...");
    was_created_ = true;  // also when the answer is lost
    if (auto status = create_agent(client_, plan_, left()); !status) {
      // A refusal with an answer has made nothing.
      was_created_ = status.error().code == ErrorCode::kTimeout ||
                     status.error().code == ErrorCode::kDisconnected;
      return give_up(std::move(status.error()));
    }
    if (is_ephemeral())
      say_created();
    return wait();
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool is_ephemeral() const { return plan_.kind == AgentKind::kEphemeral; }
  [[nodiscard]] bool is_interrupted() const {
    return options_.is_interrupted && options_.is_interrupted();
  }
  [[nodiscard]] milliseconds left() const {
    const auto time = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now());
    return std::max(time, milliseconds(1));
  }
  void report(StartStep step, std::string_view text) const {
    if (options_.progress)
      options_.progress(step, text);
  }

  void announce() const {
    for (const std::string& warning : plan_warnings(plan_))
      report(StartStep::kWarning, warning);
    if (!plan_.target)
      return;
    for (const std::string& warning : plan_.target->warnings)
      report(StartStep::kWarning, warning);
    if (plan_.target->mesh != Mesh::kNone)
      report(StartStep::kInfo,
             "service mesh detected: " + std::string(mesh_name(plan_.target->mesh)));
  }

  // --- what is watched ---

  void watch_objects() {
    const std::string pods = collection_path(AgentKind::kPod, plan_.name_space);
    WatchRequest request{.path = pods, .patience = seconds(plan_.settings.startup_timeout_seconds)};
    if (plan_.kind == AgentKind::kJob) {
      request.label_selector = "job-name=" + plan_.name;
      watch_job();
      job_events_ = watch_events(plan_.name, &Start::on_job_event);
    } else {
      request.field_selector = "metadata.name=" + agent_.pod;
      watch_pod_events();
    }
    pod_watch_ = std::make_unique<Watch>(
        client_, request,
        WatchHandlers{.event = [this](WatchEvent event, JsonView pod) { on_pod(event, pod); },
                      .synced = {},
                      .failed = [this](ApiError why) { fail_with(std::move(why)); }});
  }

  using EventHandler = void (Start::*)(JsonView event);
  std::unique_ptr<Watch> watch_events(const std::string& name, EventHandler handler) {
    // Not everybody may read events: they only make the answer better and sooner.
    return std::make_unique<Watch>(
        client_,
        WatchRequest{.path = "/api/v1/namespaces/" + escape(plan_.name_space) + "/events",
                     .field_selector = "involvedObject.name=" + name},
        WatchHandlers{.event =
                          [this, handler](WatchEvent kind, JsonView event) {
                            if (kind != WatchEvent::kDeleted)
                              (this->*handler)(event);
                          },
                      .synced = {},
                      .failed = [this](const ApiError&) { has_no_events_ = true; }});
  }
  void watch_pod_events() { pod_events_ = watch_events(agent_.pod, &Start::on_pod_event); }

  void watch_job() {
    job_watch_ = std::make_unique<Watch>(
        client_,
        WatchRequest{.path = collection_path(AgentKind::kJob, plan_.name_space),
                     .field_selector = "metadata.name=" + plan_.name},
        WatchHandlers{.event =
                          [this](WatchEvent event, JsonView) {
                            if (event == WatchEvent::kDeleted)
                              fail_with({ErrorCode::kDisconnected,
                                         "somebody has deleted the agent's job", ""});
                          },
                      .synced = {},
                      .failed = {}});
  }

  void on_pod(WatchEvent event, JsonView pod) {
    if (event == WatchEvent::kDeleted) {
      fail_with({ErrorCode::kDisconnected,
                 is_ephemeral() ? "the target's pod was deleted" : "the agent's pod was deleted",
                 "See with 'kubectl get events -n " + plan_.name_space + "' what deletes it."});
      return;
    }
    if (!is_ephemeral()) {
      if (agent_.pod != pod["metadata"]["name"].text() || !is_created_said_) {
        agent_.pod = pod["metadata"]["name"].text();
        if (plan_.kind == AgentKind::kJob)
          needs_pod_events_ = true;
        say_created();
      }
    }
    Verdict verdict = judge_pod(pod, plan_, agent_.container);
    state_text_ = verdict.what;
    state_hint_ = verdict.hint;
    if (verdict.outlook == Outlook::kRunning)
      is_running_ = true;
    if (verdict.outlook != Outlook::kFailed)
      return;
    has_log_ = verdict.has_log;
    fail_with({ErrorCode::kSystem, std::move(verdict.what), std::move(verdict.hint)});
  }

  void on_job_event(JsonView event) {
    Verdict verdict = judge_job_event(event, plan_);
    if (verdict.what.empty())
      return;
    state_text_ = verdict.what;
    if (verdict.outlook == Outlook::kFailed)
      fail_with({ErrorCode::kPermission, std::move(verdict.what), std::move(verdict.hint)});
    else
      warn_once(verdict.what);
  }

  void on_pod_event(JsonView event) {
    if (says_started(event, agent_.container))
      is_running_ = true;
    if (!is_warning_of(event, plan_, agent_.container))
      return;
    last_message_ = event["message"].text();
    Verdict verdict = judge_pod_event(event, plan_, agent_.container);
    if (verdict.outlook == Outlook::kFailed)
      fail_with({ErrorCode::kSystem, std::move(verdict.what), std::move(verdict.hint)});
    else
      unsaid_.push_back(event_text(event));
  }

  void warn_once(const std::string& text) {
    if (said_.insert(text).second)
      report(StartStep::kWarning, text);
  }

  void say_created() {
    if (std::exchange(is_created_said_, true))
      return;
    const std::string where = agent_.name_space + "/" + agent_.pod;
    report(StartStep::kDone, is_ephemeral()
                                 ? "agent container " + plan_.name + " created in " + where
                                 : "agent pod " + where + " created");
    report(StartStep::kBegin, is_ephemeral() ? "waiting for container to be ready..."
                                             : "waiting for pod to be ready...");
  }

  // The first failure is the one that counts.
  void fail_with(Error error) {
    if (!failure_)
      failure_ = std::move(error);
  }

  // --- the order of things ---

  void find_node() {
    if (!plan_.target || is_ephemeral() || !plan_.node_host_name.empty())
      return;
    plan_.node_host_name = host_name_of(begin_node(client_, plan_.target->node).wait());
  }

  Result<StartedAgent> wait() {
    created_at_ = Clock::now();
    next_warning_ = created_at_ + kSlowWarning;
    tick_.start_repeating(kTick, [] {});  // wakes the loop, so that the conditions are looked at
    while (true) {
      client_.run_until(
          [this] {
            return is_running_ || failure_ || needs_pod_events_ || !unsaid_.empty() || is_due();
          },
          left());
      if (is_running_)
        return succeed();
      if (failure_)
        return give_up(std::move(*failure_));
      if (is_interrupted())
        return give_up({ErrorCode::kDisconnected, "the start of the agent was interrupted", ""});
      if (Clock::now() >= deadline_)
        return give_up(timed_out());
      do_what_is_due();
    }
  }

  [[nodiscard]] bool is_due() const {
    const auto now = Clock::now();
    return is_interrupted() || now >= next_warning_ || now >= deadline_ || wants_rehearsal(now);
  }
  [[nodiscard]] bool wants_rehearsal(Clock::time_point now) const {
    return plan_.kind == AgentKind::kJob && has_no_events_ && agent_.pod.empty() &&
           !was_rehearsed_ && now >= created_at_ + kRehearsalAfter;
  }

  void do_what_is_due() {
    if (std::exchange(needs_pod_events_, false))
      watch_pod_events();
    for (const std::string& text : std::exchange(unsaid_, {}))
      warn_once(text);
    const auto now = Clock::now();
    if (now >= next_warning_) {
      next_warning_ = now + kSlowWarning;
      report(StartStep::kWarning, "the agent is not ready yet: " + state_or("nothing is known"));
    }
    if (wants_rehearsal(now)) {
      was_rehearsed_ = true;
      const std::string refusal = rehearsal_refusal(begin_rehearsal(client_, plan_).wait());
      if (refusal.empty()) {
        state_hint_ = kNoEventsHint;
        warn_once("the job has made no pod yet, and events, which would say why, may not be read");
      } else {
        fail_with({ErrorCode::kPermission, "the job cannot make its pod: " + refusal,
                   refusal_hint(refusal, plan_)});
      }
    }
  }

  [[nodiscard]] std::string state_or(const std::string& otherwise) const {
    return state_text_.empty() ? otherwise : state_text_;
  }

  Error timed_out() const {
    std::string what =
        "the agent was not ready within " + std::to_string(plan_.settings.startup_timeout_seconds) +
        " seconds: " +
        state_or(agent_.pod.empty() ? "the job has made no pod" : "nothing is known");
    return {ErrorCode::kTimeout, std::move(what),
            state_hint_.empty()
                ? "Set agent.startup_timeout to more seconds if the cluster is only slow."
                : state_hint_};
  }

  Result<StartedAgent> succeed() {
    tick_.stop();
    say_created();
    report(StartStep::kDone, is_ephemeral() ? "container is ready" : "pod is ready");
    return std::move(agent_);
  }

  std::unexpected<Error> give_up(Error error) {
    tick_.stop();
    if (has_log_) {
      if (const std::string tail = log_tail(client_, agent_); !tail.empty())
        error.what += "; its last lines:\n" + tail;
    }
    if (!last_message_.empty() && error.what.find(last_message_) == std::string::npos)
      error.what += "; the pod's last warning: " + last_message_;
    // The watches would see what is deleted now.
    pod_watch_.reset();
    job_watch_.reset();
    job_events_.reset();
    pod_events_.reset();
    if (was_created_)
      static_cast<void>(delete_agent(client_, agent_));
    return std::unexpected(std::move(error));
  }

  ApiClient& client_;
  AgentPlan plan_;
  const StartOptions& options_;
  StartedAgent agent_;
  Clock::time_point deadline_, created_at_, next_warning_;
  std::unique_ptr<Watch> pod_watch_, job_watch_, job_events_, pod_events_;
  net::Timer tick_;

  std::optional<Error> failure_;
  std::string state_text_;
  std::string state_hint_;
  std::string last_message_;  // of a warning about the pod
  std::vector<std::string> unsaid_;
  std::set<std::string> said_;
  bool was_created_ = false;
  bool is_created_said_ = false;
  bool is_running_ = false;
  bool has_log_ = false;
  bool has_no_events_ = false;
  bool was_rehearsed_ = false;
  bool needs_pod_events_ = false;
};

}  // namespace

Result<StartedAgent> start_agent(ApiClient& client, const AgentPlan& plan,
                                 const StartOptions& options) {
  return Start(client, plan, options).run();
}

std::string explain_silent_agent(ApiClient& client, const StartedAgent& agent) {
  const std::string path =
      collection_path(AgentKind::kPod, agent.name_space) + "/" + escape(agent.pod);
  AgentPlan plan;
  plan.kind = agent.kind;
  std::string text;
  // The state of a container lags behind its life by a second or two.
  constexpr int kTries = 8;
  for (int i = 0; i < kTries; ++i) {
    auto pod = client.begin({.path = path, .timeout = seconds(3)}).wait();
    if (!pod) {
      text = pod.error().status == 404 ? "its pod is gone" : pod.error().what;
      break;
    }
    const Verdict verdict = judge_pod(pod->view(), plan, agent.container);
    text = verdict.outlook == Outlook::kRunning ? "its container runs" : verdict.what;
    if (verdict.outlook != Outlook::kWaiting)
      break;
    client.run_until([] { return false; }, kTick);
  }
  if (const std::string tail = log_tail(client, agent); !tail.empty())
    text += "; its last lines:\n" + tail;
  return text;
}

}  // namespace mirrord::k8s
