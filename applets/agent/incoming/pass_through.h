// applets/agent/incoming/pass_through.h — a redirected connection that goes on to the target as it is.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "applets/agent/incoming/mirror.h"
#include "applets/agent/incoming/upstream.h"
#include "net/stream.h"
#include "proto/receive_buffer.h"

namespace mirrord::agent {

// Joins the peer and the target: bytes, half-closes, resets, and the pace of the slower side. What
// the peer sends is copied to mirrors.
class PassThrough {
 public:
  using Copies = std::vector<std::unique_ptr<MirrorCopy>>;

  // `ended` is called once, last, and must not destroy the object before it has returned. `buffer` is
  // the space that all connections of the loop receive into.
  PassThrough(net::Loop& loop, proto::ReceiveBuffer& buffer, Fd peer, Upstream upstream,
              Copies copies, net::Callback ended);
  PassThrough(const PassThrough&) = delete;
  PassThrough& operator=(const PassThrough&) = delete;

 private:
  void connected(Result<Fd> upstream);
  void start_side(std::unique_ptr<net::Stream>& from, std::unique_ptr<net::Stream>& to);
  void received(net::Stream& from, net::Stream& to, std::size_t count);
  void ended(const net::Stream& from, net::Stream& to);
  void failed(net::Stream& other);
  void finish_if_done();
  void finish();

  net::Loop& loop_;
  proto::ReceiveBuffer& buffer_;
  std::span<std::byte> space_;  // of `buffer_`, for the read under way
  Fd waiting_peer_;             // until the target has answered
  std::unique_ptr<UpstreamConnect> connect_;
  std::unique_ptr<net::Stream> peer_;
  std::unique_ptr<net::Stream> target_;
  Copies copies_;
  int ends_ = 0;  // directions that are written to their end
  bool is_over_ = false;
  net::Callback ended_;
};

}  // namespace mirrord::agent
