// net/tls.h — TLS over a connected socket, for a user who goes on with a plain one.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"
#include "net/tls_context.h"

namespace mirrord::net {

// Encrypts between a socket towards the peer and one end of a socket pair, whose other end the user
// has. What is not taken by one side is not read from the other. The end of what the user sends
// becomes a close_notify, and the peer's close_notify the end of what the user receives. Lives on the
// loop's thread; any callback may destroy it. Destroyed, it breaks both sides off.
class TlsPump {
 public:
  struct Handlers {
    // The peer is who it should be; `alpn` is the protocol agreed on, or empty. Optional.
    std::move_only_function<void(std::string_view alpn)> ready;
    // Once, last: both directions have ended in good order, or why not (handshake, reset, an end
    // without close_notify, broken records). Optional.
    std::move_only_function<void(std::optional<Error> why)> ended;
  };
  static constexpr std::chrono::milliseconds kHandshakeTimeout{10'000};

  // `socket` is a connected stream socket; `peer_name` is for messages.
  TlsPump(Loop& loop, std::shared_ptr<TlsContext> context, Fd socket, std::string peer_name);
  ~TlsPump();
  TlsPump(const TlsPump&) = delete;
  TlsPump& operator=(const TlsPump&) = delete;

  // Call once. The user's socket; bytes may be written to it before the handshake is over.
  Result<Fd> start(Handlers handlers,
                   std::chrono::milliseconds handshake_limit = kHandshakeTimeout);
  // As a server: the name that the client has asked for, once `ready`; may be empty.
  [[nodiscard]] const std::string& server_name() const;
  // The user has closed its socket: what it has written still leaves, then `ended` is called without
  // waiting for the peer; after `limit` in any case.
  void finish(std::chrono::milliseconds limit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mirrord::net
