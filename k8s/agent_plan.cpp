// k8s/agent_plan.cpp — name, port, group and namespace of an agent to be, and what its settings cost.
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "k8s/agent_manifest.h"

namespace mirrord::k8s {
namespace {

// Uniform enough: the bounds are tiny against 2^32.
std::uint32_t random_below(std::uint32_t bound) {
  std::uint32_t value = 0;
  while (::getrandom(&value, sizeof value, 0) != sizeof value && errno == EINTR) {
  }
  return value % bound;
}

std::string random_name() {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr int kLength = 10;
  std::string name = "mirrord-agent-";
  for (int i = 0; i < kLength; ++i)
    name += kLetters[random_below(kLetters.size())];
  return name;
}

// The ranges are the original's. Containers of one pod share their ports.
std::uint16_t random_port(const std::vector<std::uint16_t>& taken) {
  constexpr std::uint32_t kLowest = 30'000;
  constexpr std::uint32_t kCount = 65'536 - kLowest;
  while (true) {
    const auto port = static_cast<std::uint16_t>(kLowest + random_below(kCount));
    if (std::ranges::find(taken, port) == taken.end())
      return port;
  }
}

std::uint32_t random_group() {
  constexpr std::uint32_t kLowest = 3'000;
  return kLowest + random_below(65'535 - kLowest);
}

std::string first_of(const std::string& a, const std::string& b) {
  return a.empty() ? b : a;
}

struct Loss {
  std::string_view capability, what;
};
constexpr std::array kLosses = {
    Loss{"NET_ADMIN", "incoming traffic can be neither stolen nor mirrored"},
    Loss{"SYS_PTRACE",
         "files and environment of a target that runs as another user than root "
         "cannot be read, and the agent may not start"},
    Loss{"SYS_ADMIN",
         "the agent cannot enter the target's network; use agent.ephemeral, which is "
         "there already"},
};

}  // namespace

Result<AgentPlan> plan_agent(AgentPlanRequest request) {
  AgentPlan plan;
  const AgentSettings& settings = request.settings;
  if (settings.ephemeral && !request.target)
    return fail(ErrorCode::kConfig, "an ephemeral agent needs a target",
                "Name a target, or switch agent.ephemeral off.");
  if (settings.ephemeral) {
    plan.kind = AgentKind::kEphemeral;
    plan.name_space = request.target->name_space;
  } else {
    plan.kind = settings.bare_pod ? AgentKind::kPod : AgentKind::kJob;
    // Without a target agent.namespace does not count.
    plan.name_space = request.target
                          ? first_of(settings.name_space, request.client_name_space)
                          : first_of(request.target_name_space, request.client_name_space);
  }
  plan.name = random_name();
  plan.port = random_port(plan.kind == AgentKind::kEphemeral ? request.target->container_ports
                                                             : std::vector<std::uint16_t>());
  plan.group_id = random_group();
  plan.settings = std::move(request.settings);
  plan.target = std::move(request.target);
  plan.takes_traffic = request.takes_traffic;
  plan.tls_certificate = std::move(request.tls_certificate);
  plan.idle_ttl_seconds = request.idle_ttl_seconds;
  return plan;
}

std::vector<std::string> plan_warnings(const AgentPlan& plan) {
  std::vector<std::string> warnings;
  if (!plan.target)
    return warnings;
  for (const std::string& capability : plan.settings.disabled_capabilities) {
    const auto loss = std::ranges::find(kLosses, capability, &Loss::capability);
    if (loss == kLosses.end())
      warnings.push_back("agent.disabled_capabilities: the agent never has `" + capability +
                         "`; known are NET_ADMIN, SYS_PTRACE and SYS_ADMIN");
    else if (capability == "NET_ADMIN"
                 ? plan.takes_traffic
                 : capability != "SYS_ADMIN" || plan.kind != AgentKind::kEphemeral)
      warnings.push_back("agent.disabled_capabilities has " + capability + ": " +
                         std::string(loss->what));
  }
  if (plan.target->mesh == Mesh::kIstioAmbient && !plan.settings.privileged)
    warnings.emplace_back(
        "the target is in an Istio ambient mesh: the agent may fail to start; set agent.privileged "
        "to true if it does");
  return warnings;
}

bool is_original_image(std::string_view image) {
  return image.find("metalbear-co/mirrord") != std::string_view::npos;
}

}  // namespace mirrord::k8s
