// applets/intproxy/http_delivery.cpp — the agent's messages to their exchanges; connections made, kept, ended.
#include "applets/intproxy/http_delivery.h"

#include <algorithm>
#include <utility>

#include "applets/http_wire.h"
#include "applets/intproxy/incoming_table.h"

namespace mirrord::intproxy {
namespace {

using net::http::Protocol;
using proto::ChunkedRequest;
using proto::DaemonTcp;
using Kind = AgentLink::Outgoing;

constexpr std::chrono::milliseconds kTickPeriod{500};
constexpr std::size_t kInputSize = 256 * 1024;

net::IpAddress from_wire(const proto::Ip& ip) {
  return {ip.is_v6, ip.octets};
}

// What an agent says of a request without telling who sent it: one of this machine.
template <class Body>
HttpExchange::Request describe(Kind kind, const proto::HttpRequest<Body>& request) {
  const auto& inner = request.internal_request;
  const net::IpAddress unknown = net::IpAddress::v4(127, 0, 0, 1);
  return {{kind, request.connection_id, request.request_id},
          request.port,
          {unknown, 0},
          unknown,
          inner.version,
          proto::IncomingTrafficTransportType::make<"Tcp">(),
          request_head(inner.method, inner.uri, inner.version, inner.headers)};
}

std::string_view host_of(const net::http::RequestHead& head) {
  return head.authority.empty() ? head.headers.find("host").value_or("") : head.authority;
}

}  // namespace

HttpDelivery::HttpDelivery(net::Loop& loop, AgentLink& link, HttpListeners& listeners,
                           Handlers handlers, TlsTrust trust)
    : loop_(loop),
      link_(link),
      listeners_(listeners),
      handlers_(std::move(handlers)),
      tls_(loop, std::move(trust),
           {.warn = [this](const std::string& line) { handlers_.warn(line); },
            .closing = [this](int socket) { listeners_.closing(socket); }}),
      timer_(loop) {}

HttpDelivery::~HttpDelivery() {
  *alive_ = false;
  drop_all();
  ended_exchanges_.clear();
  ended_connections_.clear();
  connections_.clear();
}

// ---- the agent's messages

bool HttpDelivery::take(Kind kind, DaemonTcp& message) {
  switch (message.index()) {
    case DaemonTcp::index_of<"HttpRequest">:
    case DaemonTcp::index_of<"HttpRequestFramed">:
    case DaemonTcp::index_of<"HttpRequestChunked">:
      return take_request(kind, message);
    case DaemonTcp::index_of<"Data">: {
      const auto& data = message.get<"Data">();
      return for_all_of(kind, data.connection_id,
                        [&](HttpExchange& exchange) { exchange.data_came(data.bytes); });
    }
    case DaemonTcp::index_of<"Close">: {
      const proto::ConnectionId id = message.get<"Close">().connection_id;
      return for_all_of(kind, proto::without_hint(id),
                        [&](HttpExchange& exchange) { exchange.take_close(proto::hint_of(id)); });
    }
    default:
      return false;
  }
}

// Old agents count the requests of one connection; newer ones give each a connection of its own.
template <class Action>
bool HttpDelivery::for_all_of(Kind kind, proto::ConnectionId connection, Action action) {
  bool is_known = false;
  auto place = exchanges_.lower_bound({kind, connection, 0});
  while (place != exchanges_.end() && place->first.kind == kind &&
         place->first.connection == connection) {
    const HttpExchange::Id id = place->first;
    is_known = true;
    action(*place->second);
    place = exchanges_.upper_bound(id);  // the action may have erased any of them
  }
  return is_known;
}

bool HttpDelivery::take_request(Kind kind, DaemonTcp& message) {
  if (auto* whole = message.get_if<"HttpRequest">()) {
    HttpExchange::Frames frames = body_frames(std::move(whole->internal_request.body), {});
    begin(describe(kind, *whole), std::move(frames), true);
    return true;
  }
  if (auto* framed = message.get_if<"HttpRequestFramed">()) {
    begin(describe(kind, *framed), std::move(framed->internal_request.body), true);
    return true;
  }
  return take_chunked(kind, message.get<"HttpRequestChunked">());
}

bool HttpDelivery::take_chunked(Kind kind, ChunkedRequest& message) {
  const auto find = [&](proto::ConnectionId connection, proto::RequestId request) {
    const auto found = exchanges_.find({kind, connection, request});
    return found == exchanges_.end() ? nullptr : found->second.get();
  };
  switch (message.index()) {
    case ChunkedRequest::index_of<"StartV1">: {
      auto& start = message.get<"StartV1">();
      begin(describe(kind, start), std::move(start.internal_request.body), false);
      break;
    }
    case ChunkedRequest::index_of<"StartV2">: {
      auto& start = message.get<"StartV2">();
      const auto& metadata = start.metadata.get<"V1">();
      auto& inner = start.request;
      begin({{kind, start.connection_id, start.request_id},
             metadata.destination.port,
             {from_wire(metadata.source.ip), metadata.source.port},
             from_wire(metadata.destination.ip),
             inner.version,
             std::move(start.transport),
             request_head(inner.method, inner.uri, inner.version, inner.headers)},
            std::move(inner.body.frames), inner.body.is_last);
      break;
    }
    case ChunkedRequest::index_of<"Body">: {
      auto& body = message.get<"Body">();
      if (HttpExchange* exchange = find(body.connection_id, body.request_id)) {
        exchange->more(std::move(body.frames), body.is_last);
      }
      break;
    }
    case ChunkedRequest::index_of<"ErrorV1">: {
      const auto& error = message.get<"ErrorV1">();
      if (HttpExchange* exchange = find(error.connection_id, error.request_id)) {
        exchange->drop();
      }
      break;
    }
    case ChunkedRequest::index_of<"ErrorV2">: {
      const auto& error = message.get<"ErrorV2">();
      if (HttpExchange* exchange = find(error.connection_id, error.request_id)) {
        exchange->drop();
      }
      break;
    }
  }
  return true;
}

void HttpDelivery::begin(HttpExchange::Request&& request, HttpExchange::Frames&& frames,
                         bool is_last) {
  const HttpExchange::Id id = request.id;
  if (const auto earlier = exchanges_.find(id); earlier != exchanges_.end()) {
    handlers_.warn("the agent begins a request anew that has not ended");
    earlier->second->drop();
  }
  auto exchange = std::make_unique<HttpExchange>(*this, std::move(request));
  HttpExchange& begun = *exchange;
  exchanges_.emplace(id, std::move(exchange));
  watch();
  begun.start(std::move(frames), is_last);
}

std::size_t HttpDelivery::drop_all() {
  std::size_t stolen = 0;
  while (!exchanges_.empty()) {
    HttpExchange& first = *exchanges_.begin()->second;
    stolen += first.request().id.kind == Kind::kStolen ? 1 : 0;
    first.drop();
  }
  std::vector<std::shared_ptr<net::http::ClientStream>> left;
  for (const auto& [program, connection] : connections_) {
    left.push_back(connection.program);
  }
  for (const auto& program : left) {
    program->give_up("the agent is gone");
  }
  return stolen;
}

void HttpDelivery::erase(HttpExchange& exchange) {
  if (auto node = exchanges_.extract(exchange.request().id); !node.empty()) {
    ended_exchanges_.push_back(std::move(node.mapped()));
    bury();
  }
}

void HttpDelivery::bury() {
  if (std::exchange(is_burying_, true)) {
    return;
  }
  loop_.defer([this, alive = alive_] {
    if (*alive) {
      is_burying_ = false;
      ended_exchanges_.clear();
      ended_connections_.clear();
    }
  });
}

// ---- connections

std::span<std::byte> HttpDelivery::input_space() {
  input_.resize(kInputSize);
  return input_;
}

Result<std::shared_ptr<net::http::ClientStream>> HttpDelivery::program_for(
    const HttpExchange& exchange, bool needs_fresh) {
  const HttpExchange::Request& request = exchange.request();
  const Protocol protocol =
      request.head->version == net::http::Version::kHttp2 ? Protocol::kHttp2 : Protocol::kHttp1;
  const TlsDelivery::Way way = tls_.way(request.transport, host_of(*request.head));
  Error last{ErrorCode::kNotFound,
             "no program of this session listens for port " + std::to_string(request.port),
             {},
             0};
  for (const auto& listener :
       listeners_.listeners(request.port, request.local, request.remote.ip)) {
    const Key key{listener.id, protocol, request.remote.ip, way};
    if (!needs_fresh) {
      if (auto program = take_available(key, request.remote.port)) {
        return program;
      }
    }
    auto socket = listeners_.connect(listener, request.remote, request.local);
    if (socket) {
      socket = tls_.wrap(std::move(*socket), way);
    }
    if (!socket) {
      last = std::move(socket.error());
      continue;
    }
    const bool is_connected = !is_connecting(socket->get());
    auto program = std::make_shared<net::http::ClientStream>(loop_, *this, std::move(*socket),
                                                             protocol, request.remote);
    program->since_ms = loop_.now_ms();
    program->is_connected = is_connected;
    Connection& added =
        connections_.emplace(program.get(), Connection{program, key, false}).first->second;
    program->start();
    if (protocol == Protocol::kHttp2) {
      make_available(added);  // for others at the same time
    }
    return program;
  }
  return std::unexpected(std::move(last));
}

// The one that shows the very port of the client is best; else the one used last, which lives longest.
std::shared_ptr<net::http::ClientStream> HttpDelivery::take_available(const Key& key,
                                                                      std::uint16_t remote_port) {
  while (true) {
    const auto found = available_.find(key);
    if (found == available_.end()) {
      return nullptr;
    }
    auto& programs = found->second;
    auto place = std::ranges::find(
        programs, remote_port, [](const net::http::ClientStream* one) { return one->peer().port; });
    net::http::ClientStream* program = place != programs.end() ? *place : programs.back();
    Connection& connection = connections_.at(program);
    const std::shared_ptr<net::http::ClientStream> chosen = connection.program;
    if (!chosen->can_request()) {
      make_unavailable(connection);  // is_ready() says when it can again
    } else if (chosen->is_idle() && !chosen->is_still_open()) {
      make_unavailable(connection);
      chosen->give_up("the program closed the connection");
    } else {
      if (key.protocol == Protocol::kHttp1) {
        make_unavailable(connection);
      }
      return chosen;
    }
  }
}

void HttpDelivery::make_available(Connection& connection) {
  if (!std::exchange(connection.is_available, true)) {
    available_[connection.key].push_back(connection.program.get());
  }
}

void HttpDelivery::make_unavailable(Connection& connection) {
  if (!std::exchange(connection.is_available, false)) {
    return;
  }
  const auto found = available_.find(connection.key);
  std::erase(found->second, connection.program.get());
  if (found->second.empty()) {
    available_.erase(found);
  }
}

void HttpDelivery::is_ready(net::http::ClientStream& program) {
  if (const auto found = connections_.find(&program); found != connections_.end()) {
    program.since_ms = loop_.now_ms();
    make_available(found->second);
  }
}

void HttpDelivery::is_over(net::http::ClientStream& program) {
  const auto found = connections_.find(&program);
  if (found == connections_.end()) {
    return;
  }
  make_unavailable(found->second);
  ended_connections_.push_back(std::move(found->second.program));
  connections_.erase(found);
  bury();
}

std::size_t HttpDelivery::queued_bytes() const {
  std::size_t total = 0;
  for (const auto& [id, exchange] : exchanges_) {
    total += exchange->queued_bytes();
  }
  for (const auto& [program, connection] : connections_) {
    total += program->queued_bytes();
  }
  return total;
}

// ---- time limits

void HttpDelivery::watch() {
  if (!std::exchange(is_ticking_, true)) {
    timer_.start_repeating(kTickPeriod, [this] { tick(); });
  }
}

void HttpDelivery::tick() {
  const std::uint64_t now = loop_.now_ms();
  std::vector<std::shared_ptr<net::http::ClientStream>> programs;
  for (const auto& [program, connection] : connections_) {
    programs.push_back(connection.program);
  }
  for (const auto& program : programs) {
    program->is_connected = program->is_connected || !is_connecting(program->socket());
    if (!program->is_connected) {
      if (now - program->since_ms > kConnectMs) {
        program->give_up("the program does not accept connections");
      }
    } else if (program->is_closed()) {
      if (now - program->since_ms > kLastBytesMs) {
        is_over(*program);
      }
    } else if (!program->is_idle()) {
      program->since_ms = now;
    } else if (now - program->since_ms > kIdleMs) {
      program->shut_down();
    }
  }
  std::vector<HttpExchange*> left;
  for (const auto& [id, exchange] : exchanges_) {
    if (exchange->detached_until_ms() != 0 && now > exchange->detached_until_ms()) {
      left.push_back(exchange.get());
    }
  }
  for (HttpExchange* exchange : left) {
    exchange->drop();
  }
  if (connections_.empty() && exchanges_.empty()) {
    is_ticking_ = false;
    timer_.stop();
  }
}

}  // namespace mirrord::intproxy
