// applets/intproxy/dns_queries.cpp — reads the target's resolv.conf, tries the names of a search and
// says what came of it in the terms of the resolver library.
#include "applets/intproxy/dns_queries.h"

#include <netdb.h>
#include <sys/random.h>

#include <cerrno>
#include <utility>

#include "applets/intproxy/dns_packet.h"

namespace mirrord::intproxy {
namespace {

constexpr char kResolvConf[] = "/etc/resolv.conf";

std::uint16_t random_id() {
  std::uint16_t id = 0;
  if (::getrandom(&id, sizeof id, GRND_NONBLOCK) != sizeof id) {
    id = static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(&id) >> 4);
  }
  return id;
}

// What res_query says of an answer, as an h_errno value; 0: it holds records.
int host_error_of(const DnsExchange::Outcome& outcome) {
  if (!outcome) {
    return TRY_AGAIN;
  }
  switch (dns_code(*outcome)) {
    case DnsCode::kNoError:
      return dns_answer_count(*outcome) == 0 ? NO_DATA : 0;
    case DnsCode::kNameError:
      return HOST_NOT_FOUND;
    case DnsCode::kServerFailure:
      return TRY_AGAIN;
    default:
      return NO_RECOVERY;
  }
}

// Whether a name can be put into a packet: any that is askable, and the root.
bool is_queryable(std::string_view name) {
  return name.empty() || name == "." || net::is_askable(name);
}

}  // namespace

DnsQueries::DnsQueries(Session& session, OutgoingHub& hub) : session_(session), hub_(hub) {
  session.handle(local::MessageType::kQuery, [this](Process&, Request&& request, Call call) {
    query(request, std::move(call));
  });
}

DnsQueries::~DnsQueries() {
  *alive_ = false;
}

void DnsQueries::agent_lost(const Error& /*why*/) {
  waiting_.clear();
  lookups_.clear();  // every call answers EIO
}

// A question that is asked twice does no harm.
void DnsQueries::agent_interrupted(Losses& /*losses*/) {
  for (const auto& [id, lookup] : lookups_) {
    if (lookup->exchange) {
      lookup->exchange.reset();
      ask(*lookup);
    }
  }
}

void DnsQueries::query(const Request& request, Call call) {
  const auto wanted = request.fixed<local::QueryRequest>();
  const std::string_view text = request.text<local::QueryRequest>();
  const bool is_packet = wanted && wanted->kind == local::QueryKind::kSend;
  if (!wanted || (is_packet && (text.size() < kDnsHeaderSize || text.size() > UINT16_MAX))) {
    call.fail(EINVAL);
    return;
  }
  const std::uint64_t id = next_id_++;
  auto lookup = std::make_unique<Lookup>(
      Lookup{.id = id, .wanted = *wanted, .text = std::string(text), .call = std::move(call)});
  Lookup& added = *lookups_.emplace(id, std::move(lookup)).first->second;
  if (!is_packet && !is_queryable(text)) {
    finish(added, NO_RECOVERY, std::unexpected(EMSGSIZE));
    return;
  }
  with_settings([this, id](std::shared_ptr<const net::DnsSettings> settings) {
    const auto found = lookups_.find(id);
    if (found != lookups_.end()) {
      found->second->settings = std::move(settings);
      start(id);
    }
  });
}

void DnsQueries::start(std::uint64_t id) {
  Lookup& lookup = *lookups_.at(id);
  if (lookup.wanted.kind == local::QueryKind::kSearch && !lookup.text.empty()) {
    lookup.candidates = net::search_candidates(*lookup.settings, lookup.text);
    lookup.is_name_first = lookup.candidates.size() > 1 && lookup.candidates[0] == lookup.text;
  } else {
    lookup.candidates = {lookup.text};
  }
  ask(lookup);
}

void DnsQueries::ask(Lookup& lookup) {
  const std::string& candidate = lookup.candidates[lookup.at];
  std::string packet =
      lookup.wanted.kind == local::QueryKind::kSend
          ? candidate
          : make_dns_query(random_id(), candidate, lookup.wanted.dns_class, lookup.wanted.type);
  lookup.exchange = std::make_unique<DnsExchange>(
      hub_, *lookup.settings, std::move(packet),
      [this, id = lookup.id](auto outcome) { answered(id, std::move(outcome)); });
  lookup.exchange->start();
}

void DnsQueries::answered(std::uint64_t id, DnsExchange::Outcome outcome) {
  const auto found = lookups_.find(id);
  if (found == lookups_.end()) {
    return;
  }
  Lookup& lookup = *found->second;
  if (lookup.wanted.kind == local::QueryKind::kSend) {
    finish(lookup, 0, outcome);
    return;
  }
  const int host_error = host_error_of(outcome);
  if (host_error == 0 || !lookup.call.is_awaited()) {
    finish(lookup, host_error, outcome);
  } else {
    next_candidate(lookup, host_error, outcome);
  }
}

// The rules of res_search: what a failure means for the names still to be tried, and which of the
// failures is told in the end.
void DnsQueries::next_candidate(Lookup& lookup, int host_error,
                                const DnsExchange::Outcome& outcome) {
  if (lookup.is_name_first && lookup.at == 0) {
    lookup.name_error = host_error;
  } else {
    lookup.has_seen_no_data = lookup.has_seen_no_data || host_error == NO_DATA;
    lookup.has_seen_failure = lookup.has_seen_failure || host_error == TRY_AGAIN;
  }
  const bool is_final = !outcome || host_error == NO_RECOVERY;
  if (!is_final && lookup.at + 1 < lookup.candidates.size()) {
    ++lookup.at;
    // Not from inside the exchange's own call.
    session_.loop().defer([this, id = lookup.id, alive = alive_] {
      const auto found = *alive ? lookups_.find(id) : lookups_.end();
      if (*alive && found != lookups_.end()) {
        ask(*found->second);
      }
    });
    return;
  }
  const int told = lookup.candidates.size() == 1 || is_final ? host_error
                   : lookup.name_error != 0                  ? lookup.name_error
                   : lookup.has_seen_no_data                 ? NO_DATA
                   : lookup.has_seen_failure                 ? TRY_AGAIN
                                                             : host_error;
  finish(lookup, told, outcome);
}

void DnsQueries::finish(Lookup& lookup, int host_error, const DnsExchange::Outcome& outcome) {
  if (!outcome && lookup.wanted.kind == local::QueryKind::kSend) {
    lookup.call.fail(outcome.error());
  } else {
    const std::string_view packet = outcome ? std::string_view(*outcome) : std::string_view();
    lookup.call.answer(local::QueryReply{host_error, outcome ? 0 : outcome.error(),
                                         static_cast<std::uint32_t>(packet.size()), 0},
                       std::as_bytes(std::span(packet)));
  }
  // Its exchange may be the caller.
  session_.loop().defer([this, id = lookup.id, alive = alive_] {
    if (*alive) {
      lookups_.erase(id);
    }
  });
}

// ---- the target's resolv.conf

void DnsQueries::with_settings(WithSettings use) {
  if (settings_ != nullptr && session_.loop().now_ms() - settings_at_ms_ < kSettingsMemoryMs) {
    use(settings_);
    return;
  }
  waiting_.push_back(std::move(use));
  if (waiting_.size() > 1) {
    return;
  }
  AgentLink& agent = session_.agent();
  if (agent.speaks_flight()) {
    static_cast<void>(agent.reserve_descriptor());
  }
  proto::OpenOptionsInternal options{};
  options.read = true;
  agent.request<"Open">(proto::FileRequest::make<"Open">(proto::Path(kResolvConf), options),
                        [this, alive = alive_](proto::Res<proto::OpenFileResponse> reply) {
                          if (!*alive) {
                            return;
                          }
                          if (reply) {
                            read_settings(reply->fd, std::make_shared<std::string>());
                          } else {
                            settings_came("");
                          }
                        });
}

void DnsQueries::read_settings(std::uint64_t fd, std::shared_ptr<std::string> text) {
  session_.agent().request<"ReadLimited">(
      proto::FileRequest::make<"ReadLimited">(fd, std::uint64_t{kMaxResolvConf}, text->size()),
      [this, fd, text, alive = alive_](proto::Res<proto::ReadFileResponse> reply) {
        if (!*alive) {
          return;
        }
        if (reply && !reply->bytes.empty() && text->size() < kMaxResolvConf) {
          *text += reply->bytes.text();
          read_settings(fd, text);
          return;
        }
        session_.agent().send_without_reply(proto::FileRequest::make<"Close">(fd));
        settings_came(*text);
      });
}

void DnsQueries::settings_came(std::string_view text) {
  settings_ = std::make_shared<const net::DnsSettings>(net::parse_resolv_conf(text));
  settings_at_ms_ = session_.loop().now_ms();
  for (WithSettings& use : std::exchange(waiting_, {})) {
    use(settings_);
  }
}

}  // namespace mirrord::intproxy
