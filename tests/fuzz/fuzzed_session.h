// tests/fuzz/fuzzed_session.h — an intproxy's session on a loop that a fuzz target turns.
#pragma once

#include <sys/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/session.h"
#include "tests/fuzz/private_machine.h"
#include "tests/fuzz/turning_loop.h"

namespace mirrord::fuzz {

inline std::pair<Fd, Fd> stream_pair() {
  int ends[2];
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

class FuzzedSession {
 public:
  // `answer_handshake` is called until the agent's link is ready or lost.
  template <class Handshake>
  FuzzedSession(TurningLoop& loop, Fd agent, Handshake answer_handshake) {
    std::filesystem::create_directories(directory());
    auto link = std::make_unique<intproxy::AgentLink>(loop, std::move(agent), "fuzz",
                                                      intproxy::AgentLink::Options{});
    intproxy::AgentLink& waited_for = *link;
    intproxy::AgentLink::Handlers handlers;
    handlers.ready = [] {};
    handlers.lost = [this](const Error& why) {
      if (session_)
        session_->on_agent_lost(why);
    };
    handlers.log = [](proto::LogMessage&&) {};
    link->start(std::move(handlers));
    check(loop.turn_until([&] {
      answer_handshake();
      return waited_for.is_ready() || waited_for.is_lost();
    }));
    if (!waited_for.is_ready())
      return;
    // What is logged is made from what the peers send.
    auto nowhere = log::open_file("/dev/null");
    check(nowhere.has_value());
    log_.add_file(std::move(*nowhere), log::Filter(log::Level::kTrace), log::Format::kJson);
    intproxy::SessionOptions options;
    options.directory = directory();
    options.map_path = [](std::string_view path) {
      return intproxy::MappedPath{local::Decision::kRemote, local::Decision::kLocal,
                                  std::string(path)};
    };
    session_ = std::make_unique<intproxy::Session>(loop, log_, std::move(options), std::move(link));
    check(session_->listen().has_value());
  }
  ~FuzzedSession() {
    session_.reset();
    std::filesystem::remove_all(directory());
  }
  FuzzedSession(const FuzzedSession&) = delete;
  FuzzedSession& operator=(const FuzzedSession&) = delete;

  [[nodiscard]] bool is_ready() const { return session_ != nullptr; }
  [[nodiscard]] bool is_lost() { return session_->agent().is_lost(); }
  static std::string directory() { return std::string(kPlace) + "/session"; }

 private:
  log::Log log_;
  std::unique_ptr<intproxy::Session> session_;
};

}  // namespace mirrord::fuzz
