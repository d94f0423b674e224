// applets/intproxy/http_program.h — one HTTP connection to a program: a socket, the engine of net/http, and
// the requests that are on it.
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

namespace mirrord::intproxy {

// Calls of users for requests that have ended do nothing. What comes in one read is told to the users first;
// then each of them hears batch_ended, so that a small answer becomes one message.
class HttpProgram : public std::enable_shared_from_this<HttpProgram> {
 public:
  // Who has a request on it. Any call may come from within a call of the user's.
  class User {
   public:
    virtual ~User() = default;
    virtual void response(net::http::ResponseHead&& head, net::http::BodyStart start) = 0;
    virtual void body(std::span<const std::byte> bytes) = 0;
    virtual void body_end(net::http::Headers&& trailers) = 0;
    virtual void batch_ended() = 0;
    virtual void failed(net::http::Failure&& failure) = 0;
    virtual void drained() = 0;            // queued() is low again
    virtual void connection_closed() = 0;  // after a complete answer, or a tunnel's end
  };
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual std::span<std::byte> input_space() = 0;   // for one read
    virtual void is_ready(HttpProgram& program) = 0;  // can_request() has become true
    virtual void closing(int socket) = 0;             // before the socket is closed
    virtual void is_over(HttpProgram& program) = 0;   // to be let go
  };

  HttpProgram(net::Loop& loop, Owner& owner, Fd socket, net::http::Protocol protocol,
              const net::Endpoint& peer);
  ~HttpProgram();
  HttpProgram(const HttpProgram&) = delete;
  HttpProgram& operator=(const HttpProgram&) = delete;
  void start();

  // Nothing: this head cannot be written. `user` may hear of a failure before this returns.
  std::optional<net::http::ExchangeId> request(User& user, const net::http::RequestHead& head,
                                               net::http::BodyStart start);
  void body(net::http::ExchangeId id, std::span<const std::byte> bytes);
  void end(net::http::ExchangeId id, const net::http::Headers& trailers);
  void consumed(net::http::ExchangeId id, std::size_t bytes);
  [[nodiscard]] std::size_t queued(net::http::ExchangeId id) const { return http_.queued(id); }
  // The user wants to hear no more; what has not ended is broken off.
  void leave(net::http::ExchangeId id);

  // Ends it: every request fails for this reason.
  void give_up(const std::string& why);
  // Nothing is under way: ends well.
  void shut_down();

  [[nodiscard]] bool can_request() const { return !is_closed_ && http_.can_request(); }
  [[nodiscard]] bool is_idle() const { return users_.empty() && http_.is_idle(); }
  [[nodiscard]] bool was_used() const { return requests_ > 0; }
  // Looks at the socket: a server that closes an idle connection may have done so a moment ago.
  [[nodiscard]] bool is_still_open() const;
  [[nodiscard]] bool is_closed() const { return is_closed_; }  // only the last bytes leave
  [[nodiscard]] std::size_t queued_bytes() const { return stream_->queued_bytes(); }
  [[nodiscard]] const net::Endpoint& peer() const { return peer_; }
  [[nodiscard]] int socket() const { return stream_->fd(); }

  // The owner's, for its time limits.
  std::uint64_t since_ms = 0;  // of the connect, then of the last use, then of the end
  bool is_connected = false;

 private:
  [[nodiscard]] User* find(net::http::ExchangeId id);
  [[nodiscard]] User* touch(net::http::ExchangeId id);
  void read(std::size_t count);
  void lost(const Error& why);
  void request_failed(net::http::ExchangeId id, net::http::Failure&& failure);
  void http_closed(net::http::Close how);
  void flow();
  void settle();

  Owner& owner_;
  net::Endpoint peer_;
  std::unique_ptr<net::Stream> stream_;
  net::http::ClientConnection http_;
  std::span<std::byte> space_;
  std::unordered_map<net::http::ExchangeId, User*> users_;
  User* starting_ = nullptr;  // its request has no id yet
  std::vector<net::http::ExchangeId> touched_;
  std::string cause_;  // why the transport failed
  std::size_t requests_ = 0;
  bool is_held_ = false;
  bool is_reading_ = true;
  bool is_closed_ = false;
  bool is_dropped_ = false;  // nothing that is left has to leave
  bool is_reported_ = false;
};

}  // namespace mirrord::intproxy
