// tests/unit/net/tls_test.cpp — TLS pumps against each other and against peers that break off, lie
// and talk something else.
#include "net/tls.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "tests/support/sockets.h"

namespace mirrord::net {
namespace {

using test::pattern;
using test::read_up_to;
using test::socket_pair;
using test::write_all;

using std::chrono::milliseconds;

constexpr const char* kName = "agent.test";

// One side of a TLS connection and what it reported.
struct Side {
  std::unique_ptr<TlsPump> pump;
  Fd user;
  bool is_ready = false, has_ended = false;
  std::string alpn;
  std::optional<Error> error;
};

class TlsTest : public ::testing::Test {
 protected:
  static const TlsIdentity& identity() {
    static const TlsIdentity made = *make_tls_identity(kName);
    return made;
  }
  static TlsOptions server_options() {
    return {.role = TlsRole::kServer, .certificate = identity().certificate, .key = identity().key};
  }
  static TlsOptions client_options() {
    return {.role = TlsRole::kClient, .trusted = identity().certificate, .peer_name = kName};
  }

  void start(Side& side, TlsOptions options, Fd socket,
             milliseconds limit = TlsPump::kHandshakeTimeout) {
    auto context = TlsContext::make(std::move(options));
    ASSERT_TRUE(context) << context.error().what;
    side.pump = std::make_unique<TlsPump>(loop_, *context, std::move(socket), "the other side");
    TlsPump::Handlers handlers;
    handlers.ready = [&side](std::string_view alpn) {
      side.is_ready = true;
      side.alpn = alpn;
    };
    handlers.ended = [this, &side](std::optional<Error> why) {
      side.has_ended = true;
      side.error = std::move(why);
      ++ends_;
      if (ends_ == ends_expected_) {
        loop_.stop();
      }
    };
    auto user = side.pump->start(std::move(handlers), limit);
    ASSERT_TRUE(user);
    side.user = std::move(*user);
  }

  // Until as many pumps have ended.
  void run_until_ends(int count) {
    ends_expected_ = count;
    Timer limit(loop_);
    limit.start(std::chrono::seconds(30), [this] { loop_.stop(); });
    if (ends_ < count) {
      loop_.run();
    }
    EXPECT_GE(ends_, count);
  }

  Loop loop_;
  Side client_, server_;
  int ends_ = 0, ends_expected_ = 0;
};

TEST_F(TlsTest, CarriesExactBytesBothWaysPastSlowReaders) {
  auto [one, other] = socket_pair();
  start(client_, client_options(), std::move(one));
  start(server_, server_options(), std::move(other));
  const std::string up = pattern(4'000'000, 1);
  const std::string down = pattern(7'000'000, 2);
  std::string got_up;
  std::string got_down;
  std::thread users([&] {
    std::thread up_writer([&] {
      write_all(client_.user.get(), up);
      ::shutdown(client_.user.get(), SHUT_WR);
    });
    std::thread down_writer([&] {
      write_all(server_.user.get(), down);
      ::shutdown(server_.user.get(), SHUT_WR);
    });
    std::thread down_reader([&] {
      got_down = read_up_to(client_.user.get(), down.size() + 1, 50'000, milliseconds(1));
    });
    got_up = read_up_to(server_.user.get(), up.size() + 1, 3'000);
    up_writer.join();
    down_writer.join();
    down_reader.join();
  });
  run_until_ends(2);
  users.join();
  EXPECT_TRUE(got_up == up) << got_up.size();
  EXPECT_TRUE(got_down == down) << got_down.size();
  EXPECT_TRUE(client_.is_ready && server_.is_ready);
  EXPECT_FALSE(client_.error) << client_.error->what;
  EXPECT_FALSE(server_.error) << server_.error->what;
}

TEST_F(TlsTest, EndsWhenItsUserHasClosedWithoutWaitingForThePeer) {
  auto [one, other] = socket_pair();
  start(client_, client_options(), std::move(one));
  start(server_, server_options(), std::move(other));
  std::thread user([&] {
    write_all(server_.user.get(), "hello");
    EXPECT_EQ(read_up_to(client_.user.get(), 5), "hello");
    server_.user.reset();  // the client goes on sending nothing
  });
  run_until_ends(1);
  user.join();
  EXPECT_TRUE(server_.has_ended);
  EXPECT_FALSE(server_.error);
}

TEST_F(TlsTest, TellsAServerWhatItsClientAskedFor) {
  auto [one, other] = socket_pair();
  TlsOptions client = client_options();
  client.alpn = {"h2", "http/1.1"};
  TlsOptions server = server_options();
  server.alpn = {"http/1.1"};
  start(client_, client, std::move(one));
  start(server_, server, std::move(other));
  client_.user.reset();
  server_.user.reset();
  run_until_ends(2);
  EXPECT_EQ(server_.pump->server_name(), kName);
  EXPECT_EQ(server_.alpn, "http/1.1");
  EXPECT_EQ(client_.alpn, "http/1.1");
}

TEST_F(TlsTest, AcceptsAnyCertificateWhereThatIsWanted) {
  const auto other_identity = make_tls_identity("someone.else");
  for (const bool is_shown : {false, true}) {
    Side client;
    Side server;
    auto [one, other] = socket_pair();
    TlsOptions asking{.role = TlsRole::kClient, .accepts_any = true, .peer_name = "a.name"};
    if (is_shown) {
      asking.certificate = other_identity->certificate;
      asking.key = other_identity->key;
    }
    TlsOptions answering = server_options();
    answering.accepts_any = true;
    start(client, asking, std::move(one));
    start(server, answering, std::move(other));
    client.user.reset();
    server.user.reset();
    run_until_ends(is_shown ? 4 : 2);
    EXPECT_TRUE(client.is_ready && server.is_ready);
    EXPECT_EQ(server.pump->server_name(), "a.name");
  }
}

TEST_F(TlsTest, TakesTheVeryCertificateThatIsExpected) {
  const auto other_identity = make_tls_identity(kName);
  for (const bool is_right : {true, false}) {
    Side client;
    Side server;
    auto [one, other] = socket_pair();
    start(client,
          {.role = TlsRole::kClient,
           .expected = is_right ? identity().certificate : other_identity->certificate},
          std::move(one));
    start(server, server_options(), std::move(other));
    client.user.reset();
    server.user.reset();
    run_until_ends(is_right ? 2 : 4);
    EXPECT_EQ(client.is_ready, is_right);
    EXPECT_EQ(client.error.has_value(), !is_right);
  }
}

TEST_F(TlsTest, LetsClientsInWithoutACertificateButNotWithAWrongOne) {
  const auto other_identity = make_tls_identity("someone.else");
  for (const bool is_shown : {false, true}) {
    Side client;
    Side server;
    auto [one, other] = socket_pair();
    TlsOptions asking = client_options();
    if (is_shown) {
      asking.certificate = other_identity->certificate;
      asking.key = other_identity->key;
    }
    TlsOptions answering = server_options();
    answering.trusted = identity().certificate;
    answering.is_peer_optional = true;
    start(client, asking, std::move(one));
    start(server, answering, std::move(other));
    client.user.reset();
    server.user.reset();
    run_until_ends(is_shown ? 4 : 2);
    EXPECT_EQ(server.is_ready, !is_shown);
    EXPECT_EQ(server.error.has_value(), is_shown);
  }
}

TEST_F(TlsTest, GoesOnInOneDirectionWhenTheOtherHasEnded) {
  auto [one, other] = socket_pair();
  start(client_, client_options(), std::move(one));
  start(server_, server_options(), std::move(other));
  std::string question;
  std::string answer;
  std::thread users([&] {
    write_all(client_.user.get(), "question");
    ::shutdown(client_.user.get(), SHUT_WR);
    question = read_up_to(server_.user.get(), 100);
    write_all(server_.user.get(), pattern(500'000, 3));
    ::shutdown(server_.user.get(), SHUT_WR);
    answer = read_up_to(client_.user.get(), 1'000'000);
  });
  run_until_ends(2);
  users.join();
  EXPECT_EQ(question, "question");
  EXPECT_TRUE(answer == pattern(500'000, 3)) << answer.size();
}

TEST_F(TlsTest, RefusesAnotherCertificateAndAnotherName) {
  auto stranger = make_tls_identity(kName);
  ASSERT_TRUE(stranger);
  TlsOptions trusts_stranger = client_options();
  trusts_stranger.trusted = stranger->certificate;
  TlsOptions other_name = client_options();
  other_name.peer_name = "somebody.else";
  for (const TlsOptions& options : {trusts_stranger, other_name}) {
    Side client;
    Side server;
    ends_ = 0;
    auto [one, other] = socket_pair();
    start(client, options, std::move(one));
    start(server, server_options(), std::move(other));
    write_all(server.user.get(), "secret");
    run_until_ends(2);
    EXPECT_FALSE(client.is_ready);
    EXPECT_FALSE(server.is_ready);
    ASSERT_TRUE(client.error && server.error);
    EXPECT_EQ(client.error->code, ErrorCode::kPermission) << client.error->what;
    EXPECT_EQ(read_up_to(client.user.get(), 100), "");
  }
}

TEST_F(TlsTest, DemandsTheClientsCertificateWhenToldTo) {
  TlsOptions server = server_options();
  server.trusted = identity().certificate;
  auto [one, other] = socket_pair();
  start(client_, client_options(), std::move(one));
  start(server_, server, std::move(other));
  run_until_ends(2);
  EXPECT_FALSE(server_.is_ready);
  ASSERT_TRUE(server_.error);
}

TEST_F(TlsTest, AgreesOnAProtocol) {
  TlsOptions client = client_options();
  client.alpn = {"h2", "http/1.1"};
  TlsOptions server = server_options();
  server.alpn = {"http/1.1"};
  auto [one, other] = socket_pair();
  start(client_, client, std::move(one));
  start(server_, server, std::move(other));
  client_.user.reset();
  server_.user.reset();
  run_until_ends(2);
  EXPECT_EQ(client_.alpn, "http/1.1");
  EXPECT_EQ(server_.alpn, "http/1.1");
}

TEST_F(TlsTest, EndsWhenThePeerTalksSomethingElse) {
  for (const std::string& talk :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(70'000, '\x16'), std::string("\x15\x03"),
        std::string("\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00", 10)}) {
    for (const TlsOptions& options : {client_options(), server_options()}) {
      Side side;
      ends_ = 0;
      auto [one, other] = socket_pair();
      start(side, options, std::move(one));
      write_all(other.get(), talk);
      ::shutdown(other.get(), SHUT_WR);
      run_until_ends(1);
      EXPECT_FALSE(side.is_ready);
      EXPECT_TRUE(side.error);
      EXPECT_EQ(read_up_to(side.user.get(), 100), "");
    }
  }
}

TEST_F(TlsTest, WaitsOnlySoLongForTheHandshake) {
  auto [one, other] = socket_pair();
  start(server_, server_options(), std::move(one), milliseconds(30));
  run_until_ends(1);
  ASSERT_TRUE(server_.error);
  EXPECT_EQ(server_.error->code, ErrorCode::kTimeout);
}

// A relay between two pumps, whose bytes the test can see, change and cut off.
struct Wire {
  std::array<Fd, 2> left = socket_pair(), right = socket_pair();
};

TEST_F(TlsTest, ReportsAConnectionThatWasCutOff) {
  Wire wire;
  start(client_, client_options(), std::move(wire.left[0]));
  start(server_, server_options(), std::move(wire.right[0]));
  const std::string sent = pattern(100'000, 5);
  std::thread network([&] {
    std::thread back([&] {
      std::string piece(4096, '\0');
      while (true) {
        const ssize_t count = ::recv(wire.left[1].get(), piece.data(), piece.size(), 0);
        if (count <= 0) {
          return;
        }
        write_all(wire.right[1].get(), piece.substr(0, static_cast<std::size_t>(count)));
      }
    });
    std::string piece(4096, '\0');
    std::size_t passed = 0;
    while (passed < 50'000) {
      const ssize_t count = ::recv(wire.right[1].get(), piece.data(), piece.size(), 0);
      if (count <= 0) {
        break;
      }
      write_all(wire.left[1].get(), piece.substr(0, static_cast<std::size_t>(count)));
      passed += static_cast<std::size_t>(count);
    }
    ::shutdown(wire.left[1].get(), SHUT_RDWR);
    ::shutdown(wire.right[1].get(), SHUT_RDWR);
    back.join();
  });
  std::string got;
  std::thread users([&] {
    write_all(server_.user.get(), sent);
    got = read_up_to(client_.user.get(), sent.size());
  });
  run_until_ends(2);
  network.join();
  users.join();
  ASSERT_TRUE(client_.error && server_.error);
  EXPECT_EQ(client_.error->code, ErrorCode::kDisconnected) << client_.error->what;
  EXPECT_GT(got.size(), 16'000u);
  EXPECT_TRUE(sent.starts_with(got)) << "only whole records that were not changed";
}

TEST_F(TlsTest, SendsWhatWasWrittenBeforeItFinishes) {
  auto [one, other] = socket_pair();
  start(client_, client_options(), std::move(one));
  start(server_, server_options(), std::move(other));
  const std::string last_words = pattern(150'000, 6);
  write_all(server_.user.get(), last_words);
  server_.user.reset();
  server_.pump->finish(std::chrono::seconds(20));
  std::string got;
  std::thread user([&] {
    got = read_up_to(client_.user.get(), last_words.size() + 1);
    client_.user.reset();
  });
  run_until_ends(2);
  user.join();
  EXPECT_FALSE(server_.error);
  EXPECT_FALSE(client_.error);
  EXPECT_TRUE(got == last_words) << got.size();
}

TEST(TlsCertificate, NamesWhatItIsFor) {
  auto made = make_tls_identity("agent.test");
  ASSERT_TRUE(made);
  EXPECT_EQ(first_certificate_name(made->certificate).value_or("?"), "agent.test");
  EXPECT_FALSE(first_certificate_name("nonsense"));
  EXPECT_FALSE(TlsContext::make({.role = TlsRole::kClient, .trusted = "nonsense"}));
  EXPECT_FALSE(TlsContext::make({.role = TlsRole::kClient}));
  auto other = make_tls_identity("agent.test");
  EXPECT_FALSE(TlsContext::make(
      {.role = TlsRole::kServer, .certificate = made->certificate, .key = other->key}));
}

TEST(TlsCertificate, OnlyTheFirstIsTrustedWhenToldSo) {
  auto first = make_tls_identity("agent.test");
  EXPECT_TRUE(TlsContext::make({.role = TlsRole::kClient,
                                .trusted = first->certificate + "-----BEGIN CERTIFICATE-----\nx\n",
                                .trusts_first_only = true}));
}

}  // namespace
}  // namespace mirrord::net
