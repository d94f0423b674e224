// tests/unit/net/listener_test.cpp — listeners: families, shortage of descriptors, an end in the middle.
#include "net/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

namespace mirrord::net {
namespace {

const Endpoint kAnywhere{IpAddress{.is_v6 = true}, 0};

Fd connect_to(const Endpoint& endpoint) {
  sockaddr_storage storage;
  const socklen_t length = endpoint.to_sockaddr(storage);
  Fd socket(::socket(endpoint.ip.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    socket.reset();
  }
  return socket;
}

Endpoint on_loopback(int listener, bool is_v6) {
  const IpAddress loopback = is_v6 ? IpAddress::v6_loopback() : IpAddress::v4(127, 0, 0, 1);
  return {loopback, local_endpoint(listener).value_or(Endpoint()).port};
}

class ListenerTest : public ::testing::Test {
 protected:
  // Runs the loop until so many connections have come, but not for ever.
  void await(std::size_t count, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    bool is_over = false;
    Timer timer(loop_);
    timer.start(limit, [&] { is_over = true; });
    loop_.run_until([&] { return accepted_.size() >= count || is_over; });
  }

  Listener::Accepted keep() {
    return [this](Fd socket, const sockaddr_storage& peer) {
      accepted_.push_back(std::move(socket));
      peer_ = Endpoint::from_sockaddr(peer);
    };
  }

  Loop loop_;
  std::vector<Fd> accepted_;
  std::optional<Endpoint> peer_;
};

TEST_F(ListenerTest, BothFamiliesComeToTheUnspecifiedAddress) {
  auto socket = listen_tcp(kAnywhere, 8);
  ASSERT_TRUE(socket) << socket.error().what;
  const Listener listener(loop_, std::move(*socket), keep());
  const Fd v4 = connect_to(on_loopback(listener.fd(), false));
  const Fd v6 = connect_to(on_loopback(listener.fd(), true));
  ASSERT_TRUE(v4 && v6);
  await(2);
  ASSERT_EQ(accepted_.size(), 2U);
  EXPECT_EQ(peer_, local_endpoint(v6.get()));
  const int flags = ::fcntl(accepted_[0].get(), F_GETFL);
  EXPECT_NE(flags & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(accepted_[0].get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(ListenerTest, OneForIpv6OnlyRefusesIpv4) {
  auto socket = listen_tcp(kAnywhere, 8, {}, Ipv6Listener::kIpv6Only);
  ASSERT_TRUE(socket) << socket.error().what;
  EXPECT_FALSE(connect_to(on_loopback(socket->get(), false)));
  EXPECT_TRUE(connect_to(on_loopback(socket->get(), true)));
}

TEST_F(ListenerTest, ATakenPortIsNamedWithTheHint) {
  const Endpoint loopback{IpAddress::v4(127, 0, 0, 1), 0};
  const auto first = listen_tcp(loopback, 8);
  ASSERT_TRUE(first) << first.error().what;
  const Endpoint taken = local_endpoint(first->get()).value_or(loopback);
  const auto second = listen_tcp(taken, 8, "Choose another.");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().what, "listen at " + taken.to_string() + ": Address already in use");
  EXPECT_EQ(second.error().hint, "Choose another.");
}

TEST_F(ListenerTest, APortWithDyingConnectionsIsTakenAgain) {
  auto socket = listen_tcp({IpAddress::v4(127, 0, 0, 1), 0}, 8);
  ASSERT_TRUE(socket) << socket.error().what;
  const Endpoint here = on_loopback(socket->get(), false);
  auto listener = std::make_unique<Listener>(loop_, std::move(*socket), keep());
  Fd client = connect_to(here);
  await(1);
  accepted_.clear();  // ends first: the port keeps its TIME-WAIT
  client.reset();
  listener.reset();
  const auto again = listen_tcp(here, 8);
  EXPECT_TRUE(again) << again.error().what;
}

TEST_F(ListenerTest, ConnectionsWaitWhileThereAreNoDescriptors) {
  auto socket = listen_tcp(kAnywhere, 8);
  ASSERT_TRUE(socket) << socket.error().what;
  const Listener listener(loop_, std::move(*socket), keep());
  const Fd client = connect_to(on_loopback(listener.fd(), true));
  ASSERT_TRUE(client);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit few{256, limit.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  std::vector<Fd> all;
  for (int fd = ::dup(client.get()); fd >= 0; fd = ::dup(client.get())) {
    all.emplace_back(fd);
  }
  ASSERT_EQ(errno, EMFILE);
  int rounds = 0;
  const std::uint64_t begin = loop_.now_ms();
  loop_.run_until([&] { return loop_.now_ms() - begin > 250 || ++rounds > 1000; });
  EXPECT_LT(rounds, 50) << "it spins";
  EXPECT_TRUE(accepted_.empty());
  all.clear();
  ::setrlimit(RLIMIT_NOFILE, &limit);
  await(1);
  EXPECT_EQ(accepted_.size(), 1U);
}

TEST_F(ListenerTest, AConnectionMayEndIt) {
  auto socket = listen_tcp(kAnywhere, 8);
  ASSERT_TRUE(socket) << socket.error().what;
  const Endpoint here = on_loopback(socket->get(), true);
  std::unique_ptr<Listener> listener;
  listener = std::make_unique<Listener>(loop_, std::move(*socket),
                                        [&](Fd connection, const sockaddr_storage&) {
                                          listener.reset();
                                          accepted_.push_back(std::move(connection));
                                        });
  const Fd first = connect_to(here);
  const Fd second = connect_to(here);
  await(2, std::chrono::milliseconds(100));
  EXPECT_EQ(accepted_.size(), 1U);
  EXPECT_FALSE(connect_to(here));
}

}  // namespace
}  // namespace mirrord::net
