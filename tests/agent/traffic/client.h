// tests/agent/traffic/client.h — a blocking client of the agent's wire protocol.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "net/fd.h"
#include "proto/codec.h"
#include "proto/stream_decoder.h"
#include "proto/version.h"

namespace mirrord::test {

class Client {
 public:
  explicit Client(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }

  // False when the agent takes nothing any more.
  bool send(const proto::ClientMessage& message) {
    proto::Bytes bytes;
    if (!proto::encode(message, bytes))
      return false;
    for (std::size_t sent = 0; sent < bytes.size();) {
      const ssize_t count =
          ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (count < 0 && errno != EINTR)
        return false;
      sent += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    return true;
  }

  // The next message that arrives within the time, set-aside ones first.
  std::optional<proto::DaemonMessage> receive(std::chrono::milliseconds patience = kPatience) {
    if (!set_aside_.empty()) {
      auto message = std::move(set_aside_.front());
      set_aside_.pop_front();
      return message;
    }
    return receive_new(patience);
  }

  // The next message that `is_wanted`; others are kept for later.
  std::optional<proto::DaemonMessage> receive_if(
      const std::function<bool(const proto::DaemonMessage&)>& is_wanted,
      std::chrono::milliseconds patience = kPatience) {
    for (auto kept = set_aside_.begin(); kept != set_aside_.end(); ++kept) {
      if (is_wanted(*kept)) {
        auto message = std::move(*kept);
        set_aside_.erase(kept);
        return message;
      }
    }
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      auto message = receive_new(std::max(left, std::chrono::milliseconds(0)));
      if (!message || is_wanted(*message))
        return message;
      set_aside_.push_back(std::move(*message));
    }
  }

  // Announces a version and waits for the answer.
  bool shake_hands(const proto::SemVer& version = proto::own_version()) {
    return send(proto::ClientMessage::make<"SwitchProtocolVersion">(version)) &&
           receive_if([](const proto::DaemonMessage& message) {
             return message.is<"SwitchProtocolVersionResponse">();
           }).has_value();
  }

  static constexpr std::chrono::milliseconds kPatience{20'000};

 private:
  std::optional<proto::DaemonMessage> receive_new(std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (true) {
      auto message = decoder_.next();
      if (!message)
        return std::nullopt;
      if (*message)
        return std::move(**message);
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd ready{socket_.get(), POLLIN, 0};
      if (::poll(&ready, 1, static_cast<int>(std::max<long>(left.count(), 0))) <= 0)
        return std::nullopt;
      const std::span<std::byte> space = decoder_.writable();
      const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), 0);
      if (count <= 0)
        return std::nullopt;
      decoder_.commit(static_cast<std::size_t>(count));
    }
  }

  Fd socket_;
  proto::DaemonStreamDecoder decoder_;
  std::deque<proto::DaemonMessage> set_aside_;
};

}  // namespace mirrord::test
