// net/http/client_stream.h — one HTTP connection to a server: a socket, the engine of
// client_connection.h, and the requests that are on it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/address.h"
#include "net/fd.h"
#include "net/http/client_connection.h"
#include "net/stream.h"

namespace mirrord::net::http {

// Calls of users for requests that have ended do nothing. What comes in one read is told to the users first;
// then each of them hears batch_ended, so that a small answer becomes one message.
class ClientStream : public std::enable_shared_from_this<ClientStream> {
 public:
  // Who has a request on it. Any call may come from within a call of the user's.
  class User {
   public:
    virtual ~User() = default;
    virtual void interim(ResponseHead&& /*head*/) {}  // 1xx other than 101
    virtual void answer(ResponseHead&& head, BodyStart start) = 0;
    virtual void answer_body(std::span<const std::byte> bytes) = 0;
    virtual void answer_end(Headers&& trailers) = 0;
    virtual void batch_ended() = 0;
    virtual void failed(Failure&& failure) = 0;
    virtual void drained() = 0;            // queued() is low again
    virtual void connection_closed() = 0;  // after a complete answer, or a tunnel's end
  };
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual std::span<std::byte> input_space() = 0;   // for one read
    virtual void is_ready(ClientStream& stream) = 0;  // can_request() has become true
    virtual void closing(int socket) = 0;             // before the socket is closed
    virtual void is_over(ClientStream& stream) = 0;   // to be let go
  };

  ClientStream(Loop& loop, Owner& owner, Fd socket, Protocol protocol, const Endpoint& peer);
  ~ClientStream();
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;
  void start();

  // Nothing: this head cannot be written. `user` may hear of a failure before this returns.
  std::optional<ExchangeId> request(User& user, const RequestHead& head, BodyStart start);
  void body(ExchangeId id, std::span<const std::byte> bytes);
  void end(ExchangeId id, const Headers& trailers);
  void consumed(ExchangeId id, std::size_t bytes);
  [[nodiscard]] std::size_t queued(ExchangeId id) const { return http_.queued(id); }
  // The user wants to hear no more; what has not ended is broken off.
  void leave(ExchangeId id);

  // Ends it: every request fails for this reason.
  void give_up(const std::string& why);
  // Nothing is under way: ends well.
  void shut_down();

  [[nodiscard]] bool can_request() const { return !is_closed_ && http_.can_request(); }
  // It will be able to again, once what runs has ended.
  [[nodiscard]] bool is_reusable() const { return !is_closed_ && http_.is_reusable(); }
  [[nodiscard]] bool is_idle() const { return users_.empty() && http_.is_idle(); }
  [[nodiscard]] bool was_used() const { return requests_ > 0; }
  // Looks at the socket: a server that closes an idle connection may have done so a moment ago.
  [[nodiscard]] bool is_still_open() const;
  [[nodiscard]] bool is_closed() const { return is_closed_; }  // only the last bytes leave
  [[nodiscard]] std::size_t queued_bytes() const { return stream_->queued_bytes(); }
  [[nodiscard]] const Endpoint& peer() const { return peer_; }
  [[nodiscard]] int socket() const { return stream_->fd(); }

  // The owner's, for its time limits.
  std::uint64_t since_ms = 0;  // of the connect, then of the last use, then of the end
  bool is_connected = false;

 private:
  [[nodiscard]] User* find(ExchangeId id);
  [[nodiscard]] User* touch(ExchangeId id);
  void read(std::size_t count);
  void lost(const Error& why);
  void request_failed(ExchangeId id, Failure&& failure);
  void http_closed(Close how);
  void flow();
  void settle();

  Owner& owner_;
  Endpoint peer_;
  std::unique_ptr<Stream> stream_;
  ClientConnection http_;
  std::span<std::byte> space_;
  std::unordered_map<ExchangeId, User*> users_;
  User* starting_ = nullptr;  // its request has no id yet
  std::vector<ExchangeId> touched_;
  std::string cause_;  // why the transport failed
  std::size_t requests_ = 0;
  bool is_held_ = false;
  bool is_reading_ = true;
  bool is_closed_ = false;
  bool is_dropped_ = false;  // nothing that is left has to leave
  bool is_reported_ = false;
};

}  // namespace mirrord::net::http
