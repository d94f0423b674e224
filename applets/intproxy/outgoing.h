// applets/intproxy/outgoing.h — connects of the session's programs that go to the target's network.
//
// A program's socket stays its own: it is connected to a listener of ours on loopback (one per
// family, for the whole session), which knows it by the source address that the hook has bound. UNIX
// sockets get a listener each, in the session directory; UDP sockets one socket of ours for each
// destination.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>

#include "applets/intproxy/dns.h"
#include "applets/intproxy/input_limit.h"
#include "applets/intproxy/outgoing_entry.h"
#include "applets/intproxy/outgoing_filter.h"
#include "applets/intproxy/outgoing_stream.h"
#include "applets/intproxy/session.h"
#include "net/listener.h"

namespace mirrord::intproxy {

class Outgoing final : public Part, public OutgoingHub {
 public:
  Outgoing(Session& session, Dns& dns);
  ~Outgoing() override;

  void process_ended(Process& process) override;
  void process_forked(Process& parent, Process& child) override;
  void agent_lost(const Error& why) override;
  void agent_interrupted(Losses& losses) override;

  net::Loop& loop() override { return session_.loop(); }
  AgentLink& agent() override { return session_.agent(); }
  proto::ReceiveBuffer& receive_buffer() override { return buffer_; }
  void bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void erase(OutgoingEntry& entry) override;
  void queued_more(std::size_t bytes) override { input_limit_.queued_more(bytes); }

 private:
  // Where the programs' connections come in.
  struct Entrance {
    local::Address address{};
    std::unique_ptr<net::Listener> listener;  // none: this machine lacks the family
  };

  void register_handlers();
  void on_connect(Process& process, Request& request, Call call);
  void open(const local::ConnectRequest& request, std::uint64_t process_key, Fd socket, Call call);
  void open_tcp(const local::ConnectRequest& request, Call call);
  void open_unix(const local::ConnectRequest& request, Call call);
  void open_udp(const local::ConnectRequest& request, std::uint64_t process_key, Fd socket,
                Call call);
  void start(std::unique_ptr<OutgoingEntry> entry, const local::Address& relay,
             const local::ConnectRequest& request, Call call);
  [[nodiscard]] int grace_ms(const local::ConnectRequest& request) const;
  void listen(Entrance& entrance, const net::IpAddress& address);
  void accept(Fd socket, const sockaddr_storage& peer);
  template <class Message>
  void dispatch(AgentLink::Outgoing kind, Message&& message);
  OutgoingEntry* find(AgentLink::Outgoing kind, proto::ConnectionId agent_id);
  void tick();
  [[nodiscard]] std::size_t queued_bytes() const;

  Session& session_;
  OutgoingFilter filter_;
  Entrance entrances_[2];  // IPv4, IPv6
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<OutgoingEntry>> entries_;
  std::unordered_map<proto::ConnectionId, OutgoingEntry*> by_agent_id_[3];
  // Programs that will come, by the source address that they will have.
  std::map<net::Endpoint, OutgoingStream*> expected_;
  std::unordered_map<std::uint64_t, net::Endpoint> expected_from_;  // by entry id
  proto::ReceiveBuffer buffer_;
  InputLimit input_limit_;
  bool is_ticking_ = false;
  net::Timer tick_timer_;
};

}  // namespace mirrord::intproxy
