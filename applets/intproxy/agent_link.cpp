// applets/intproxy/agent_link.cpp — handshake, keep-alive and the fair queue towards the agent.
#include "applets/intproxy/agent_link.h"

#include <cerrno>
#include <type_traits>
#include <utility>

#include "proto/codec.h"

namespace mirrord::intproxy {
namespace {

// What one sender may send before the next one gets its turn.
constexpr std::size_t kQuantum = 64 * 1024;
// Large reads are taken in pieces of about this size: two of them fit into a second-level cache.
constexpr std::size_t kPart = 64 * 1024;
constexpr std::size_t kLongestRead = 256 * 1024;
// A Close leaves with the next request: one packet and one wake-up of the agent less per file.
constexpr std::chrono::milliseconds kLinger{2};

net::Chunk chunk_of(proto::Bytes&& bytes) {
  const std::size_t size = bytes.size();
  return net::Chunk::take(bytes.release(), 0, size);
}

}  // namespace

// Encoded messages of one sender. Shared with the link: what is queued outlives its sender.
struct AgentLink::Sender::Queue {
  struct Message {
    net::Chunk parts[3];
    std::size_t size = 0;
  };
  std::deque<Message> messages;
  std::size_t bytes = 0;
  std::size_t credit = 0;
  bool is_active = false;
  bool was_full = false;
  std::move_only_function<void()> on_room;
};

AgentLink::Sender::Sender(AgentLink& link) : link_(link), queue_(std::make_shared<Queue>()) {}

AgentLink::Sender::~Sender() {
  queue_->on_room = nullptr;
}

void AgentLink::Sender::send(proto::ClientMessage&& message) {
  link_.enqueue(queue_, std::move(message));
}

std::size_t AgentLink::Sender::queued_bytes() const {
  return queue_->bytes;
}

void AgentLink::Sender::on_room(std::move_only_function<void()> callback) {
  queue_->on_room = std::move(callback);
}

AgentLink::AgentLink(net::Loop& loop, Fd socket, std::string peer_name, Options options)
    : loop_(loop),
      peer_name_(std::move(peer_name)),
      options_(options),
      control_(std::make_shared<Sender::Queue>()),
      timer_(loop),
      linger_(loop),
      stream_(std::make_unique<net::Stream>(loop, std::move(socket), peer_name_)) {
  decoder_.limit_payload_reads(kLongestRead);
  file_sender_ = std::make_unique<Sender>(*this);
  simple_sender_ = std::make_unique<Sender>(*this);
}

AgentLink::~AgentLink() {
  *alive_ = false;
}

void AgentLink::start(Handlers handlers) {
  handlers_ = std::move(handlers);
  net::Stream::Handlers stream_handlers;
  stream_handlers.buffer = [this] {
    const auto parts = decoder_.writable_parts();
    return net::Stream::Space(parts.first, parts.second);
  };
  stream_handlers.received = [this](std::size_t count) { on_bytes(count); };
  stream_handlers.ended = [this] {
    lose({ErrorCode::kDisconnected, "read from " + peer_name_ + ": the agent closed the connection",
          "", 0});
  };
  stream_handlers.failed = [this](Error error) { lose(std::move(error)); };
  stream_handlers.drained = [this] { schedule_pump(); };
  stream_->start(std::move(stream_handlers));
  timer_.start(options_.handshake_timeout, [this] {
    lose({ErrorCode::kTimeout, "shake hands with " + peer_name_ + ": no answer in time",
          "Check that the address is that of a mirrord agent.", 0});
  });
  send_control(proto::ClientMessage::make<"SwitchProtocolVersion">(proto::client_version()));
}

void AgentLink::close(std::string_view why) {
  lose({ErrorCode::kDisconnected, std::string(why), "", 0});
}

// ---- receiving

void AgentLink::on_bytes(std::size_t count) {
  decoder_.commit(count);
  heard_since_ping_ = true;
  const std::shared_ptr<bool> alive = alive_;
  while (!is_lost_) {
    auto message = decoder_.next();
    if (!message) {
      lose({ErrorCode::kPeer,
            "read from " + peer_name_ + ": " + message.error().what + " at byte " +
                std::to_string(message.error().offset),
            "The agent may be of another kind or a damaged connection is in between.", 0});
      return;
    }
    if (!*message) {
      hand_on_part();
      return;
    }
    on_message(std::move(**message));
    if (!*alive) {
      return;
    }
  }
}

// What has come of a large read goes on its way while it is in the processor's cache.
void AgentLink::hand_on_part() {
  const auto unfinished = decoder_.unfinished();
  if (unfinished.payload == nullptr || unfinished.payload->size() < kPart ||
      pending_files_.empty() || !pending_files_.front().part) {
    return;
  }
  const auto* file = unfinished.message->get_if<"File">();
  if (file != nullptr && file->is<"ReadLimited">()) {
    const std::shared_ptr<bool> alive = alive_;
    PartCallback part = std::move(pending_files_.front().part);
    part(unfinished.payload->span());  // may lose the agent, and the request with it
    if (*alive && !is_lost_) {
      unfinished.payload->clear();
      pending_files_.front().part = std::move(part);
    }
  }
}

void AgentLink::on_message(proto::DaemonMessage&& message) {
  using M = proto::DaemonMessage;
  switch (message.index()) {
    case M::index_of<"File">:
      on_file_reply(message.get<"File">());
      return;
    case M::index_of<"Pong">:
      pong_is_due_ = false;
      return;
    case M::index_of<"OperatorPing">:
      send_control(proto::ClientMessage::make<"OperatorPong">(message.get<"OperatorPing">()));
      return;
    case M::index_of<"LogMessage">:
      if (handlers_.log) {
        handlers_.log(std::move(message.get<"LogMessage">()));
      }
      return;
    case M::index_of<"SwitchProtocolVersionResponse">:
      on_version(message.get<"SwitchProtocolVersionResponse">());
      return;
    case M::index_of<"Close">:
      lose({ErrorCode::kPeer, peer_name_ + " ended the session: " + message.get<"Close">(), "", 0});
      return;
    case M::index_of<"GetEnvVarsResponse">:
      answer_next(pending_environment_, environment_progress_,
                  std::move(message.get<"GetEnvVarsResponse">()));
      return;
    case M::index_of<"GetAddrInfoResponse">:
      answer_next(pending_lookups_, lookup_progress_,
                  std::move(message.get<"GetAddrInfoResponse">()));
      return;
    case M::index_of<"ReverseDnsLookup">: {
      auto& response = message.get<"ReverseDnsLookup">();
      answer_next(pending_reverse_, reverse_progress_,
                  response ? std::move(response->hostname)
                           : proto::Res<std::string>(std::unexpected(std::move(response.error()))));
      return;
    }
    default:
      break;
  }
  if (!take_connect_reply(message) && !is_lost_ && handlers_by_kind_[message.index()]) {
    handlers_by_kind_[message.index()](message);
  }
}

template <class T>
void AgentLink::answer_next(std::deque<Reply<T>>& pending, Progress& progress,
                            proto::Res<T>&& result) {
  if (pending.empty()) {
    lose({ErrorCode::kPeer, peer_name_ + " sent an answer that nobody asked for", "", 0});
    return;
  }
  Reply<T> reply = std::move(pending.front());
  pending.pop_front();
  ++progress.answers;
  reply(std::move(result));
}

void AgentLink::on_version(const proto::SemVer& settled) {
  version_ = settled;
  if (is_ready_) {
    return;
  }
  speaks_flight_ = proto::speaks_flight(settled);
  is_ready_ = true;
  if (supports(proto::Gate::kClientReadyForLogs)) {
    send_control(proto::ClientMessage::make<"ReadyForLogs">());
  }
  heard_since_ping_ = true;
  timer_.start_repeating(options_.ping_interval, [this] { on_ping_timer(); });
  if (handlers_.ready) {
    handlers_.ready();
  }
}

void AgentLink::on_file_reply(proto::FileResponse& response) {
  if (pending_files_.empty()) {
    lose({ErrorCode::kPeer, peer_name_ + " sent a file reply that nobody asked for", "", 0});
    return;
  }
  FileCallback reply = std::move(pending_files_.front().reply);
  pending_files_.pop_front();
  ++file_progress_.answers;
  reply(&response);
}

void AgentLink::refuse_reply(const proto::FileResponse& got, std::string_view expected) {
  std::string what = peer_name_ + " answered with ";
  what += got.name();
  what += " where ";
  what += expected;
  what += " was due";
  lose({ErrorCode::kPeer, std::move(what), "", 0});
}

// True when the message was an answer to `connect`.
bool AgentLink::take_connect_reply(proto::DaemonMessage& message) {
  const auto by_uid = [this](proto::DaemonConnectV2& reply) {
    const auto found = pending_connects_.find(reply.uid);
    if (found == pending_connects_.end()) {
      return;
    }
    Reply<proto::DaemonConnect> callback = std::move(found->second);
    pending_connects_.erase(found);
    ++connect_progress_.answers;
    callback(std::move(reply.connect));
  };
  if (auto* tcp = message.get_if<"TcpOutgoing">()) {
    if (auto* reply = tcp->get_if<"ConnectV2">()) {
      by_uid(*reply);
      return true;
    }
    if (auto* reply = tcp->get_if<"Connect">()) {
      answer_next(pending_legacy_[0], legacy_progress_[0], std::move(*reply));
      return true;
    }
  } else if (auto* udp = message.get_if<"UdpOutgoing">()) {
    if (auto* reply = udp->get_if<"ConnectV2">()) {
      by_uid(*reply);
      return true;
    }
    if (auto* reply = udp->get_if<"Connect">()) {
      answer_next(pending_legacy_[1], legacy_progress_[1], std::move(*reply));
      return true;
    }
  } else if (auto* packets = message.get_if<"SeqpacketOutgoing">()) {
    if (auto* reply = packets->get_if<"ConnectV2">()) {
      by_uid(*reply);
      return true;
    }
  }
  return false;
}

void AgentLink::hold_input() {
  if (input_holds_++ == 0 && stream_) {
    stream_->pause_reading();
  }
}

void AgentLink::release_input() {
  if (--input_holds_ == 0 && stream_) {
    stream_->resume_reading();
  }
}

// ---- keep-alive and loss

void AgentLink::on_ping_timer() {
  if (pong_is_due_ && !heard_since_ping_ && input_holds_ == 0) {
    lose({ErrorCode::kTimeout,
          "wait for " + peer_name_ + ": nothing was heard for " +
              std::to_string(options_.ping_interval.count() / 1000) + " seconds",
          "", 0});
    return;
  }
  heard_since_ping_ = false;
  pong_is_due_ = true;
  send_control(proto::ClientMessage::make<"Ping">());
  expire_pending();
}

// True when requests of a kind have gone without any answer for too long. What has not left yet, or
// is not taken in, is not the agent's to answer.
bool AgentLink::is_overdue(Progress& progress, bool is_waiting) const {
  const bool has_moved = progress.answers != progress.seen_answers || !active_.empty() ||
                         stream_->queued_bytes() > 0 || input_holds_ > 0;
  if (!is_waiting || has_moved || progress.since_ms == 0) {
    progress.seen_answers = progress.answers;
    progress.since_ms = loop_.now_ms();
    return false;
  }
  return loop_.now_ms() - progress.since_ms >=
         static_cast<std::uint64_t>(options_.reply_limit.count());
}

// Answers are matched by their order, so those given up leave a place for an answer to be dropped.
template <class Callback>
Callback AgentLink::dropped(const Callback& /*given_up*/) {
  if constexpr (std::is_same_v<Callback, PendingFile>) {
    return {[](auto&&) {}, nullptr};
  } else {
    return [](auto&&) {};
  }
}

template <class Callback>
void AgentLink::expire(Progress& progress, std::deque<Callback>& pending) {
  if (is_lost_ || !is_overdue(progress, !pending.empty())) {
    return;
  }
  progress.since_ms = 0;
  std::deque<Callback> expired;
  for (Callback& reply : pending) {
    expired.push_back(std::exchange(reply, dropped(reply)));
  }
  for (Callback& reply : expired) {
    reply(std::unexpected(io_error(ETIMEDOUT)));
  }
}

void AgentLink::expire_pending() {
  const std::shared_ptr<bool> alive = alive_;
  const auto expire_if_alive = [&](auto& progress, auto& pending) {
    if (*alive) {
      expire(progress, pending);
    }
  };
  expire_if_alive(file_progress_, pending_files_);
  expire_if_alive(environment_progress_, pending_environment_);
  expire_if_alive(lookup_progress_, pending_lookups_);
  expire_if_alive(reverse_progress_, pending_reverse_);
  expire_if_alive(legacy_progress_[0], pending_legacy_[0]);
  expire_if_alive(legacy_progress_[1], pending_legacy_[1]);
  if (*alive && !is_lost_ && is_overdue(connect_progress_, !pending_connects_.empty())) {
    connect_progress_.since_ms = 0;
    for (auto& [uid, reply] : std::exchange(pending_connects_, {})) {
      reply(std::unexpected(io_error(ETIMEDOUT)));
    }
  }
}

void AgentLink::lose(Error why) {
  if (is_lost_) {
    return;
  }
  is_lost_ = true;
  loss_ = std::move(why);
  timer_.stop();
  linger_.stop();
  stream_.reset();
  active_.clear();
  const std::shared_ptr<bool> alive = alive_;
  fail_all_pending();
  if (*alive && handlers_.lost) {
    handlers_.lost(loss_);
  }
}

void AgentLink::fail_all_pending() {
  const auto fail_all = [](auto pending) {
    for (auto& reply : pending) {
      reply(std::unexpected(agent_lost_error()));
    }
  };
  fail_all(std::exchange(pending_files_, {}));
  fail_all(std::exchange(pending_environment_, {}));
  fail_all(std::exchange(pending_lookups_, {}));
  fail_all(std::exchange(pending_reverse_, {}));
  fail_all(std::exchange(pending_legacy_[0], {}));
  fail_all(std::exchange(pending_legacy_[1], {}));
  auto connects = std::exchange(pending_connects_, {});
  for (auto& [uid, reply] : connects) {
    reply(std::unexpected(agent_lost_error()));
  }
}

// ---- requests

void AgentLink::send_file(proto::FileRequest&& request, FileCallback reply) {
  if (refuse_if_lost(reply)) {
    return;
  }
  auto message = proto::ClientMessage::make<"FileRequest">();
  message.get<"FileRequest">() = std::move(request);
  pending_files_.push_back({std::move(reply), nullptr});
  if (!enqueue(file_sender_->queue_, std::move(message))) {
    // A path that is not UTF-8 cannot travel: no such file, as far as the agent can tell.
    FileCallback refused = std::move(pending_files_.back().reply);
    pending_files_.pop_back();
    loop_.defer(
        [refused = std::move(refused)]() mutable { refused(std::unexpected(io_error(EILSEQ))); });
  }
}

void AgentLink::send_without_reply(proto::FileRequest request) {
  if (!is_lost_) {
    auto message = proto::ClientMessage::make<"FileRequest">();
    message.get<"FileRequest">() = std::move(request);
    enqueue(file_sender_->queue_, std::move(message), Urgency::kCanWait);
  }
}

void AgentLink::get_environment(proto::GetEnvVarsRequest request,
                                Reply<proto::RemoteEnvVars> reply) {
  if (!refuse_if_lost(reply)) {
    pending_environment_.push_back(std::move(reply));
    simple_sender_->send(proto::ClientMessage::make<"GetEnvVarsRequest">(std::move(request)));
  }
}

void AgentLink::resolve(proto::GetAddrInfoRequestV2 request, Reply<proto::DnsLookup> reply) {
  if (refuse_if_lost(reply)) {
    return;
  }
  auto message = supports(proto::Gate::kAddrinfoV2)
                     ? proto::ClientMessage::make<"GetAddrInfoRequestV2">(std::move(request))
                     : proto::ClientMessage::make<"GetAddrInfoRequest">(
                           proto::GetAddrInfoRequest{std::move(request.node)});
  pending_lookups_.push_back(std::move(reply));
  if (!enqueue(simple_sender_->queue_, std::move(message))) {
    Reply<proto::DnsLookup> refused = std::move(pending_lookups_.back());
    pending_lookups_.pop_back();
    refused(std::unexpected(io_error(EILSEQ)));
  }
}

void AgentLink::resolve_reverse(proto::Ip address, Reply<std::string> reply) {
  if (refuse_if_lost(reply)) {
    return;
  }
  if (!supports(proto::Gate::kReverseDns)) {
    loop_.defer([reply = std::move(reply)]() mutable {
      reply(std::unexpected(proto::ResponseError::make<"NotImplemented">()));
    });
    return;
  }
  pending_reverse_.push_back(std::move(reply));
  simple_sender_->send(
      proto::ClientMessage::make<"ReverseDnsLookup">(proto::ReverseDnsLookupRequest{address}));
}

// ---- sending

bool AgentLink::enqueue(const std::shared_ptr<Sender::Queue>& queue, proto::ClientMessage&& message,
                        Urgency urgency) {
  if (is_lost_) {
    return true;
  }
  auto encoded = proto::encode_parts(std::move(message));
  if (!encoded) {
    return false;
  }
  Sender::Queue::Message entry;
  entry.size = encoded->size();
  if (!encoded->payload.empty()) {
    entry.parts[2] = net::Chunk::copy_of(encoded->tail());
    encoded->frame.truncate(encoded->split);
    entry.parts[1] = chunk_of(std::move(encoded->payload));
  }
  entry.parts[0] = chunk_of(std::move(encoded->frame));
  queue->bytes += entry.size;
  queue->was_full = queue->was_full || queue->bytes > Sender::kHighMark;
  queue->messages.push_back(std::move(entry));
  if (!queue->is_active && queue != control_) {
    queue->is_active = true;
    queue->credit = 0;
    active_.push_back(queue);
  }
  if (urgency == Urgency::kNow) {
    schedule_pump();
  } else if (!pump_is_scheduled_ && !linger_is_running_) {
    linger_is_running_ = true;
    linger_.start(kLinger, [this] {
      linger_is_running_ = false;
      pump();
    });
  }
  return true;
}

void AgentLink::send_control(proto::ClientMessage&& message) {
  enqueue(control_, std::move(message));
}

void AgentLink::schedule_pump() {
  if (pump_is_scheduled_) {
    return;
  }
  pump_is_scheduled_ = true;
  loop_.defer([this, alive = alive_] {
    if (*alive) {
      pump_is_scheduled_ = false;
      pump();
    }
  });
}

// Moves messages to the stream while it has room: control messages first, then one quantum of
// bytes from each sender in turn.
void AgentLink::pump() {
  std::vector<std::shared_ptr<Sender::Queue>> with_room;
  const auto send_first = [&](const std::shared_ptr<Sender::Queue>& queue) {
    Sender::Queue::Message message = std::move(queue->messages.front());
    queue->messages.pop_front();
    for (net::Chunk& part : message.parts) {
      stream_->write(std::move(part));
    }
    queue->bytes -= message.size;
    queue->credit -= std::min(queue->credit, message.size);
    if (queue->was_full && queue->bytes <= Sender::kHighMark / 2) {
      queue->was_full = false;
      with_room.push_back(queue);
    }
  };
  while (!is_lost_ && !control_->messages.empty()) {
    send_first(control_);
  }
  while (!is_lost_ && !active_.empty() && !stream_->is_above_high_mark()) {
    const std::shared_ptr<Sender::Queue> queue = std::move(active_.front());
    active_.pop_front();
    queue->credit = kQuantum;
    while (!queue->messages.empty() && queue->credit > 0 && !stream_->is_above_high_mark()) {
      send_first(queue);
    }
    queue->is_active = !queue->messages.empty();
    if (queue->is_active) {
      active_.push_back(queue);
    }
  }
  if (stream_) {
    stream_->flush();
  }
  const std::shared_ptr<bool> alive = alive_;
  for (const std::shared_ptr<Sender::Queue>& queue : with_room) {
    if (*alive && queue->on_room) {
      queue->on_room();
    }
  }
}

}  // namespace mirrord::intproxy
