// applets/agent/session.cpp — decodes a client's messages, hands them to its parts, sends answers.
#include "applets/agent/session.h"

#include <sys/socket.h>

#include <utility>

#include "applets/agent/environment.h"
#include "proto/codec.h"
#include "proto/version.h"

namespace mirrord::agent {
namespace {

using proto::ClientMessage;
using proto::DaemonMessage;

// How long a client that is told to go may take to read that.
constexpr std::chrono::seconds kFarewell{2};
// How long the requests that a client has left behind may take.
constexpr std::chrono::seconds kLastRequests{10};

// Whether the message has a payload worth sending from where it lies.
bool has_bulk(const DaemonMessage& message) {
  const auto is_bulk = [](const proto::Bytes& bytes) {
    return bytes.size() >= proto::kMinDetached;
  };
  if (const auto* file = message.get_if<"File">()) {
    if (const auto* read = file->get_if<"Read">())
      return read->has_value() && is_bulk((*read)->bytes);
    if (const auto* limited = file->get_if<"ReadLimited">())
      return limited->has_value() && is_bulk((*limited)->bytes);
    return false;
  }
  for (const auto* incoming : {message.get_if<"TcpSteal">(), message.get_if<"Tcp">()}) {
    if (incoming != nullptr)
      return incoming->is<"Data">() && is_bulk(incoming->get<"Data">().bytes);
  }
  const auto is_bulk_read = [&](const auto* outgoing) {
    const auto* read = outgoing == nullptr ? nullptr : outgoing->template get_if<"Read">();
    return read != nullptr && read->has_value() && is_bulk((*read)->bytes);
  };
  return is_bulk_read(message.get_if<"TcpOutgoing">()) ||
         is_bulk_read(message.get_if<"UdpOutgoing">()) ||
         is_bulk_read(message.get_if<"SeqpacketOutgoing">());
}

net::Chunk chunk_of(proto::Bytes&& bytes) {
  const std::size_t size = bytes.size();
  return net::Chunk::take(bytes.release(), 0, size);
}

}  // namespace

Session::Session(net::Loop& loop, const Target& target, log::Log& log, Fd socket,
                 std::string peer_name, Handlers handlers, Incoming* incoming)
    : loop_(loop),
      target_(target),
      log_(log),
      peer_name_(std::move(peer_name)),
      handlers_(std::move(handlers)),
      client_version_(*proto::SemVer::parse(proto::kVersionWithoutHandshake)),
      stream_(loop, std::move(socket), peer_name_),
      files_(*this),
      dns_(*this),
      outgoing_(*this),
      incoming_(*this, incoming) {
  stream_.start({
      .buffer =
          [this] {
            if (is_closing_)
              return net::Stream::Space(std::span(discarded_));
            const auto parts = decoder_.writable_parts();
            return net::Stream::Space(parts.first, parts.second);
          },
      .received = [this](std::size_t count) { receive(count); },
      .ended = [this] { input_ended(); },
      .failed = [this](const Error&) { stream_failed(); },
      .drained = [this] { drained(); },
  });
}

Session::~Session() {
  *alive_ = false;
}

void Session::end() {
  if (!has_ended_) {
    has_ended_ = true;
    stream_.pause_reading();
    handlers_.ended();  // last: the owner may have thrown everything else away by then
  }
}

void Session::close(std::string reason) {
  if (has_ended_ || is_closing_)
    return;
  incoming_.leave();
  send(DaemonMessage::make<"Close">(to_utf8_lossy(reason)));
  is_closing_ = true;
  flush();
  stream_.finish_writing();
  // Reading on to the end of the stream keeps the system from answering unread bytes with a reset,
  // which would take the reason away from the client.
  stream_.resume_reading();
  farewell_ = std::make_unique<net::Timer>(loop_);
  farewell_->start(kFarewell, [this] { end(); });
}

// ---- from the client

// The client has said all it had to say. Its last writes must not be lost because it did not wait
// for them, and a client that has only shut down its sending side gets its answers.
void Session::input_ended() {
  if (is_closing_)
    return end();
  if (is_finishing_)
    return;
  is_finishing_ = true;
  incoming_.leave();
  stream_.pause_reading();
  farewell_ = std::make_unique<net::Timer>(loop_);
  farewell_->start(kLastRequests, [this] { end(); });
  files_.when_idle([this] {
    flush();
    stream_.flush();
    end();
  });
}

void Session::stream_failed() {
  if (is_finishing_) {
    files_.on_drained();  // nobody takes the answers any more: they hold up nothing
    return;
  }
  // What the client sent before it went may still lie in the socket.
  while (holds_ == 0 && !is_closing_ && !is_finishing_) {
    const std::span<std::byte> space = decoder_.writable();
    const ssize_t count = ::recv(stream_.fd(), space.data(), space.size(), MSG_DONTWAIT);
    if (count <= 0)
      break;
    decoder_.commit(static_cast<std::size_t>(count));
    decode();
  }
  input_ended();
}

void Session::receive(std::size_t count) {
  if (is_closing_)
    return;
  decoder_.commit(count);
  is_receiving_ = true;
  decode();
  is_receiving_ = false;
  // At once rather than at the end of the iteration: the client waits for it.
  if (pending_.empty() || has_ended_)
    return;
  constexpr std::size_t kKept = 64 * 1024;
  proto::Bytes leaving = std::exchange(pending_, {});
  stream_.write_now(leaving.span());
  if (pending_.capacity() == 0 && leaving.capacity() <= kKept) {
    pending_ = std::move(leaving);
    pending_.clear();
  }
}

void Session::decode() {
  while (holds_ == 0 && !has_ended_ && !is_closing_ && !is_finishing_) {
    auto message = decoder_.next();
    if (!message) {
      close("the client sent what is no message of the protocol: " + message.error().what);
      return;
    }
    if (!*message)
      return;
    handle(std::move(**message));
  }
}

void Session::trace(const ClientMessage& message) {
  log::Component component = log::Component::kSession;
  std::string_view part;
  const auto belongs_to = [&](log::Component owner, const auto* request) {
    if (request != nullptr) {
      component = owner;
      part = request->name();
    }
  };
  belongs_to(log::Component::kFiles, message.get_if<"FileRequest">());
  belongs_to(log::Component::kOutgoing, message.get_if<"TcpOutgoing">());
  belongs_to(log::Component::kOutgoing, message.get_if<"UdpOutgoing">());
  belongs_to(log::Component::kOutgoing, message.get_if<"SeqpacketOutgoing">());
  belongs_to(log::Component::kIncoming, message.get_if<"Tcp">());
  belongs_to(log::Component::kIncoming, message.get_if<"TcpSteal">());
  log_.trace(component, [&] {
    return peer_name_ + ": " + std::string(message.name()) + (part.empty() ? "" : " ") +
           std::string(part);
  });
}

void Session::handle(ClientMessage&& message) {
  if (log_.traces())
    trace(message);
  switch (message.index()) {
    case ClientMessage::index_of<"Ping">:
      return send(DaemonMessage::make<"Pong">());
    case ClientMessage::index_of<"FileRequest">:
      return files_.handle(std::move(message.get<"FileRequest">()));
    case ClientMessage::index_of<"GetEnvVarsRequest">:
      return send_environment(message.get<"GetEnvVarsRequest">());
    case ClientMessage::index_of<"SwitchProtocolVersion">:
      return switch_version(message.get<"SwitchProtocolVersion">());
    case ClientMessage::index_of<"ReadyForLogs">:
      is_ready_for_logs_ = true;
      return;
    case ClientMessage::index_of<"Close">:
      has_said_goodbye_ = true;
      return input_ended();
    case ClientMessage::index_of<"GetAddrInfoRequest">:
      return dns_.handle(std::move(message.get<"GetAddrInfoRequest">()));
    case ClientMessage::index_of<"GetAddrInfoRequestV2">:
      return dns_.handle(std::move(message.get<"GetAddrInfoRequestV2">()));
    case ClientMessage::index_of<"ReverseDnsLookup">:
      return dns_.handle(std::move(message.get<"ReverseDnsLookup">()));
    case ClientMessage::index_of<"TcpOutgoing">:
      return outgoing_.handle(std::move(message.get<"TcpOutgoing">()));
    case ClientMessage::index_of<"UdpOutgoing">:
      return outgoing_.handle(std::move(message.get<"UdpOutgoing">()));
    case ClientMessage::index_of<"SeqpacketOutgoing">:
      return outgoing_.handle(std::move(message.get<"SeqpacketOutgoing">()));
    case ClientMessage::index_of<"PauseTargetRequest">:
      return send(DaemonMessage::make<"Close">("Pause isn't supported anymore."));
    case ClientMessage::index_of<"Vpn">:
      return send(DaemonMessage::make<"Close">("VPN is not supported"));
    case ClientMessage::index_of<"Tcp">:
      return incoming_.handle(std::move(message.get<"Tcp">()));
    case ClientMessage::index_of<"TcpSteal">:
      return incoming_.handle(std::move(message.get<"TcpSteal">()));
    case ClientMessage::index_of<"OperatorPong">:
    case ClientMessage::index_of<"ShareLink">:
      return;
  }
}

void Session::switch_version(const proto::SemVer& version) {
  client_version_ = version;
  log_.debug(log::Component::kSession,
             [&] { return peer_name_ + " speaks protocol " + version.to_string(); });
  if (proto::speaks_flight(version))
    files_.number_all_opens();
  send(DaemonMessage::make<"SwitchProtocolVersionResponse">(
      proto::settle(proto::own_version(), version)));
  if (handlers_.known)
    handlers_.known();
}

void Session::send_environment(const proto::GetEnvVarsRequest& request) {
  proto::RemoteEnvVars variables;
  for (const auto& [name, value] : target_.environment) {
    if (is_selected(name, request.env_vars_filter, request.env_vars_select))
      variables.emplace_back(name, value);
  }
  send(DaemonMessage::make<"GetEnvVarsResponse">(std::move(variables)));
}

void Session::hold_input() {
  if (holds_++ == 0)
    stream_.pause_reading();
}

void Session::release_input() {
  if (--holds_ > 0 || has_ended_ || is_closing_ || is_finishing_)
    return;
  // What the decoder already has must not wait for more bytes from the client.
  loop_.defer([this, alive = alive_] {
    if (!*alive || holds_ > 0 || has_ended_ || is_closing_ || is_finishing_)
      return;
    decode();
    if (*alive && holds_ == 0 && !has_ended_ && !is_closing_ && !is_finishing_)
      stream_.resume_reading();
  });
}

// ---- to the client

void Session::send(DaemonMessage&& message) {
  if (has_ended_ || is_closing_)
    return;
  constexpr std::size_t kFirstBlock = 1024;
  if (pending_.capacity() == 0)
    pending_.reserve(kFirstBlock);
  if (!has_bulk(message)) {
    if (!proto::encode(message, pending_))
      return close("an answer of the agent cannot be sent: it holds text that is not UTF-8");
    return schedule_flush();
  }
  auto parts = proto::encode_parts(std::move(message));
  if (!parts)
    return close("an answer of the agent cannot be sent: it holds text that is not UTF-8");
  pending_.append(parts->head());
  flush();
  stream_.write(chunk_of(std::move(parts->payload)));
  pending_.append(parts->tail());
  schedule_flush();
}

void Session::send_piped(DaemonMessage&& message, const proto::Bytes& place,
                         net::LeasedPipe payload) {
  if (has_ended_ || is_closing_)
    return;
  const auto parts = proto::encode_around(message, place, (*payload)->size());
  if (!parts)
    return close("an answer of the agent cannot be sent");
  pending_.append(parts->head());
  flush();
  stream_.write(net::Chunk::of_pipe(std::move(payload)));
  pending_.append(parts->tail());
  schedule_flush();
}

void Session::schedule_flush() {
  if (flush_scheduled_ || is_receiving_)
    return;
  flush_scheduled_ = true;
  loop_.defer([this, alive = alive_] {
    if (*alive) {
      flush_scheduled_ = false;
      flush();
    }
  });
}

void Session::flush() {
  if (!pending_.empty())
    stream_.write(chunk_of(std::move(pending_)));
}

bool Session::speaks_flight() const {
  return proto::speaks_flight(client_version_);
}

// Exactly the stream's own condition: only then does it report that it has drained.
bool Session::is_congested() const {
  return stream_.is_above_high_mark();
}

void Session::drained() {
  if (is_closing_ || has_ended_)
    return;
  files_.on_drained();
  outgoing_.on_drained();
  incoming_.on_drained();
}

void Session::tell(std::string text, proto::LogLevel level) {
  if (is_ready_for_logs_)
    send(DaemonMessage::make<"LogMessage">(std::move(text), std::move(level)));
}

void Session::log_warning(std::string text) {
  log_.warn(log::Component::kAgent, text);
  tell(std::move(text), proto::LogLevel::make<"Warn">());
}

void Session::log_error(std::string text) {
  log_.error(log::Component::kAgent, text);
  tell(std::move(text), proto::LogLevel::make<"Error">());
}

void Session::log_info(std::string text) {
  log_.info(log::Component::kAgent, text);
  if (proto::satisfies(client_version_, proto::Gate::kInfoLog))
    tell(std::move(text), proto::LogLevel::make<"Info">());
}

}  // namespace mirrord::agent
