// applets/intproxy/stat_ahead.cpp — listings, and the answers that were asked for ahead.
#include "applets/intproxy/stat_ahead.h"

#include <utility>

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxListings = 64;

std::string key_of(std::string_view path, bool follows_links) {
  std::string key(1, follows_links ? 'F' : 'L');
  key += path;
  return key;
}

}  // namespace

std::string normal_path(std::string_view path) {
  std::string normal;
  normal.reserve(path.size());
  while (!path.empty()) {
    const std::size_t begin = path.find_first_not_of('/');
    if (begin == std::string_view::npos) {
      break;
    }
    path.remove_prefix(begin);
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    if (part == "..") {
      return {};
    }
    if (part != ".") {
      normal += '/';
      normal += part;
    }
  }
  return normal.empty() ? "/" : normal;
}

void answer_stat(Call& call, const proto::Res<proto::XstatResponse>& reply) {
  if (reply) {
    call.answer(to_local(reply->metadata));
  } else {
    call.fail(errno_of(reply.error()));
  }
}

void StatAhead::note_listing(std::string directory, std::vector<std::string> names) {
  std::string normal = normal_path(directory);
  if (normal.empty() || names.size() < 2) {
    return;
  }
  if (listings_.size() >= kMaxListings) {
    std::erase_if(listings_, [this](const auto& entry) {
      return loop_.now_ms() - entry.second.made_at_ms > kListingIsFreshMs;
    });
    if (listings_.size() >= kMaxListings) {
      listings_.clear();
    }
  }
  if (names.size() > kMaxEntries) {
    names.resize(kMaxEntries);
  }
  listings_[std::move(normal)] = {loop_.now_ms(), std::move(names)};
}

bool StatAhead::answer(std::string_view path, bool follows_links, Call& call) {
  if (listings_.empty() && answers_.empty()) {
    return false;
  }
  const bool wants_directory = path.ends_with('/');
  const std::string normal = normal_path(path);
  if (normal.size() < 2 || wants_directory) {
    return false;
  }
  const std::string key = key_of(normal, follows_links);
  auto found = answers_.find(key);
  if (found == answers_.end()) {
    const std::size_t slash = normal.rfind('/');
    const auto listing = listings_.find(slash == 0 ? "/" : normal.substr(0, slash));
    if (listing == listings_.end() ||
        loop_.now_ms() - listing->second.made_at_ms > kListingIsFreshMs) {
      return false;
    }
    const Listing names = std::move(listing->second);
    const std::string directory = listing->first;
    listings_.erase(listing);
    drop_stale();
    ask_for_all(directory, names, follows_links);
    found = answers_.find(key);
    if (found == answers_.end()) {
      return false;
    }
  }
  const std::shared_ptr<Answer> answer = found->second;
  answers_.erase(found);  // each is used once
  if (!answer->has_come) {
    answer->waiting.push_back(std::move(call));
    return true;
  }
  if (loop_.now_ms() - answer->came_at_ms > kAnswerIsFreshMs) {
    return false;
  }
  answer_stat(call, answer->reply);
  return true;
}

void StatAhead::ask_for_all(const std::string& directory, const Listing& listing,
                            bool follows_links) {
  const std::string base = directory == "/" ? "" : directory;
  for (const std::string& name : listing.names) {
    std::string path = base + "/" + name;
    auto answer = std::make_shared<Answer>();
    answers_[key_of(path, follows_links)] = answer;
    agent_.request<"Xstat">(proto::FileRequest::make<"Xstat">(proto::Path(std::move(path)),
                                                              std::nullopt, follows_links),
                            [this, answer](proto::Res<proto::XstatResponse> reply) {
                              answer->has_come = true;
                              answer->came_at_ms = loop_.now_ms();
                              answer->reply = std::move(reply);
                              for (Call& call : std::exchange(answer->waiting, {})) {
                                answer_stat(call, answer->reply);
                              }
                            });
  }
}

void StatAhead::drop_stale() {
  std::erase_if(answers_, [this](const auto& entry) {
    return entry.second->has_come && loop_.now_ms() - entry.second->came_at_ms > kAnswerIsFreshMs;
  });
}

void StatAhead::forget() {
  listings_.clear();
  answers_.clear();
}

}  // namespace mirrord::intproxy
