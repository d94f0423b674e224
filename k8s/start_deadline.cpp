// k8s/start_deadline.cpp — spec.activeDeadlineSeconds of the agent's job, set and taken back.
#include "k8s/start_deadline.h"

#include <utility>

namespace mirrord::k8s {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerLimit{3'000};
constexpr milliseconds kAgain{10'000};
// Time enough to take it back while the API server is away for a while.
constexpr std::uint32_t kMarginSeconds = 300;

ApiRequest may_change_jobs(const std::string& name_space) {
  return {.method = "POST",
          .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
          .body = Json::object({{"apiVersion", "authorization.k8s.io/v1"},
                                {"kind", "SelfSubjectAccessReview"},
                                {"spec", Json::object({{"resourceAttributes",
                                                        Json::object({{"namespace", name_space},
                                                                      {"verb", "patch"},
                                                                      {"group", "batch"},
                                                                      {"resource", "jobs"}})}})}})
                      .dump(),
          .timeout = kAnswerLimit};
}

}  // namespace

struct StartDeadline::Lifting : std::enable_shared_from_this<Lifting> {
  Lifting(ApiClient& api, std::string job_path)
      : client(api), path(std::move(job_path)), pause(api.loop()) {}

  void try_once() {
    client.send({.method = "PATCH",
                 .path = path,
                 .body = R"({"spec":{"activeDeadlineSeconds":null}})",
                 .content_type = "application/merge-patch+json"},
                [weak = weak_from_this()](const ApiResult<Json>& answer) {
                  const auto self = weak.lock();
                  // A job that is gone needs nothing any more.
                  if (self && !answer && answer.error().status != 404) {
                    self->pause.start(kAgain, [self = self.get()] { self->try_once(); });
                  }
                });
  }

  ApiClient& client;
  std::string path;
  net::Timer pause;
};

StartDeadline::StartDeadline(ApiClient& client, std::string name_space)
    : name_space_(std::move(name_space)),
      question_(client.begin(may_change_jobs(name_space_))),
      client_(client) {}

StartDeadline::~StartDeadline() = default;

std::uint32_t StartDeadline::seconds(const std::string& name_space, std::uint32_t startup_timeout) {
  const auto answer = question_.wait();
  is_set_ = name_space == name_space_ && answer && (*answer)["status"]["allowed"].boolean();
  return is_set_ ? startup_timeout + kMarginSeconds : 0;
}

void StartDeadline::lift(const StartedAgent& agent) {
  if (!std::exchange(is_set_, false) || agent.kind != AgentKind::kJob) {
    return;
  }
  lifting_ =
      std::make_shared<Lifting>(client_, "/apis/batch/v1/namespaces/" + escape(agent.name_space) +
                                             "/jobs/" + escape(agent.name));
  lifting_->try_once();
}

}  // namespace mirrord::k8s
