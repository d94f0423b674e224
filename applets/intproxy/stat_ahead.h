// applets/intproxy/stat_ahead.h — after a listing, the first stat of one of its entries asks for all
// of them at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/local_server.h"
#include "net/loop.h"

namespace mirrord::intproxy {

class StatAhead {
 public:
  StatAhead(net::Loop& loop, AgentLink& agent) : loop_(loop), agent_(agent) {}

  void note_listing(std::string directory, std::vector<std::string> names);
  // True when the call is taken: it is, or will be, answered from what was asked for ahead.
  bool answer(std::string_view path, bool follows_links, Call& call);
  // Something was changed: no answer that was asked for before counts.
  void forget();

  static constexpr std::size_t kMaxEntries = 4096;
  static constexpr std::uint64_t kListingIsFreshMs = 5000;
  static constexpr std::uint64_t kAnswerIsFreshMs = 1000;

 private:
  struct Answer {
    bool has_come = false;
    std::uint64_t came_at_ms = 0;
    proto::Res<proto::XstatResponse> reply;
    std::vector<Call> waiting;
  };
  struct Listing {
    std::uint64_t made_at_ms = 0;
    std::vector<std::string> names;
  };
  using Answers = std::unordered_map<std::string, std::shared_ptr<Answer>>;

  void ask_for_all(const std::string& directory, const Listing& listing, bool follows_links);
  void drop_stale();

  net::Loop& loop_;
  AgentLink& agent_;
  std::unordered_map<std::string, Listing> listings_;
  Answers answers_;  // key: 'F' or 'L' (follows links or not), then the path
};

// "/a//b/./c" -> "/a/b/c". Empty for paths with "..", whose meaning only the agent knows.
std::string normal_path(std::string_view path);

void answer_stat(Call& call, const proto::Res<proto::XstatResponse>& reply);

}  // namespace mirrord::intproxy
