// applets/intproxy/incoming.h — traffic that reaches the target, for the listeners of the session's programs.
//
// A listener is a *source* of the target's port that it stands for. The port is subscribed while it has
// sources; the newest that fits takes a connection. Whether a source still listens is the kernel's word
// (listening_sockets.h): hooks and ended processes only say when to ask.
//
// Connections are those of outgoing traffic with the ends swapped (outgoing_stream.h): the agent opens
// them, and the socket to the program is ours. Single HTTP requests are delivered by http_delivery.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "applets/intproxy/http_delivery.h"
#include "applets/intproxy/incoming_table.h"
#include "applets/intproxy/input_limit.h"
#include "applets/intproxy/outgoing_entry.h"
#include "applets/intproxy/outgoing_stream.h"
#include "applets/intproxy/session.h"

namespace mirrord::intproxy {

class Incoming final : public Part, public OutgoingHub, public HttpListeners {
 public:
  explicit Incoming(Session& session);
  ~Incoming() override;

  void process_ended(Process& process) override;
  void agent_lost(const Error& why) override;
  void agent_interrupted(Losses& losses) override;
  void agent_restored(const AgentLink::Restored& restored, Losses& losses) override;

  net::Loop& loop() override { return session_.loop(); }
  AgentLink& agent() override { return session_.agent(); }
  proto::ReceiveBuffer& receive_buffer() override { return buffer_; }
  void bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void erase(OutgoingEntry& entry) override;
  void queued_more(std::size_t bytes) override { input_limit_.queued_more(bytes); }

  std::vector<Listener> listeners(std::uint16_t port, const net::IpAddress& local,
                                  const net::IpAddress& remote) override;
  Result<Fd> connect(const Listener& listener, const net::Endpoint& remote,
                     const net::IpAddress& local) override;
  void closing(int socket) override { table_->forget(socket); }

  // How long a listen may wait for the agent.
  static constexpr std::chrono::milliseconds kListenLimit{30'000};
  // A mirrored connection whose program has left this much unread is given up.
  static constexpr std::size_t kMirrorCap = 8 << 20;

 private:
  struct Source {
    std::uint64_t inode;
    net::Endpoint requested, actual;
    std::uint32_t table_index;
  };
  struct Port {
    enum class State { kIdle, kAsking, kActive };
    State state = State::kIdle;
    std::vector<Source> sources;  // the newest is the last
    std::vector<Call> waiting;
    std::unique_ptr<net::Timer> limit;
  };
  struct Connection {
    std::unique_ptr<OutgoingStream> stream;
    int socket;
    std::uint64_t since_ms;
    bool is_connected;
  };

  void on_listen(const Request& request, Call call);
  [[nodiscard]] std::uint16_t remote_port(std::uint16_t port) const;
  // ---- subscriptions
  void subscribe(std::uint16_t number, Port& port);
  void unsubscribe(std::uint16_t number);
  void on_subscribed(proto::Res<proto::Port>&& result);
  void refuse(std::uint16_t number, int error_number, const std::string& why);
  void remove_sources(Port& port);
  // ---- listeners
  void check_soon();
  void check_listeners();
  // ---- connections
  void on_message(AgentLink::Outgoing kind, proto::DaemonTcp&& message);
  void open(AgentLink::Outgoing kind, const proto::NewTcpConnectionV1& connection,
            const proto::IncomingTrafficTransportType& transport);
  [[nodiscard]] std::vector<const Source*> candidates(std::uint16_t port,
                                                      const net::IpAddress& local,
                                                      const net::IpAddress& remote) const;
  OutgoingEntry* find(AgentLink::Outgoing kind, proto::ConnectionId id);
  void note_lost_copy();
  [[nodiscard]] std::size_t queued_bytes() const;
  void tick();
  template <class Action>
  void for_all(Action action);

  Session& session_;
  const config::IncomingRules& rules_;
  std::unique_ptr<IncomingTable> table_;  // none: incoming traffic is off
  AgentLink::Sender sender_;
  std::map<std::uint16_t, Port> ports_;  // by the target's number
  std::deque<std::uint16_t> asked_;      // subscriptions without an answer, in order
  std::unordered_map<std::uint64_t, Connection> connections_;
  std::unordered_map<proto::ConnectionId, OutgoingEntry*> by_agent_id_[2];  // stolen, mirrored
  std::uint64_t next_id_ = 1;
  proto::ReceiveBuffer buffer_;
  net::Timer check_timer_;
  std::chrono::milliseconds check_delay_{0};
  net::Timer tick_timer_;
  bool is_ticking_ = false;
  InputLimit input_limit_;
  std::size_t lost_copies_ = 0;
  HttpDelivery http_;
};

}  // namespace mirrord::intproxy
