// applets/intproxy/http_exchange.h — one request that reached the target: from the agent's messages to the
// program, and the answer back.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "net/address.h"
#include "net/http/client_stream.h"
#include "net/http/message.h"
#include "proto/hints.h"
#include "proto/tcp.h"

namespace mirrord::intproxy {

class HttpDelivery;

// The answer goes back in the most capable form that the agent's version knows: in pieces while it comes,
// else whole. It leaves out 1xx heads: agents say "100 Continue" by themselves. After a 101 the request's
// connection carries raw bytes. A mirrored request's answer goes nowhere.
class HttpExchange final : public net::http::ClientStream::User {
 public:
  struct Id {
    AgentLink::Outgoing kind;  // kStolen or kMirrored: ids of their own
    proto::ConnectionId connection;
    proto::RequestId request;
    friend auto operator<=>(const Id&, const Id&) = default;
  };
  struct Request {
    Id id;
    proto::Port port;            // of the target
    net::Endpoint remote;        // the client
    net::IpAddress local;        // what it connected to
    proto::HttpVersion version;  // as the agent said it, for an answer of our own
    proto::IncomingTrafficTransportType transport;  // that it came over
    Result<net::http::RequestHead> head;
  };
  using Frames = std::vector<proto::InternalHttpBodyFrame>;

  HttpExchange(HttpDelivery& hub, Request&& request);
  ~HttpExchange() override = default;
  HttpExchange(const HttpExchange&) = delete;
  HttpExchange& operator=(const HttpExchange&) = delete;

  [[nodiscard]] const Request& request() const { return request_; }
  [[nodiscard]] bool is_over() const { return is_over_; }
  // For the program, and not in its socket's queue.
  [[nodiscard]] std::size_t queued_bytes() const;
  // The agent is done with it and the program is not: how long that may go on, or 0.
  [[nodiscard]] std::uint64_t detached_until_ms() const { return detached_until_ms_; }

  // From the agent.
  void start(Frames&& frames, bool is_last);
  void more(Frames&& frames, bool is_last);
  void data_came(const proto::Bytes& bytes);  // empty: the end
  void take_close(proto::Hint hint);
  // No answer will be wanted any more: what runs is broken off.
  void drop();

  // A body up to this is kept while the request may have to be sent again.
  static constexpr std::size_t kReplayCap = 256 * 1024;
  // A mirrored request whose program has left this much unread is given up.
  static constexpr std::size_t kMirrorCap = 8 << 20;
  // What the agent is done with may go on for: a copy's answer, and the last bytes of a tunnel.
  static constexpr std::uint64_t kCopyMs = 600'000;
  static constexpr std::uint64_t kLastBytesMs = 30'000;
  // A whole answer, for agents that take no pieces.
  static constexpr std::size_t kWholeAnswerCap = 64 << 20;

 private:
  void answer(net::http::ResponseHead&& head, net::http::BodyStart start) override;
  void answer_body(std::span<const std::byte> bytes) override;
  void answer_end(net::http::Headers&& trailers) override;
  void batch_ended() override;
  void failed(net::http::Failure&& failure) override;
  void drained() override;
  void connection_closed() override;

  void dispatch(bool is_again);
  void take_frames(Frames&& frames, proto::Bytes& bytes);
  void note_end(bool is_last);
  [[nodiscard]] bool may_repeat(const net::http::Failure& failure) const;
  void forget_replay();
  void hold_agent_if_slow(std::size_t size);
  void pass_on();
  void send_whole_answer();
  void send_piece();
  void account(std::size_t bytes);
  void release();
  void refuse(const std::string& why);
  void finish();
  void finish_if_done();
  [[nodiscard]] bool is_heard() const;
  void send(proto::LayerTcpSteal&& message);
  void send_data(proto::Bytes&& bytes);
  void send_close(proto::Hint hint);

  HttpDelivery& hub_;
  AgentLink::Sender sender_;
  Request request_;
  std::shared_ptr<net::http::ClientStream> program_;
  net::http::ExchangeId exchange_ = 0;

  // The request.
  proto::Bytes replay_;  // all of the body so far
  net::http::Headers trailers_;
  bool has_body_ = true;
  bool is_request_complete_ = false;
  bool may_be_repeated_ = false;
  int attempts_ = 0;
  bool is_pausing_agent_ = false;

  // The answer.
  std::optional<net::http::ResponseHead> answer_;  // that the agent has not got yet
  proto::Bytes pending_;                           // the same of its body
  net::http::Headers answer_trailers_;
  bool has_answer_ = false;
  bool is_answer_complete_ = false;
  bool is_answer_begun_ = false;  // the agent has its head
  std::size_t counted_ = 0;       // of pending_, in unconsumed_ already
  std::size_t unconsumed_ = 0;    // on the way to the agent; the program waits for it
  bool is_paused_by_agent_ = false;

  bool is_tunnel_ = false;
  bool has_remote_ended_ = false;
  bool has_program_ended_ = false;
  bool is_end_sent_ = false;
  std::uint64_t detached_until_ms_ = 0;
  bool is_over_ = false;
};

}  // namespace mirrord::intproxy
