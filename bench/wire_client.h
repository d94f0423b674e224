// bench/wire_client.h — a blocking client of the agent's wire protocol, for measuring an agent alone.
#pragma once

#include <string>

#include "proto/codec.h"
#include "proto/stream_decoder.h"

namespace mirrord::bench {

// Ends the benchmark with a message when the connection fails or the answer is not what was asked.
class WireClient {
 public:
  // Connects to 127.0.0.1:`port` and settles the version. `announce` e.g. "1.29.0".
  WireClient(std::uint16_t port, const std::string& announce);
  ~WireClient();
  WireClient(const WireClient&) = delete;
  WireClient& operator=(const WireClient&) = delete;

  void send(proto::ClientMessage message);
  void send_raw(const proto::Bytes& bytes);
  proto::DaemonMessage receive();
  // The next file answer of the given case.
  template <proto::FixedString Name>
  auto receive_file() {
    proto::DaemonMessage message = receive();
    auto* file = message.get_if<"File">();
    auto* answer = file != nullptr ? file->template get_if<Name>() : nullptr;
    if (answer == nullptr) {
      give_up("an unexpected answer");
    }
    return std::move(*answer);
  }
  [[noreturn]] static void give_up(const std::string& why);
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  proto::DaemonStreamDecoder decoder_;
};

proto::Bytes encode(const proto::ClientMessage& message);

}  // namespace mirrord::bench
