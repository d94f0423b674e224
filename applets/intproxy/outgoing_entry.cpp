// applets/intproxy/outgoing_entry.cpp — outcome, grace time and messages of one outgoing connection.
#include "applets/intproxy/outgoing_entry.h"

#include <cerrno>
#include <chrono>
#include <utility>

#include "applets/intproxy/address.h"
#include "applets/intproxy/remote.h"

namespace mirrord::intproxy {

namespace {

// The errno of a failed connect. Agents report their time-out without a number.
int connect_errno(const proto::ResponseError& error) {
  if (const auto* io = error.get_if<"RemoteIO">(); io != nullptr && !io->raw_os_error) {
    return io->kind.is<"TimedOut">() ? ETIMEDOUT : ECONNREFUSED;
  }
  if (const auto* remote = error.get_if<"Remote">(); remote && remote->is<"ConnectTimedOut">()) {
    return ETIMEDOUT;
  }
  if (is_interrupted(error)) {
    return ECONNRESET;  // whether it was made cannot be known
  }
  return is_agent_lost(error) ? ECONNREFUSED : errno_of(error);
}

proto::ClientMessage data_message(AgentLink::Outgoing kind, proto::ConnectionId id,
                                  proto::Bytes&& bytes) {
  using proto::ClientMessage;
  switch (kind) {
    case AgentLink::Outgoing::kTcp:
      return ClientMessage::make<"TcpOutgoing">(
          proto::LayerTcpOutgoing::make<"Write">(id, std::move(bytes)));
    case AgentLink::Outgoing::kUdp:
      return ClientMessage::make<"UdpOutgoing">(
          proto::LayerUdpOutgoing::make<"Write">(id, std::move(bytes)));
    case AgentLink::Outgoing::kSeqpacket:
      return ClientMessage::make<"SeqpacketOutgoing">(
          proto::LayerSeqpacket::make<"Write">(id, std::move(bytes)));
    case AgentLink::Outgoing::kStolen:
    case AgentLink::Outgoing::kMirrored:
      break;
  }
  return ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"Data">(id, std::move(bytes)));
}

proto::ClientMessage close_message(AgentLink::Outgoing kind, proto::ConnectionId id) {
  using proto::ClientMessage;
  switch (kind) {
    case AgentLink::Outgoing::kTcp:
      return ClientMessage::make<"TcpOutgoing">(proto::LayerTcpOutgoing::make<"Close">(id));
    case AgentLink::Outgoing::kUdp:
      return ClientMessage::make<"UdpOutgoing">(proto::LayerUdpOutgoing::make<"Close">(id));
    case AgentLink::Outgoing::kSeqpacket:
      return ClientMessage::make<"SeqpacketOutgoing">(proto::LayerSeqpacket::make<"Close">(id));
    case AgentLink::Outgoing::kMirrored:
      return ClientMessage::make<"Tcp">(proto::LayerTcp::make<"ConnectionUnsubscribe">(id));
    case AgentLink::Outgoing::kStolen:
      break;
  }
  return ClientMessage::make<"TcpSteal">(proto::LayerTcpSteal::make<"ConnectionUnsubscribe">(id));
}

}  // namespace

OutgoingEntry::OutgoingEntry(OutgoingHub& hub, std::uint64_t id, AgentLink::Outgoing kind,
                             proto::SocketAddress remote)
    : hub_(hub), id_(id), kind_(kind), remote_(std::move(remote)), sender_(hub.agent()) {
  sender_.on_room([this] { room_came(); });
}

OutgoingEntry::~OutgoingEntry() {
  *alive_ = false;
  if (state_ == State::kOpen) {
    close_at_agent(proto::Hint::kNone);
  }
}

void OutgoingEntry::connect() {
  state_ = State::kAsking;
  AgentLink* const agent = &hub_.agent();
  const AgentLink::Outgoing kind = kind_;
  agent->connect(kind, remote_, sender_,
                 [this, alive = alive_, agent, kind](proto::Res<proto::DaemonConnect> outcome) {
                   if (*alive) {
                     settle(std::move(outcome));
                   } else if (outcome) {  // nobody wants it any more
                     AgentLink::Sender(*agent).send(close_message(kind, outcome->connection_id));
                   }
                 });
}

void OutgoingEntry::settle(proto::Res<proto::DaemonConnect> outcome) {
  grace_.reset();
  if (outcome) {
    agent_address_ = to_local(outcome->local_address);
    opened_by_agent(outcome->connection_id);
  } else {
    state_ = State::kFailed;
    error_ = connect_errno(outcome.error());
  }
  for (auto* calls : {&waiting_, &waiting_for_grace_}) {
    for (Call& call : std::exchange(*calls, {})) {
      answer(call);
    }
  }
  if (state_ == State::kOpen) {
    opened();
  } else {
    failed(was_told_pending_);
  }
}

void OutgoingEntry::opened_by_agent(proto::ConnectionId id) {
  state_ = State::kOpen;
  agent_id_ = id;
  agent_connection_ = hub_.agent().connection();
  hub_.bind_agent_id(*this, agent_id_);
}

void OutgoingEntry::answer(Call& call) const {
  switch (state_) {
    case State::kFailed:
      call.fail(error_);
      return;
    case State::kOpen:
      call.answer(
          local::ConnectReply{id_, local::ConnectState::kConnected, 0, relay_, agent_address_});
      return;
    case State::kIdle:
    case State::kAsking:
      call.answer(
          local::ConnectReply{id_, local::ConnectState::kPending, 0, relay_, local::Address{}});
  }
}

void OutgoingEntry::await_outcome(Call call, int grace_ms) {
  if (state_ == State::kOpen || state_ == State::kFailed) {
    answer(call);
    return;
  }
  if (grace_ms < 0) {
    waiting_.push_back(std::move(call));
    return;
  }
  if (grace_ms == 0) {
    was_told_pending_ = true;
    answer(call);
    return;
  }
  waiting_for_grace_.push_back(std::move(call));
  grace_ = std::make_unique<net::Timer>(hub_.loop());
  grace_->start(std::chrono::milliseconds(grace_ms), [this] {
    was_told_pending_ = true;
    for (Call& waiting : std::exchange(waiting_for_grace_, {})) {
      answer(waiting);
    }
  });
}

void OutgoingEntry::take_close(proto::Hint hint) {
  switch (hint) {
    case proto::Hint::kNone:
      return closed_by_agent();
    case proto::Hint::kPause:
      return hold_data(true);
    case proto::Hint::kResume:
      return hold_data(false);
    case proto::Hint::kReset:
      return;  // only ever said by a client
  }
}

void OutgoingEntry::agent_was_lost() {
  if (state_ == State::kOpen || state_ == State::kIdle) {
    state_ = State::kFailed;
    error_ = ECONNRESET;
    lost();
  }
}

bool OutgoingEntry::agent_was_interrupted() {
  if (state_ != State::kOpen) {
    return false;  // not there yet, or not any more
  }
  hub_.unbind_agent_id(*this, agent_id_);
  state_ = State::kFailed;
  error_ = ECONNRESET;
  interrupted();
  return true;
}

bool OutgoingEntry::is_at_agent() const {
  return state_ == State::kOpen && agent_connection_ == hub_.agent().connection();
}

void OutgoingEntry::send_data(proto::Bytes&& bytes) {
  if (is_at_agent() && kind_ != AgentLink::Outgoing::kMirrored) {  // nobody hears its answers
    sender_.send(data_message(kind_, agent_id_, std::move(bytes)));
  }
}

void OutgoingEntry::send_hint(proto::Hint hint) {
  if (is_at_agent() && hub_.agent().speaks_flight()) {
    sender_.send(close_message(kind_, proto::with_hint(hint, agent_id_)));
  }
}

void OutgoingEntry::close_at_agent(proto::Hint hint) {
  if (state_ != State::kOpen) {
    return;
  }
  if (!hub_.agent().speaks_flight()) {
    hint = proto::Hint::kNone;
  }
  if (is_at_agent()) {
    sender_.send(close_message(kind_, proto::with_hint(hint, agent_id_)));
  }
  forget_agent_connection();
}

void OutgoingEntry::forget_agent_connection() {
  if (state_ == State::kOpen) {
    hub_.unbind_agent_id(*this, agent_id_);
    state_ = State::kIdle;
  }
}

}  // namespace mirrord::intproxy
