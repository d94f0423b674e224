// k8s/tunnel_relay.h — carries bytes between a local socket and a pod's port, through a tunnel on an
// upgraded connection; without copies of its own, and with back-pressure both ways.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "k8s/channel_tunnel.h"
#include "k8s/spdy_tunnel.h"
#include "k8s/upgrade.h"
#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::k8s {

using Tunnel = std::variant<ChannelTunnel, SpdyTunnel>;

// Bytes of the pod are read only when those before have been taken by the local socket, and bytes of
// the local socket only when those before have been taken by the connection. Any callback may
// destroy the relay.
class TunnelRelay {
 public:
  struct Options {
    std::string what;  // for messages: "port 61337 of pod default/demo"
    std::chrono::milliseconds open_timeout{30'000};
    std::chrono::milliseconds ping_interval{20'000};
  };
  struct Handlers {
    std::move_only_function<void()> opened;
    std::move_only_function<void(Error why)> ended;  // once, last
  };

  // `line` has answered 101. `local` is a connected UNIX stream socket.
  TunnelRelay(net::Loop& loop, std::unique_ptr<UpgradedLine> line, Tunnel tunnel, Fd local,
              Options options);
  ~TunnelRelay();
  TunnelRelay(const TunnelRelay&) = delete;
  TunnelRelay& operator=(const TunnelRelay&) = delete;

  void start(Handlers handlers);

 private:
  using Event = TunnelEvent;
  enum class Progress { kGoOn, kWait, kGone };  // kGone: the relay may be destroyed

  void run_input();
  void run_output();
  Progress deliver();
  Progress receive();
  Progress handle(Event event);
  bool fill_output();
  void pod_has_ended();
  void queue(std::vector<std::byte> frame);
  void update_interest();
  void watch_over();
  void end_when_silent(std::string why);
  void end(Error why);
  Error error(ErrorCode code, const std::string& why) const;
  Error last_word(const std::string& otherwise) const;

  net::Loop& loop_;
  std::unique_ptr<UpgradedLine> line_;
  Tunnel tunnel_;
  Fd local_;
  Options options_;
  Handlers handlers_;

  std::vector<std::byte> in_;         // what the connection has sent…
  std::span<const std::byte> input_;  // …the part of it that the tunnel has not seen
  std::optional<UpgradedLine::Transfer::State> held_;  // comes after what was received with it
  std::span<const std::byte> for_local_;  // …the part that the local socket has not taken
  std::vector<std::byte> out_;
  std::span<const std::byte> sending_;  // in `out_`, or the first of `replies_`
  bool is_sending_reply_ = false;
  std::deque<std::vector<std::byte>> replies_;

  bool is_open_ = false;
  bool has_ended_ = false;
  bool local_has_ended_ = false;   // sends no more
  bool local_takes_none_ = false;  // it is closed
  bool pod_has_ended_ = false;
  bool has_data_come_ = false;  // since the wait for silence began
  std::size_t budget_ = 0;      // bytes until the loop turns to others
  std::optional<std::string> pod_error_;
  bool has_heard_ = false;  // since the last ping
  int silent_pings_ = 0;

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  net::Timer ping_timer_;
  net::Timer limit_;                               // for the opening, later for the last words
  net::Timer go_on_;                               // after the budget was used up
  std::unique_ptr<net::FdWatcher> local_watcher_;  // after local_: it must go first
};

}  // namespace mirrord::k8s
