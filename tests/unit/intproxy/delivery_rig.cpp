// tests/unit/intproxy/delivery_rig.cpp — the thread, the sockets, and messages as agents make them.
#include "tests/unit/intproxy/delivery_rig.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <future>
#include <utility>

#include "proto/codec.h"

namespace mirrord::intproxy::test {
namespace {

using proto::DaemonTcp;
using Frames = std::vector<proto::InternalHttpBodyFrame>;

constexpr int kLimitMs = 5000;
constexpr int kMomentMs = 100;

bool is_readable(int fd, int limit_ms) {
  pollfd readable{fd, POLLIN, 0};
  return ::poll(&readable, 1, limit_ms) > 0;
}

Result<Fd> connect_to(std::uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  const socklen_t length =
      net::Endpoint{net::IpAddress::v4(127, 0, 0, 1), port}.to_sockaddr(storage);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0) {
    return fail_system("connect to the program", errno);
  }
  return socket;
}

proto::Ip to_wire(const net::IpAddress& ip) {
  proto::Ip result;
  result.is_v6 = ip.is_v6;
  result.octets = ip.bytes;
  return result;
}

template <class Body>
proto::InternalHttpRequest<Body> inner(const TestRequest& request, Body&& body) {
  proto::InternalHttpRequest<Body> result{};
  result.method.text = request.method;
  result.uri.text = request.uri;
  result.version = request.version;
  for (const auto& [name, value] : request.headers) {
    result.headers.add(name, value);
  }
  result.body = std::forward<Body>(body);
  return result;
}

template <class Body>
proto::HttpRequest<Body> whole(const TestRequest& request, Body&& body) {
  return {inner(request, std::forward<Body>(body)), request.connection, 0, DeliveryRig::kPort};
}

Frames frames_of(std::string_view bytes) {
  Frames frames;
  if (!bytes.empty()) {
    frames.push_back(proto::InternalHttpBodyFrame::make<"Data">(proto::Bytes(bytes)));
  }
  return frames;
}

void take(TestAnswer& answer, Frames& frames) {
  for (auto& frame : frames) {
    if (auto* bytes = frame.get_if<"Data">()) {
      answer.body += net::http::as_text(bytes->span());
    } else {
      answer.trailers = frame.get<"Trailers">();
    }
  }
}

template <class Body>
void take_head(TestAnswer& answer, proto::HttpResponse<Body>& response) {
  answer.status = response.internal_response.status.code;
  answer.headers = std::move(response.internal_response.headers);
  answer.connection = response.connection_id;
}

}  // namespace

// ---- servers

bool ServerEnd::fill() {
  if (!is_readable(socket_.get(), kLimitMs)) {
    return false;
  }
  std::array<char, 65536> bytes;
  const ssize_t count = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
  buffer_.append(bytes.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  return count > 0;
}

std::string ServerEnd::read_until(std::string_view mark) {
  std::size_t place = 0;
  while ((place = buffer_.find(mark)) == std::string::npos) {
    if (!fill()) {
      return std::exchange(buffer_, {});
    }
  }
  std::string result = buffer_.substr(0, place + mark.size());
  buffer_.erase(0, result.size());
  return result;
}

std::string ServerEnd::read_exactly(std::size_t size) {
  while (buffer_.size() < size && fill()) {
  }
  std::string result = buffer_.substr(0, size);
  buffer_.erase(0, result.size());
  return result;
}

std::string ServerEnd::read_to_end() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

bool ServerEnd::has_ended() {
  if (!buffer_.empty() || !is_readable(socket_.get(), kLimitMs)) {
    return false;
  }
  char byte = 0;
  return ::recv(socket_.get(), &byte, 1, 0) <= 0;
}

bool ServerEnd::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void ServerEnd::finish_writing() {
  ::shutdown(socket_.get(), SHUT_WR);
}

void ServerEnd::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  socket_.reset();
}

TestServer::TestServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::listen(listener_.get(), 64);
  socklen_t size = sizeof address;
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
}

ServerEnd TestServer::accept() {
  if (!is_readable(listener_.get(), kLimitMs)) {
    return ServerEnd(Fd());
  }
  return ServerEnd(Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
}

std::uint64_t TestServer::inode() const {
  struct stat status {};
  ::fstat(listener_.get(), &status);
  return status.st_ino;
}

bool TestServer::nobody_comes() {
  return !is_readable(listener_.get(), kMomentMs);
}

// ---- the delivery

class DeliveryRig::Listeners final : public HttpListeners {
 public:
  explicit Listeners(DeliveryRig& rig) : rig_(rig) {}
  std::vector<Listener> listeners(std::uint16_t port, const net::IpAddress&,
                                  const net::IpAddress&) override {
    const std::uint16_t here = rig_.server_port_;
    if (port != kPort || here == 0) {
      return {};
    }
    const net::Endpoint address{net::IpAddress::v4(127, 0, 0, 1), here};
    return {{here, address, address}};
  }
  Result<Fd> connect(const Listener& listener, const net::Endpoint& remote,
                     const net::IpAddress&) override {
    peers.push_back(remote);
    return connect_to(listener.address.port);
  }
  void closing(int) override { ++rig_.closed_; }

  std::vector<net::Endpoint> peers;

 private:
  DeliveryRig& rig_;
};

DeliveryRig::DeliveryRig(const std::string& version, bool speaks_flight) {
  std::array<int, 2> ends{};
  [[maybe_unused]] const int made =
      ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
  agent_.reset(ends[0]);
  thread_ = std::thread([this, socket = Fd(ends[1])]() mutable { run(std::move(socket)); });
  auto hello = hear_any(kLimitMs);
  proto::SemVer settled =
      proto::settle(*proto::SemVer::parse(version), hello->get<"SwitchProtocolVersion">());
  if (!speaks_flight) {
    settled.build.clear();
  }
  auto response = proto::DaemonMessage::make<"SwitchProtocolVersionResponse">();
  response.get<"SwitchProtocolVersionResponse">() = settled;
  proto::Bytes bytes;
  [[maybe_unused]] const auto encoded = proto::encode(response, bytes);
  ::send(agent_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  while (loop_ == nullptr) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

DeliveryRig::~DeliveryRig() {
  (*loop_).post([this] { (*loop_).stop(); });
  thread_.join();
}

void DeliveryRig::run(Fd socket) {
  net::Loop loop;
  AgentLink link(loop, std::move(socket), "the agent", {});
  Listeners listeners(*this);
  HttpDelivery delivery(
      loop, link, listeners,
      {.warn = [](const std::string&) {}, .queued_more = [](std::size_t) {}, .copy_lost = [] {}});
  delivery_ = &delivery;
  peers_ = &listeners.peers;
  link.set_handler<"TcpSteal">(
      [&](DaemonTcp&& message) { delivery.take(AgentLink::Outgoing::kStolen, message); });
  link.set_handler<"Tcp">(
      [&](DaemonTcp&& message) { delivery.take(AgentLink::Outgoing::kMirrored, message); });
  AgentLink::Handlers handlers;
  handlers.ready = [&] { loop_ = &loop; };
  handlers.lost = [&](const Error&) { delivery.drop_all(); };
  link.start(std::move(handlers));
  net::Timer keeper(loop);  // the loop outlives the agent's connection
  keeper.start(std::chrono::hours(1), [] {});
  loop.run();
}

template <class Question>
auto DeliveryRig::ask(Question question) {
  std::promise<decltype(question())> answer;
  auto future = answer.get_future();
  (*loop_).post([&] { answer.set_value(question()); });
  return future.get();
}

std::size_t DeliveryRig::queued_bytes() {
  return ask([this] { return delivery_->queued_bytes(); });
}

std::vector<net::Endpoint> DeliveryRig::peers() {
  return ask([this] { return *peers_; });
}

void DeliveryRig::say(DaemonTcp&& message, bool is_mirrored) {
  const auto outer = is_mirrored ? proto::DaemonMessage::make<"Tcp">(std::move(message))
                                 : proto::DaemonMessage::make<"TcpSteal">(std::move(message));
  proto::Bytes bytes;
  [[maybe_unused]] const auto encoded = proto::encode(outer, bytes);
  std::span<const std::byte> rest = bytes.span();
  while (!rest.empty()) {
    const ssize_t count = ::send(agent_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (count <= 0) {
      return;
    }
    rest = rest.subspan(static_cast<std::size_t>(count));
  }
}

std::optional<proto::ClientMessage> DeliveryRig::hear_any(int limit_ms) {
  while (true) {
    auto message = decoder_.next();
    if (!message) {
      return std::nullopt;
    }
    if (*message) {
      return std::move(**message);
    }
    if (!is_readable(agent_.get(), limit_ms)) {
      return std::nullopt;
    }
    const std::span<std::byte> space = decoder_.writable();
    const ssize_t count = ::recv(agent_.get(), space.data(), space.size(), 0);
    if (count <= 0) {
      return std::nullopt;
    }
    decoder_.commit(static_cast<std::size_t>(count));
  }
}

std::optional<proto::LayerTcpSteal> DeliveryRig::hear() {
  while (auto message = hear_any(kLimitMs)) {
    if (auto* steal = message->get_if<"TcpSteal">()) {
      return std::move(*steal);
    }
  }
  return std::nullopt;
}

bool DeliveryRig::hears_nothing() {
  while (const auto message = hear_any(kMomentMs)) {
    if (message->is<"TcpSteal">() || message->is<"Tcp">()) {
      return false;
    }
  }
  return true;
}

// ---- messages

DaemonTcp start_v2(const TestRequest& request) {
  proto::ChunkedRequestStartV2 start{};
  start.connection_id = request.connection;
  start.request =
      inner(request, proto::InternalHttpBodyNew{frames_of(request.body), request.is_last});
  start.metadata = proto::HttpRequestMetadata::make<"V1">(
      proto::SockAddr{to_wire(request.remote.ip), request.remote.port},
      proto::SockAddr{to_wire(net::IpAddress::v4(10, 9, 9, 9)), DeliveryRig::kPort});
  start.transport = proto::IncomingTrafficTransportType::make<"Tcp">();
  return DaemonTcp::make<"HttpRequestChunked">(
      proto::ChunkedRequest::make<"StartV2">(std::move(start)));
}

DaemonTcp start_v1(const TestRequest& request) {
  return DaemonTcp::make<"HttpRequestChunked">(
      proto::ChunkedRequest::make<"StartV1">(whole(request, frames_of(request.body))));
}

DaemonTcp framed(const TestRequest& request) {
  return DaemonTcp::make<"HttpRequestFramed">(whole(request, frames_of(request.body)));
}

DaemonTcp flat(const TestRequest& request) {
  return DaemonTcp::make<"HttpRequest">(
      whole(request, proto::Payload(std::string_view(request.body))));
}

DaemonTcp more(proto::ConnectionId connection, std::string_view bytes, bool is_last) {
  return DaemonTcp::make<"HttpRequestChunked">(proto::ChunkedRequest::make<"Body">(
      frames_of(bytes), is_last, connection, proto::RequestId{0}));
}

DaemonTcp data(proto::ConnectionId connection, std::string_view bytes) {
  return DaemonTcp::make<"Data">(connection, proto::Bytes(bytes));
}

DaemonTcp close(proto::ConnectionId connection) {
  return DaemonTcp::make<"Close">(connection);
}

TestAnswer hear_answer(DeliveryRig& rig) {
  TestAnswer answer;
  const auto note = [&](std::string_view name) {
    if (!answer.form.ends_with(name)) {
      answer.form.append(answer.form.empty() ? "" : " ").append(name);
    }
  };
  while (auto message = rig.hear()) {
    if (auto* flat = message->get_if<"HttpResponse">()) {
      note("flat");
      take_head(answer, *flat);
      answer.body = net::http::as_text(flat->internal_response.body.span());
      answer.is_there = true;
      return answer;
    }
    if (auto* whole = message->get_if<"HttpResponseFramed">()) {
      note("framed");
      take_head(answer, *whole);
      take(answer, whole->internal_response.body);
      answer.is_there = true;
      return answer;
    }
    auto* chunked = message->get_if<"HttpResponseChunked">();
    if (chunked == nullptr) {
      continue;
    }
    if (auto* start = chunked->get_if<"Start">()) {
      note("start");
      take_head(answer, *start);
      take(answer, start->internal_response.body);
    } else if (auto* body = chunked->get_if<"Body">()) {
      note("body");
      take(answer, body->frames);
      if (body->is_last) {
        answer.is_there = true;
        return answer;
      }
    } else {
      note("error");
      answer.is_broken_off = true;
      return answer;
    }
  }
  return answer;
}

}  // namespace mirrord::intproxy::test
