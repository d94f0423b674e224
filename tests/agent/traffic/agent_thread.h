// tests/agent/traffic/agent_thread.h — one client session of the agent on a thread of the test.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "applets/agent/session.h"
#include "applets/agent/target.h"
#include "net/loop.h"
#include "tests/support/sockets.h"

namespace mirrord::test {

class AgentThread {
 public:
  explicit AgentThread(agent::Target target) : target_(std::move(target)) {
    auto [client, server] = tcp_pair();
    client_ = std::move(client);
    thread_ = std::thread([this, socket = std::move(server)]() mutable {
      agent::Session session(loop_, target_, log_, std::move(socket), "test client",
                             {.ended = [this] {
                               has_ended_ = true;
                               loop_.stop();
                             }});
      while (!has_ended_)
        loop_.run();
    });
  }
  ~AgentThread() {
    loop_.post([this] {
      has_ended_ = true;
      loop_.stop();
    });
    thread_.join();
  }
  AgentThread(const AgentThread&) = delete;
  AgentThread& operator=(const AgentThread&) = delete;

  // The client's end of the connection; once.
  Fd take_client() { return std::move(client_); }

 private:
  net::Loop loop_;
  agent::Target target_;
  log::Log log_;  // writes nowhere
  bool has_ended_ = false;
  Fd client_;
  std::thread thread_;
};

}  // namespace mirrord::test
