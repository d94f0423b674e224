// applets/agent/redirect/choose.cpp — the ways in their order, and what becomes of one that does not work.
#include "applets/agent/redirect/choose.h"

#include <array>
#include <utility>

#include "applets/agent/redirect/claimed.h"
#include "applets/agent/redirect/nftables.h"
#include "applets/agent/redirect/socket_lookup.h"

namespace mirrord::agent {
namespace {

using Made = Result<std::unique_ptr<Redirector>>;
using Program = std::shared_ptr<const Result<SocketLookupProgram>>;

struct Way {
  std::string_view name;
  Made (*make)(net::Loop& loop, const Program& program, Redirector::Accepted accepted);
};

Made by_socket_lookup(net::Loop& loop, const Program& program, Redirector::Accepted accepted) {
  if (!*program)
    return std::unexpected(program->error());
  return make_socket_lookup(loop, std::shared_ptr<const SocketLookupProgram>(program, &**program),
                            std::move(accepted));
}

Made by_nftables(net::Loop& loop, const Program& /*program*/, Redirector::Accepted accepted) {
  return make_nftables(loop, std::move(accepted), TableOwner::kSocket);
}

Made by_guarded_nftables(net::Loop& loop, const Program& /*program*/,
                         Redirector::Accepted accepted) {
  return make_nftables(loop, std::move(accepted), TableOwner::kGuard);
}

constexpr std::array kWays{Way{"socket-lookup", by_socket_lookup}, Way{"nftables", by_nftables},
                           Way{"nftables-guard", by_guarded_nftables}};

Made make_first(net::Loop& loop, const Program& program, std::string_view chosen,
                Redirector::Accepted accepted) {
  // The ways share the handler: only the one that works calls it.
  const auto shared = std::make_shared<Redirector::Accepted>(std::move(accepted));
  Error reasons{ErrorCode::kUnsupported, "connections cannot be redirected here", {}, 0};
  const char* separator = ": ";
  bool is_known = false;
  for (const Way& way : kWays) {
    // Either owner will do for who wants nftables.
    if (chosen != "auto" && chosen != way.name &&
        !(chosen == "nftables" && way.name == "nftables-guard"))
      continue;
    is_known = true;
    auto made = way.make(loop, program,
                         [shared](Redirected connection) { (*shared)(std::move(connection)); });
    if (made)
      return with_claims(loop, std::move(*made));
    reasons.what += std::exchange(separator, "; ");
    reasons.what += std::string(way.name) + ": " + made.error().what;
    reasons.code = made.error().code;
  }
  if (!is_known) {
    reasons.what += ": MIRRORD_AGENT_REDIRECT is `" + std::string(chosen) +
                    "`, not auto, socket-lookup, nftables or nftables-guard";
  }
  return std::unexpected(std::move(reasons));
}

}  // namespace

std::function<Made(Redirector::Accepted)> redirector_maker(net::Loop& loop,
                                                           std::string_view chosen) {
  const std::string way(chosen.empty() ? "auto" : chosen);
  const auto program =
      std::make_shared<const Result<SocketLookupProgram>>(SocketLookupProgram::load());
  return [&loop, program, way](Redirector::Accepted accepted) {
    return make_first(loop, program, way, std::move(accepted));
  };
}

}  // namespace mirrord::agent
