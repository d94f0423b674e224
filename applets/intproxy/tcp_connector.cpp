// applets/intproxy/tcp_connector.cpp — looks the host up, tries its addresses one after the other.
#include "applets/intproxy/tcp_connector.h"

#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "net/address.h"
#include "net/dns.h"

namespace mirrord::intproxy {
namespace {

using std::chrono::milliseconds;

constexpr char kHint[] = "Check that the agent listens there and that nothing filters the port.";

class TcpConnector final : public AgentConnector {
 public:
  TcpConnector(net::Loop& loop, std::string address, std::string host, std::uint16_t port)
      : loop_(loop),
        address_(std::move(address)),
        host_(std::move(host)),
        port_(port),
        tried_("connect to the agent at " + address_),
        resolver_(loop, Fd()),
        timer_(loop) {}
  ~TcpConnector() override { *alive_ = false; }

  void reopen(milliseconds limit, Done done) override {
    done_ = std::move(done);
    endpoints_.clear();
    next_ = 0;
    error_ = {};
    timer_.start(limit, [this] { conclude(fail_system(tried_, ETIMEDOUT, kHint)); });
    if (const auto ip = net::IpAddress::parse(host_)) {
      endpoints_.push_back({*ip, port_});
      connect_next();
      return;
    }
    resolver_.lookup(host_, net::DnsFamily::kBoth, [this, alive = alive_](net::DnsAnswer found) {
      if (*alive && done_) {
        take_addresses(found.value_or(std::vector<net::DnsRecord>()));
      }
    });
  }

 private:
  void take_addresses(const std::vector<net::DnsRecord>& records) {
    for (const net::DnsRecord& record : records) {
      endpoints_.push_back({record.address, port_});
    }
    if (endpoints_.empty()) {
      // A name server may be out of reach for a while: not final.
      conclude(fail(ErrorCode::kDisconnected, tried_ + ": the name " + host_ + " has no address",
                    "Check its spelling, or give the agent's address."));
      return;
    }
    connect_next();
  }

  void connect_next() {
    watcher_.reset();
    if (next_ == endpoints_.size()) {
      conclude(std::unexpected(std::move(error_)));
      return;
    }
    const net::Endpoint& endpoint = endpoints_[next_++];
    socket_ = Fd(::socket(endpoint.ip.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_storage storage{};
    const socklen_t size = endpoint.to_sockaddr(storage);
    if (!socket_.is_open() ||
        (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&storage), size) != 0 &&
         errno != EINPROGRESS)) {
      error_ = system_error(tried_, errno, kHint);
      loop_.defer([this, alive = alive_] {
        if (*alive && done_) {
          connect_next();
        }
      });
      return;
    }
    watcher_ =
        std::make_unique<net::FdWatcher>(loop_, socket_.get(), [this](int) { on_connected(); });
    watcher_->watch(net::FdWatcher::kWritable);
  }

  void on_connected() {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      error_ = system_error(tried_, error, kHint);
      connect_next();
      return;
    }
    watcher_.reset();
    conclude(ReopenedStream{std::move(socket_), "the agent at " + address_, ""});
  }

  void conclude(Result<ReopenedStream> result) {
    timer_.stop();
    watcher_.reset();
    socket_.reset();
    // Never from inside reopen().
    loop_.defer([done = std::exchange(done_, nullptr), result = std::move(result),
                 alive = alive_]() mutable {
      if (*alive) {
        done(std::move(result));
      }
    });
  }

  net::Loop& loop_;
  std::string address_;
  std::string host_;
  std::uint16_t port_;
  std::string tried_;
  net::Resolver resolver_;
  net::Timer timer_;
  Done done_;
  std::vector<net::Endpoint> endpoints_;
  std::size_t next_ = 0;
  Error error_;
  Fd socket_;
  std::unique_ptr<net::FdWatcher> watcher_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<AgentConnector>> make_tcp_connector(net::Loop& loop, std::string address) {
  const std::size_t colon = address.rfind(':');
  std::uint16_t port = 0;
  std::string host = address.substr(0, colon);
  const char* end = address.data() + address.size();
  const bool is_numbered = colon != std::string::npos &&
                           std::from_chars(address.data() + colon + 1, end, port).ptr == end &&
                           port != 0;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  if (!is_numbered || host.empty()) {
    return fail(ErrorCode::kUsage, "connect to the agent at " + address + ": this is not HOST:PORT",
                "Write it as 10.0.0.1:61337, [fd00::1]:61337 or agent.example:61337.");
  }
  return std::make_unique<TcpConnector>(loop, std::move(address), std::move(host), port);
}

}  // namespace mirrord::intproxy
