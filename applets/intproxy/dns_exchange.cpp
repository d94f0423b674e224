// applets/intproxy/dns_exchange.cpp — asks one name server after the other.
#include "applets/intproxy/dns_exchange.h"

#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#include "applets/intproxy/address.h"
#include "applets/intproxy/dns_packet.h"

namespace mirrord::intproxy {
namespace {

constexpr std::uint16_t kDnsPort = 53;
constexpr std::size_t kMaxOverUdp = 512;

// "10.96.0.10", or "[10.96.0.10]:5353".
std::optional<net::Endpoint> endpoint_of_server(std::string_view server) {
  std::uint16_t port = kDnsPort;
  if (server.starts_with('[')) {
    const std::size_t end = server.find("]:");
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    const std::string_view number = server.substr(end + 2);
    std::from_chars(number.data(), number.data() + number.size(), port);
    server = server.substr(1, end - 1);
  }
  const auto ip = net::IpAddress::parse(server);
  return ip ? std::optional(net::Endpoint{*ip, port}) : std::nullopt;
}

}  // namespace

// The agent's connection to one name server.
class NameServerLink final : public OutgoingEntry {
 public:
  NameServerLink(DnsExchange& exchange, AgentLink::Outgoing kind, proto::SocketAddress server)
      : OutgoingEntry(exchange.hub_, 0, kind, std::move(server)), exchange_(exchange) {}

  void send(std::string_view bytes) { send_data(proto::Bytes(bytes)); }

  void data_came(proto::Bytes&& bytes) override {
    const proto::Bytes kept = std::move(bytes);
    if (kept.empty()) {
      exchange_.link_failed(ECONNRESET);
    } else {
      exchange_.data_came(kept.text());
    }
  }
  void closed_by_agent() override {
    forget_agent_connection();
    exchange_.link_failed(ECONNREFUSED);
  }
  void hold_data(bool /*is_held*/) override {}
  void room_came() override {}
  void tick(std::uint64_t /*now_ms*/) override {}
  [[nodiscard]] std::size_t queued_bytes() const override { return 0; }

 private:
  void opened() override { exchange_.link_opened(); }
  void failed(bool /*is_expected*/) override { exchange_.link_failed(ECONNREFUSED); }
  void lost() override { exchange_.link_failed(ECONNRESET); }

  DnsExchange& exchange_;
};

DnsExchange::DnsExchange(OutgoingHub& hub, const net::DnsSettings& settings, std::string query,
                         Done done)
    : hub_(hub),
      settings_(settings),
      query_(std::move(query)),
      done_(std::move(done)),
      error_(ETIMEDOUT),
      timer_(hub.loop()) {}

DnsExchange::~DnsExchange() {
  *alive_ = false;
}

void DnsExchange::start() {
  is_tcp_ = settings_.use_tcp || query_.size() > kMaxOverUdp;
  ask();
}

void DnsExchange::ask() {
  stream_.clear();
  is_over_ = false;
  const auto server = endpoint_of_server(settings_.servers[server_]);
  const auto address = server ? to_wire(to_local(*server)) : std::nullopt;
  if (!address) {
    next_server(EINVAL);
    return;
  }
  timer_.start(settings_.timeout, [this] { next_server(ETIMEDOUT); });
  const auto kind = is_tcp_ ? AgentLink::Outgoing::kTcp : AgentLink::Outgoing::kUdp;
  link_ = std::make_unique<NameServerLink>(*this, kind, *address);
  link_->connect();
}

void DnsExchange::next_server(int error) {
  error_ = error;
  is_over_ = true;
  timer_.stop();
  // Not from inside the link or the timer that calls: both are made anew.
  hub_.loop().defer([this, alive = alive_] {
    if (!*alive) {
      return;
    }
    link_.reset();
    is_tcp_ = settings_.use_tcp || query_.size() > kMaxOverUdp;
    if (++server_ == settings_.servers.size()) {
      server_ = 0;
      ++attempt_;
    }
    // A server that could not answer is not asked again: that is known already.
    if (attempt_ == settings_.attempts || (attempt_ > 0 && !fallback_.empty())) {
      finish(fallback_.empty() ? Outcome(std::unexpected(error_)) : Outcome(std::move(fallback_)));
    } else {
      ask();
    }
  });
}

void DnsExchange::link_opened() {
  if (is_tcp_) {
    std::string framed;
    framed += static_cast<char>(query_.size() >> 8);
    framed += static_cast<char>(query_.size());
    link_->send(framed + query_);
  } else {
    link_->send(query_);
  }
}

void DnsExchange::link_failed(int error) {
  if (!is_over_) {
    next_server(error);
  }
}

void DnsExchange::data_came(std::string_view bytes) {
  if (is_over_) {
    return;
  }
  if (!is_tcp_) {
    judge(bytes);
    return;
  }
  stream_ += bytes;
  const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(stream_[at]); };
  while (stream_.size() >= 2) {
    const std::size_t size = static_cast<std::size_t>(byte(0) << 8 | byte(1));
    if (stream_.size() < size + 2) {
      return;
    }
    const std::string packet = stream_.substr(2, size);
    stream_.erase(0, size + 2);
    if (is_dns_answer(packet, query_)) {
      judge(packet);
      return;
    }
  }
}

void DnsExchange::judge(std::string_view packet) {
  if (!is_dns_answer(packet, query_)) {
    return;  // late or forged: the right one may still come
  }
  if (!is_tcp_ && is_dns_truncated(packet)) {
    is_over_ = true;
    timer_.stop();
    hub_.loop().defer([this, alive = alive_] {
      if (*alive) {
        link_.reset();
        is_tcp_ = true;
        ask();
      }
    });
    return;
  }
  const DnsCode code = dns_code(packet);
  if (code == DnsCode::kServerFailure || code == DnsCode::kNotImplemented ||
      code == DnsCode::kRefused) {
    fallback_ = packet;
    next_server(ECONNREFUSED);
    return;
  }
  finish(std::string(packet));
}

void DnsExchange::finish(Outcome outcome) {
  is_over_ = true;
  timer_.stop();
  hub_.loop().defer([this, alive = alive_, outcome = std::move(outcome)]() mutable {
    if (*alive && done_) {
      link_.reset();
      Done done = std::exchange(done_, nullptr);
      done(std::move(outcome));
    }
  });
}

}  // namespace mirrord::intproxy
