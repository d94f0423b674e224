// applets/intproxy/stream_taker.cpp — asks for streams, one at a time.
#include "applets/intproxy/stream_taker.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "applets/intproxy/stream_packet.h"
#include "net/unix_socket.h"

namespace mirrord::intproxy {
namespace {

using std::chrono::milliseconds;

class StreamTaker final : public AgentConnector {
 public:
  StreamTaker(net::Loop& loop, Fd server, const StreamPacket& hello)
      : loop_(loop),
        server_(std::move(server)),
        replaces_agents_(hello.texts[1] == "1"),
        reopen_limit_(number_of(hello.texts[2])),
        watcher_(std::make_unique<net::FdWatcher>(loop, server_.get(), [this](int) { receive(); })),
        timer_(loop) {
    watcher_->watch(net::FdWatcher::kReadable);
  }
  ~StreamTaker() override { *alive_ = false; }

  void reopen(milliseconds limit, Done done) override {
    done_ = std::move(done);
    const Status asked = send_stream_packet(server_.get(), StreamPacketKind::kReopen,
                                            {std::to_string(limit.count())});
    if (!asked) {
      conclude(std::unexpected(gone()));
      return;
    }
    // The server keeps to the limit; it itself may be stuck.
    timer_.start(limit + milliseconds(500),
                 [this] { conclude(fail_system("get a stream to the agent", ETIMEDOUT)); });
  }
  void accepted() override {
    static_cast<void>(send_stream_packet(server_.get(), StreamPacketKind::kAccepted, {}));
  }
  bool replaces_agents() const override { return replaces_agents_; }
  void set_events(Events events) override { events_ = std::move(events); }
  milliseconds reopen_limit() const override { return reopen_limit_; }

 private:
  static Error gone() {
    return {ErrorCode::kNotFound, "the mirrord command that holds the agent has ended", {}, 0};
  }

  void receive() {
    auto packet = receive_stream_packet(server_.get());
    if (!packet) {
      if (packet.error().sys != EAGAIN) {
        watcher_->watch(net::FdWatcher::kNone);
        conclude(std::unexpected(gone()));
      }
      return;
    }
    if (packet->kind == StreamPacketKind::kStream && packet->descriptor &&
        packet->texts.size() == 2) {
      conclude(ReopenedStream{std::move(packet->descriptor), packet->texts[0], packet->texts[1]});
    } else if (packet->kind == StreamPacketKind::kFailure) {
      conclude(std::unexpected(error_of(packet->texts)));
    } else if (packet->kind == StreamPacketKind::kLeave && events_.leave) {
      events_.leave(packet->texts.empty() ? "" : packet->texts[0]);
    }
  }

  // Never from inside reopen().
  void conclude(Result<ReopenedStream> result) {
    timer_.stop();
    if (!done_) {
      return;
    }
    loop_.defer([done = std::exchange(done_, nullptr), result = std::move(result),
                 alive = alive_]() mutable {
      if (*alive) {
        done(std::move(result));
      }
    });
  }

  net::Loop& loop_;
  Fd server_;
  bool replaces_agents_;
  milliseconds reopen_limit_;
  std::unique_ptr<net::FdWatcher> watcher_;
  net::Timer timer_;
  Done done_;
  Events events_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<StreamTaking> take_streams(net::Loop& loop, const std::string& path, milliseconds timeout) {
  const std::string tried = "connect to the mirrord command that holds the agent (" + path + ")";
  const auto address = net::unix_address(path);
  if (!address) {
    return fail(ErrorCode::kUsage, tried + ": the path is too long for a socket");
  }
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return fail_system(tried, errno);
  }
  pollfd readable{socket.get(), POLLIN, 0};
  if (::poll(&readable, 1, static_cast<int>(timeout.count())) <= 0) {
    return fail_system(tried, ETIMEDOUT);
  }
  MIRRORD_TRY(hello, receive_stream_packet(socket.get()));
  if (hello.kind != StreamPacketKind::kHello || hello.texts.size() != 3) {
    return fail(ErrorCode::kPeer, tried + ": it is no such command");
  }
  const bool can_reopen = hello.texts[0] == "1";
  return StreamTaking{std::make_unique<StreamTaker>(loop, std::move(socket), hello), can_reopen};
}

}  // namespace mirrord::intproxy
