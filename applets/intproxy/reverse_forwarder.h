// applets/intproxy/reverse_forwarder.h — ports of the target whose connections come to ports of this
// machine: `mirrord port-forward -R`.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "applets/config/config.h"
#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/http_delivery.h"
#include "applets/intproxy/input_limit.h"
#include "applets/intproxy/outgoing_entry.h"
#include "applets/intproxy/outgoing_stream.h"
#include "net/loop.h"
#include "proto/receive_buffer.h"
#include "proto/tcp.h"

namespace mirrord::intproxy {

class ReverseForwarder final : public OutgoingHub, public HttpListeners {
 public:
  using Warn = std::move_only_function<void(const std::string& line)>;
  using Done = std::move_only_function<void(Status)>;
  using Ports = std::map<std::uint16_t, std::uint16_t>;  // of the target: of this machine

  // Takes the link's messages about incoming connections. Whether they are stolen or mirrored is the
  // mode of `rules`, which must outlive this. `warn` hears of connections that nobody takes.
  ReverseForwarder(net::Loop& loop, AgentLink& link, const config::IncomingRules& rules,
                   TlsTrust trust, Warn warn);
  ~ReverseForwarder() override;

  // Subscribes the ports. `done` is called once, when the agent has answered for all of them or
  // refused one, and after kLimit at the latest. Call once.
  void start(Ports ports, Done done);

  // The connection to the agent broke: what is open is reset; and it is back: the ports are
  // subscribed again, and `warn` hears of refusals.
  void agent_interrupted();
  void agent_restored();

  net::Loop& loop() override { return loop_; }
  AgentLink& agent() override { return link_; }
  proto::ReceiveBuffer& receive_buffer() override { return buffer_; }
  void bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void erase(OutgoingEntry& entry) override;
  void queued_more(std::size_t bytes) override { input_limit_.queued_more(bytes); }

  std::vector<Listener> listeners(std::uint16_t port, const net::IpAddress& local,
                                  const net::IpAddress& remote) override;
  Result<Fd> connect(const Listener& listener, const net::Endpoint& remote,
                     const net::IpAddress& local) override;
  void closing(int /*socket*/) override {}

  static constexpr std::chrono::milliseconds kLimit{30'000};
  // A mirrored connection that has left this much unread is given up.
  static constexpr std::size_t kMirrorCap = 8 << 20;

 private:
  void subscribe_all();
  void on_message(AgentLink::Outgoing kind, proto::DaemonTcp&& message);
  void on_subscribed(const proto::Res<proto::Port>& answer);
  void settle(Status outcome);
  void open(AgentLink::Outgoing kind, const proto::NewTcpConnectionV1& connection,
            const proto::IncomingTrafficTransportType& transport);
  OutgoingEntry* find(proto::ConnectionId id);
  void note_lost_copy();
  [[nodiscard]] std::size_t queued_bytes() const;

  net::Loop& loop_;
  AgentLink& link_;
  const config::IncomingRules& rules_;
  Warn warn_;
  Ports ports_;
  Done done_;
  net::Timer limit_;
  std::deque<std::uint16_t> asked_;  // subscriptions without an answer, in order
  AgentLink::Sender sender_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, std::unique_ptr<OutgoingStream>> connections_;
  std::unordered_map<proto::ConnectionId, OutgoingEntry*> by_agent_id_;
  proto::ReceiveBuffer buffer_;
  InputLimit input_limit_;
  HttpDelivery http_;
};

}  // namespace mirrord::intproxy
