// applets/intproxy/agent_link.cpp — handshake, keep-alive and the fair queue towards the agent.
#include "applets/intproxy/agent_link.h"

#include <cerrno>
#include <type_traits>
#include <utility>

#include "net/random.h"
#include "proto/codec.h"
#include "proto/text.h"

namespace mirrord::intproxy {
namespace {

// What one sender may send before the next one gets its turn.
constexpr std::size_t kQuantum = 64 * 1024;
// Large reads are taken in pieces of about this size: two of them fit into a second-level cache.
constexpr std::size_t kPart = 64 * 1024;
// A Close leaves with the next request: one packet and one wake-up of the agent less per file.
constexpr std::chrono::milliseconds kLinger{2};
// Nobody can guess it: an agent takes whoever has it for the client that it knows.
constexpr std::size_t kClientKeyBytes = 16;

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
      client_key_(net::random_hex(kClientKeyBytes)),
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

std::uint64_t AgentLink::answers() const {
  return file_progress_.answers + lookup_progress_.answers + reverse_progress_.answers +
         connect_progress_.answers + legacy_progress_[0].answers + legacy_progress_[1].answers;
}

void AgentLink::start(Handlers handlers) {
  handlers_ = std::move(handlers);
  start_stream(options_.handshake_timeout);
}

void AgentLink::start_stream(std::chrono::milliseconds handshake_timeout) {
  net::Stream::Handlers stream_handlers;
  stream_handlers.buffer = [this] {
    const auto parts = decoder_.writable_parts();
    return net::Stream::Space(parts.first, parts.second);
  };
  stream_handlers.received = [this](std::size_t count) { on_bytes(count); };
  stream_handlers.ended = [this] {
    break_off({ErrorCode::kDisconnected,
               "read from " + peer_name_ + ": the agent closed the connection", "", 0});
  };
  stream_handlers.failed = [this](Error error) { break_off(std::move(error)); };
  stream_handlers.drained = [this] { schedule_pump(); };
  stream_->start(std::move(stream_handlers));
  timer_.start(handshake_timeout, [this] {
    break_off({ErrorCode::kTimeout, "shake hands with " + peer_name_ + ": no answer in time",
               "Check that the address is that of a mirrord agent.", 0});
  });
  send_control(
      proto::ClientMessage::make<"SwitchProtocolVersion">(proto::client_version(client_key_)));
}

void AgentLink::close(std::string_view why) {
  lose({ErrorCode::kDisconnected, std::string(why), "", 0});
}

void AgentLink::leave() {
  can_resume_ = false;
  if (is_ready_ && !is_lost_) {
    send_control(proto::ClientMessage::make<"Close">());
    pump();
  }
  close("the session has ended");
}

// ---- receiving

void AgentLink::on_bytes(std::size_t count) {
  decoder_.commit(count);
  heard_since_ping_ = true;
  const std::shared_ptr<bool> alive = alive_;
  const std::uint64_t connection = connection_;
  while (!is_lost_ && connection == connection_) {
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
    const std::uint64_t connection = connection_;
    PartCallback part = std::move(pending_files_.front().part);
    pending_files_.front().handed_on += unfinished.payload->size();
    part(unfinished.payload->span());  // may lose the agent, and the request with it
    if (*alive && !is_lost_ && connection == connection_) {
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
      if (!pending_pings_.empty()) {
        std::move_only_function<void()> answered = std::move(pending_pings_.front());
        pending_pings_.pop_front();
        if (answered) {
          answered();
        }
      }
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
    case M::index_of<"Close">: {
      Error why{ErrorCode::kPeer, peer_name_ + " ended the session: " + message.get<"Close">(), "",
                0};
      survives_close_ ? break_off(std::move(why)) : lose(std::move(why));
      return;
    }
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

template <class Pending, class T>
void AgentLink::answer_next(std::deque<Pending>& pending, Progress& progress,
                            proto::Res<T>&& result) {
  if (pending.empty()) {
    lose({ErrorCode::kPeer, peer_name_ + " sent an answer that nobody asked for", "", 0});
    return;
  }
  Pending reply = std::move(pending.front());
  pending.pop_front();
  ++progress.answers;
  reply(std::move(result));
}

void AgentLink::on_version(const proto::SemVer& settled) {
  if (is_settled_) {
    return;
  }
  const bool is_first = connection_ == 0;
  if (!is_first && settled != version_) {
    lose({ErrorCode::kPeer,
          peer_name_ + " speaks version " + settled.to_string() +
              " of the protocol, the session's agent spoke " + version_.to_string(),
          "Start the program again.", 0});
    return;
  }
  version_ = settled;
  speaks_flight_ = proto::speaks_flight(settled);
  is_settled_ = true;
  if (supports(proto::Gate::kClientReadyForLogs)) {
    send_control(proto::ClientMessage::make<"ReadyForLogs">());
  }
  heard_since_ping_ = true;
  pong_is_due_ = false;
  timer_.start_repeating(options_.ping_interval, [this] { on_ping_timer(); });
  if (!is_first) {
    begin_restore();
    return;
  }
  is_ready_ = true;
  if (handlers_.ready) {
    handlers_.ready();
  }
}

void AgentLink::on_file_reply(proto::FileResponse& response) {
  if (pending_files_.empty()) {
    lose({ErrorCode::kPeer, peer_name_ + " sent a file reply that nobody asked for", "", 0});
    return;
  }
  PendingFile pending = std::move(pending_files_.front());
  pending_files_.pop_front();
  while (!pending_files_.empty() && !pending_files_.front().reply) {
    descriptors_.closed(*descriptor_in(pending_files_.front().request));
    pending_files_.pop_front();
  }
  ++file_progress_.answers;
  if (can_resume_ && !pending.is_given_up) {
    note_answer(pending, response);
  }
  pending.reply(&response);
}

// Numbers of the agent become the session's; what it takes to open a file again is written down.
void AgentLink::note_answer(PendingFile& pending, proto::FileResponse& response) {
  const auto name = [&](proto::u64& fd) {
    if (!pending.makes) {
      fd = descriptors_.from_agent(fd);
    } else {
      // Another one than was promised is for the caller to notice.
      fd = descriptors_.at_agent(*pending.makes) == fd ? *pending.makes : ~proto::u64{0};
    }
  };
  const proto::u64* fd = descriptor_in(pending.request);
  if (auto* open = response.get_if<"Open">(); open != nullptr && *open) {
    name((*open)->fd);
    if (auto* request = pending.request.get_if<"Open">();
        request != nullptr && is_repeatable(pending.request)) {
      descriptors_.opened((*open)->fd, std::move(request->path.value));
    }
  } else if (auto* directory = response.get_if<"OpenDir">(); directory != nullptr && *directory) {
    name((*directory)->fd);
  } else if (fd == nullptr) {
    return;
  } else if (auto* stat = response.get_if<"Xstat">(); stat != nullptr && *stat) {
    descriptors_.seen(*fd, (*stat)->metadata);
  } else if (auto* read = response.get_if<"Read">(); read != nullptr && *read) {
    descriptors_.advanced(*fd, (*read)->bytes.size());
  } else if (auto* seek = response.get_if<"Seek">(); seek != nullptr && *seek) {
    descriptors_.moved(*fd, (*seek)->result_offset);
  }
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

void AgentLink::ping(std::move_only_function<void()> answered) {
  pong_is_due_ = true;
  pending_pings_.push_back(std::move(answered));
  send_control(proto::ClientMessage::make<"Ping">());
}

void AgentLink::on_ping_timer() {
  if (pong_is_due_ && !heard_since_ping_ && input_holds_ == 0) {
    break_off({ErrorCode::kTimeout,
               "wait for " + peer_name_ + ": nothing was heard for " +
                   std::to_string(options_.ping_interval.count() / 1000) + " seconds",
               "", 0});
    return;
  }
  heard_since_ping_ = false;
  ping(nullptr);
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
    PendingFile pending;
    pending.reply = [](auto&&) {};
    pending.is_given_up = true;
    return pending;
  } else if constexpr (requires(Callback callback) { callback.request; }) {
    return {{}, [](auto&&) {}};
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
  if (restoring_.has_value()) {
    restoring_.reset();
    pending_files_.clear();  // they only served to open files again
  }
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
  fail_all(std::exchange(held_files_, {}));
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

void AgentLink::send_file(proto::FileRequest&& request, FileCallback reply, PartCallback part) {
  if (refuse_if_lost(reply)) {
    return;
  }
  PendingFile pending;
  if (speaks_flight_ && makes_descriptor(request)) {
    pending.makes = descriptors_.take_reserved();
  }
  pending.reply = std::move(reply);
  pending.part = std::move(part);
  pending.request = std::move(request);
  is_ready_ ? transmit(std::move(pending)) : hold(std::move(pending));
}

void AgentLink::transmit(PendingFile&& pending) {
  const auto refuse = [this](PendingFile&& refused, proto::ResponseError error) {
    loop_.defer([reply = std::move(refused), error = std::move(error)]() mutable {
      reply(std::unexpected(std::move(error)));
    });
  };
  auto message = proto::ClientMessage::make<"FileRequest">();
  proto::FileRequest& request = message.get<"FileRequest">();
  request = std::move(pending.request);
  proto::u64* fd = descriptor_in(request);
  const proto::u64 number = fd == nullptr ? 0 : *fd;
  if (fd != nullptr) {
    const auto there = descriptors_.at_agent(number);
    if (!there) {
      refuse(std::move(pending), interrupted_error());
      return;
    }
    *fd = *there;
  }
  const Urgency urgency = pending.reply ? Urgency::kNow : Urgency::kCanWait;
  if (!enqueue_kept(file_sender_->queue_, message, urgency)) {
    // A path that is not UTF-8 cannot travel: no such file, as far as the agent can tell.
    refuse(std::move(pending), io_error(EILSEQ));
    return;
  }
  if (pending.makes) {
    descriptors_.sent(*pending.makes);
  }
  if (!pending.reply && (!can_resume_ || pending_files_.empty())) {
    descriptors_.closed(number);
    return;
  }
  if (can_resume_) {
    if (fd != nullptr) {
      *fd = number;
    }
    pending.request = std::move(request);
  }
  pending_files_.push_back(std::move(pending));
}

void AgentLink::send_without_reply(proto::FileRequest request) {
  if (is_lost_) {
    return;
  }
  PendingFile pending;
  pending.request = std::move(request);
  is_ready_ ? transmit(std::move(pending)) : hold(std::move(pending));
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
  if (!proto::is_utf8(request.node)) {
    loop_.defer([reply = std::move(reply)]() mutable { reply(std::unexpected(io_error(EILSEQ))); });
    return;
  }
  if (is_ready_) {
    send_lookup(request);
  }
  pending_lookups_.push_back({std::move(request), std::move(reply)});
}

void AgentLink::send_lookup(const proto::GetAddrInfoRequestV2& request) {
  enqueue(simple_sender_->queue_, supports(proto::Gate::kAddrinfoV2)
                                      ? proto::ClientMessage::make<"GetAddrInfoRequestV2">(request)
                                      : proto::ClientMessage::make<"GetAddrInfoRequest">(
                                            proto::GetAddrInfoRequest{request.node}));
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
  if (is_ready_) {
    send_reverse(address);
  }
  pending_reverse_.push_back({address, std::move(reply)});
}

void AgentLink::send_reverse(proto::Ip address) {
  simple_sender_->send(
      proto::ClientMessage::make<"ReverseDnsLookup">(proto::ReverseDnsLookupRequest{address}));
}

// ---- sending

bool AgentLink::enqueue(const std::shared_ptr<Sender::Queue>& queue, proto::ClientMessage&& message,
                        Urgency urgency) {
  return enqueue_kept(queue, message, urgency);
}

bool AgentLink::enqueue_kept(const std::shared_ptr<Sender::Queue>& queue,
                             proto::ClientMessage& message, Urgency urgency) {
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

// Nothing that is queued has a meaning on another stream.
void AgentLink::clear_queues() {
  active_.push_back(control_);
  for (const std::shared_ptr<Sender::Queue>& queue : std::exchange(active_, {})) {
    queue->messages.clear();
    queue->bytes = 0;
    queue->is_active = false;
    queue->was_full = false;
  }
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
  if (!stream_) {
    return;
  }
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
  while (!is_lost_ && is_settled_ && !active_.empty() && !stream_->is_above_high_mark()) {
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
