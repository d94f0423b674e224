// applets/intproxy/outgoing_entry.h — one connect of a program, or one connection that reached the
// target: what the agent says of it, who waits for that, and the way of its data. The program's side is
// in the derived classes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/local_server.h"
#include "net/loop.h"
#include "proto/hints.h"
#include "proto/local.h"
#include "proto/receive_buffer.h"

namespace mirrord::intproxy {

class OutgoingEntry;

// The part that owns all entries.
class OutgoingHub {
 public:
  virtual ~OutgoingHub() = default;
  virtual net::Loop& loop() = 0;
  virtual AgentLink& agent() = 0;
  virtual proto::ReceiveBuffer& receive_buffer() = 0;
  // The agent calls the entry's connection `agent_id` from now on, or no longer.
  virtual void bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) = 0;
  virtual void unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) = 0;
  virtual void erase(OutgoingEntry& entry) = 0;
  // More is queued for a program.
  virtual void queued_more(std::size_t bytes) = 0;
};

class OutgoingEntry {
 public:
  enum class State { kIdle, kAsking, kOpen, kFailed };

  OutgoingEntry(OutgoingHub& hub, std::uint64_t id, AgentLink::Outgoing kind,
                proto::SocketAddress remote);
  virtual ~OutgoingEntry();
  OutgoingEntry(const OutgoingEntry&) = delete;
  OutgoingEntry& operator=(const OutgoingEntry&) = delete;

  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] AgentLink::Outgoing kind() const { return kind_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] int error() const { return error_; }  // of kFailed
  void set_relay(const local::Address& relay) { relay_ = relay; }

  // The agent has made the connection by itself (kStolen, kMirrored).
  void opened_by_agent(proto::ConnectionId id);
  // Asks the agent for the connection.
  void connect();
  // Answers with the outcome: now if it is known, else when it comes, but within `grace_ms` (then
  // kPending). `grace_ms` < 0: however long it takes.
  void await_outcome(Call call, int grace_ms);

  // From the agent. All may destroy the entry.
  virtual void data_came(proto::Bytes&& bytes) = 0;  // empty: the end
  virtual void closed_by_agent() = 0;
  virtual void hold_data(bool is_held) = 0;  // the agent wants a pause, or takes data again
  virtual void room_came() = 0;              // the queue to the agent has room again
  // A Close message about it: the end of the connection, or a hint (proto/hints.h).
  void take_close(proto::Hint hint);
  void agent_was_lost();
  // The connection to the agent broke, and with it this one. True: it was open.
  bool agent_was_interrupted();
  // Once in a while. May destroy the entry.
  virtual void tick(std::uint64_t now_ms) = 0;
  [[nodiscard]] virtual std::size_t queued_bytes() const = 0;  // for the program

 protected:
  // The outcome; both may destroy the entry. `is_expected`: the program was not told of the failure
  // and still comes.
  virtual void opened() = 0;
  virtual void failed(bool is_expected) = 0;
  virtual void lost() = 0;                // the agent is gone while the connection was open
  virtual void interrupted() { lost(); }  // the agent comes back, without the connection

  // Open, and on the connection to the agent that there is now.
  [[nodiscard]] bool is_at_agent() const;
  void send_data(proto::Bytes&& bytes);
  void send_hint(proto::Hint hint);
  void close_at_agent(proto::Hint hint);  // kNone or kReset
  [[nodiscard]] bool is_send_queue_full() const {
    return sender_.queued_bytes() > AgentLink::Sender::kHighMark;
  }
  void forget_agent_connection();  // back to kIdle
  void set_idle() { state_ = State::kIdle; }

  OutgoingHub& hub_;

 private:
  void settle(proto::Res<proto::DaemonConnect> outcome);
  void answer(Call& call) const;

  std::uint64_t id_;
  AgentLink::Outgoing kind_;
  proto::SocketAddress remote_;
  State state_ = State::kIdle;
  int error_ = 0;
  proto::ConnectionId agent_id_ = 0;
  std::uint64_t agent_connection_ = 0;  // AgentLink::connection() that agent_id_ belongs to
  local::Address relay_{};
  local::Address agent_address_{};
  std::vector<Call> waiting_;
  std::vector<Call> waiting_for_grace_;
  std::unique_ptr<net::Timer> grace_;
  bool was_told_pending_ = false;
  AgentLink::Sender sender_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Hands a message about an open connection to its entry, which `find(id)` returns, or null. False: the
// message names no connection at all.
template <class Message, class Find>
bool dispatch_outgoing(Message&& message, Find find) {
  if (auto* read = message.template get_if<"Read">()) {
    if (!read->has_value()) {
      return false;
    }
    if (OutgoingEntry* entry = find((*read)->connection_id)) {
      entry->data_came(std::move((*read)->bytes));
    }
    return true;
  }
  const proto::ConnectionId* closed = message.template get_if<"Close">();
  OutgoingEntry* entry = closed == nullptr ? nullptr : find(proto::without_hint(*closed));
  if (entry != nullptr) {
    entry->take_close(proto::hint_of(*closed));
  }
  return true;
}

}  // namespace mirrord::intproxy
