// applets/intproxy/forwarder.h — local ports whose connections are made by the agent, in the target's
// network: `mirrord port-forward`.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/input_limit.h"
#include "applets/intproxy/outgoing_entry.h"
#include "applets/intproxy/outgoing_stream.h"
#include "net/address.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/listener.h"
#include "net/loop.h"
#include "proto/receive_buffer.h"

namespace mirrord::intproxy {

class Forwarder final : public OutgoingHub {
 public:
  using Warn = std::move_only_function<void(const std::string& line)>;

  // Takes the link's messages about outgoing connections. `warn` hears of connects that fail.
  Forwarder(net::Loop& loop, AgentLink& link, Warn warn);
  ~Forwarder() override;

  // Listens at `local`; each connection goes to `host` (a name is looked up each time, as the target
  // sees it) and `port`. Returns where it listens.
  Result<net::Endpoint> forward(const net::Endpoint& local, std::string host, std::uint16_t port);

  // The connection to the agent broke: what is open is reset.
  void agent_interrupted();

  net::Loop& loop() override { return loop_; }
  AgentLink& agent() override { return link_; }
  proto::ReceiveBuffer& receive_buffer() override { return buffer_; }
  void bind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void unbind_agent_id(OutgoingEntry& entry, proto::ConnectionId agent_id) override;
  void erase(OutgoingEntry& entry) override;
  void queued_more(std::size_t bytes) override { input_limit_.queued_more(bytes); }

 private:
  struct Port {
    std::string host;
    std::uint16_t port;
    std::unique_ptr<net::Listener> listener;
  };
  struct Connection {
    std::unique_ptr<OutgoingStream> stream;
    std::string remote;
    bool was_open = false;
  };

  void accept(const Port& port, Fd socket);
  void resolve(const Port& port, Fd socket);
  void connect(const net::Endpoint& remote, const std::string& name, Fd socket);
  [[nodiscard]] std::size_t queued_bytes() const;

  net::Loop& loop_;
  AgentLink& link_;
  Warn warn_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, Connection> connections_;
  std::unordered_map<proto::ConnectionId, OutgoingEntry*> by_agent_id_;
  proto::ReceiveBuffer buffer_;
  InputLimit input_limit_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace mirrord::intproxy
