// applets/agent/incoming/pass_through.cpp — the relay between a peer and the target.
#include "applets/agent/incoming/pass_through.h"

#include <utility>

namespace mirrord::agent {

PassThrough::PassThrough(net::Loop& loop, proto::ReceiveBuffer& buffer, Fd peer, Upstream upstream,
                         Copies copies, net::Callback ended)
    : loop_(loop),
      buffer_(buffer),
      waiting_peer_(std::move(peer)),
      copies_(std::move(copies)),
      ended_(std::move(ended)) {
  connect_ = std::make_unique<UpstreamConnect>(loop, std::move(upstream));
  auto outcome = connect_->start([this](Result<Fd> late) { connected(std::move(late)); });
  if (outcome)
    connected(std::move(*outcome));
}

// A target that nobody listens on has refused the connection, as far as the peer can be told now.
void PassThrough::connected(Result<Fd> upstream) {
  peer_ = std::make_unique<net::Stream>(loop_, std::move(waiting_peer_), "the remote client");
  if (!upstream) {
    peer_->reset_on_close();
    return finish();
  }
  target_ = std::make_unique<net::Stream>(loop_, std::move(*upstream), "the target");
  start_side(peer_, target_);
  start_side(target_, peer_);
}

void PassThrough::start_side(std::unique_ptr<net::Stream>& from, std::unique_ptr<net::Stream>& to) {
  net::Stream& source = *from;
  net::Stream& sink = *to;
  net::Stream::Handlers handlers;
  handlers.buffer = [this] {
    space_ = buffer_.space();
    return net::Stream::Space(space_);
  };
  handlers.received = [this, &source, &sink](std::size_t n) { received(source, sink, n); };
  handlers.ended = [this, &source, &sink] { ended(source, sink); };
  handlers.failed = [this, &sink](const Error&) { failed(sink); };
  handlers.drained = [&sink] { sink.resume_reading(); };
  handlers.finished = [this] { finish_if_done(); };
  source.start(std::move(handlers));
}

void PassThrough::received(net::Stream& from, net::Stream& to, std::size_t count) {
  const std::span<const std::byte> bytes = space_.first(count);
  if (&from == peer_.get()) {
    for (const auto& copy : copies_)
      copy->data(bytes);
  }
  to.write_now(bytes);
  if (!is_over_ && to.is_above_high_mark())
    from.pause_reading();
}

void PassThrough::ended(const net::Stream& from, net::Stream& to) {
  if (&from == peer_.get()) {
    for (const auto& copy : copies_)
      copy->data({});
  }
  to.finish_writing();
}

// Whatever broke one side breaks the other; what came before it still goes out.
void PassThrough::failed(net::Stream& other) {
  other.flush();
  other.reset_on_close();
  finish();
}

void PassThrough::finish_if_done() {
  if (++ends_ == 2)
    finish();
}

void PassThrough::finish() {
  if (!std::exchange(is_over_, true)) {
    copies_.clear();
    ended_();
  }
}

}  // namespace mirrord::agent
