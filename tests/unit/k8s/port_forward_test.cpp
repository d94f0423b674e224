// tests/unit/k8s/port_forward_test.cpp — port-forwards through servers that behave, refuse, break
// off, and talk nonsense.
#include "k8s/port_forward.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "tests/support/sockets.h"
#include "tests/unit/k8s/fake_server.h"
#include "tests/unit/k8s/frames.h"

namespace mirrord::k8s {
namespace {

using test::pattern;
using test::read_to_end;
using test::write_all;

using std::chrono::milliseconds;

std::string channel(char number, const std::string& text) {
  return server_frame(2, number + text);
}

const std::string kGreeting = channel(0, "\x90\x1F") + channel(1, "\x90\x1F");  // port 8080

class PortForwardTest : public ::testing::Test {
 protected:
  void open(const FakeServer& server, PortForward::Options options = {}) {
    ClientConfig config;
    config.server = server.url() + "/prefix";
    config.context = "test";
    config.credentials = [this](bool refused) {
      renewals_ += refused ? 1 : 0;
      Credentials credentials;
      credentials.bearer_token = renewals_ > 0 ? "new" : "old";
      return Result<Credentials>(credentials);
    };
    client_ = std::make_unique<ApiClient>(loop_, config);
    forward_ = std::make_unique<PortForward>(*client_, PodPort{"ns", "the-pod", 8080}, options);
    PortForward::Handlers handlers;
    handlers.opened = [this] { has_opened_ = true; };
    handlers.ended = [this](Error why) {
      error_ = std::move(why);
      loop_.stop();
    };
    auto socket = forward_->open(std::move(handlers));
    ASSERT_TRUE(socket);
    socket_ = std::move(*socket);
  }

  // Runs until the forward has ended.
  void run() {
    net::Timer limit(loop_);
    limit.start(std::chrono::seconds(30), [this] { loop_.stop(); });
    if (!error_) {
      loop_.run();
    }
  }

  [[nodiscard]] std::string why() const { return error_ ? error_->what : "it did not end"; }

  net::Loop loop_;
  std::unique_ptr<ApiClient> client_;
  std::unique_ptr<PortForward> forward_;
  Fd socket_;
  bool has_opened_ = false;
  int renewals_ = 0;
  std::optional<Error> error_;
};

TEST_F(PortForwardTest, CarriesExactBytesBothWaysPastSlowReaders) {
  const std::string up = pattern(5'000'000, 1);
  const std::string down = pattern(6'000'000, 2);
  std::string head;
  std::string got_up;
  std::optional<FakeServer> server;
  server.emplace([&](FakeConnection& connection) {
    head = connection.read_head();
    connection.accept_websocket(head, "v4.channel.k8s.io");
    connection.write(kGreeting);
    std::thread writer([&] {
      for (std::size_t at = 0; at < down.size(); at += 32'000) {
        connection.write(channel(0, down.substr(at, 32'000)));
      }
    });
    while (true) {
      const auto frame = connection.read_frame();
      if (frame.opcode != 2) {
        break;
      }
      if (got_up.size() % 7 == 0) {
        std::this_thread::sleep_for(milliseconds(1));
      }
      got_up += frame.payload.substr(1);
    }
    writer.join();
    connection.write(server_frame(8, "\x03\xE8"));
  });
  const std::string host = "127.0.0.1:" + std::to_string(server->port());
  open(*server);
  std::string got_down;
  std::thread user([&] {
    std::thread writer([&] { write_all(socket_.get(), up); });
    std::string piece(100'000, '\0');
    while (got_down.size() < down.size()) {
      pollfd waiting{socket_.get(), POLLIN, 0};
      ::poll(&waiting, 1, 20'000);
      const ssize_t count = ::recv(socket_.get(), piece.data(), piece.size(), 0);
      if (count <= 0) {
        break;
      }
      got_down.append(piece.data(), static_cast<std::size_t>(count));
      if (got_down.size() % 5 == 0) {
        std::this_thread::sleep_for(milliseconds(2));
      }
    }
    writer.join();
    ::shutdown(socket_.get(), SHUT_WR);
  });
  run();
  user.join();
  server.reset();  // it has read all by then
  EXPECT_TRUE(has_opened_);
  EXPECT_TRUE(got_down == down);
  EXPECT_TRUE(got_up == up);
  EXPECT_TRUE(head.starts_with(
      "GET /prefix/api/v1/namespaces/ns/pods/the-pod/portforward?ports=8080 HTTP/1.1\r\n"))
      << head;
  EXPECT_EQ(header_of(head, "Authorization"), "Bearer old");
  EXPECT_EQ(header_of(head, "Host"), host);
}

TEST_F(PortForwardTest, DeliversTheLastBytesBeforeTheErrorOfThePod) {
  const std::string last_words = pattern(900'000, 3);
  FakeServer server([&](FakeConnection& connection) {
    connection.accept_websocket(connection.read_head(), "v5.channel.k8s.io");
    connection.write(kGreeting + channel(0, last_words.substr(0, 500'000)) +
                     channel(1, "lost connection to pod") + channel(0, last_words.substr(500'000)));
    connection.write(server_frame(8, ""));
  });
  open(server);
  std::string got;
  std::thread user([&] { got = read_to_end(socket_.get(), 20'000, milliseconds(1)); });
  run();
  user.join();
  EXPECT_TRUE(got == last_words) << got.size();
  EXPECT_EQ(why(), "forward port 8080 of pod ns/the-pod: lost connection to pod");
}

TEST_F(PortForwardTest, SaysThatThePodRefusesThePort) {
  FakeServer server([&](FakeConnection& connection) {
    connection.accept_websocket(connection.read_head(), "v4.channel.k8s.io");
    connection.write(kGreeting + channel(1, "failed to connect to localhost:8080: refused"));
    connection.read_some();
  });
  open(server);
  run();
  EXPECT_NE(why().find("failed to connect to localhost:8080"), std::string::npos) << why();
  EXPECT_EQ(error_->sys, ECONNREFUSED);
  EXPECT_FALSE(error_->hint.empty());
  EXPECT_EQ(read_to_end(socket_.get()), "");
}

TEST_F(PortForwardTest, AnswersPingsAndSendsItsOwn) {
  std::string seen;
  FakeServer server([&](FakeConnection& connection) {
    connection.accept_websocket(connection.read_head(), "v4.channel.k8s.io");
    connection.write(kGreeting + server_frame(9, "knock"));
    while (seen.find("ping") == std::string::npos || seen.find("knock") == std::string::npos) {
      const auto frame = connection.read_frame();
      if (frame.opcode < 0) {
        return;
      }
      seen += frame.opcode == 9 ? "ping " : frame.payload + " ";
      connection.write(server_frame(10, ""));
    }
  });
  open(server, {.ping_interval = milliseconds(20)});
  run();
  EXPECT_NE(seen.find("ping"), std::string::npos);
  EXPECT_NE(seen.find("knock"), std::string::npos);
}

TEST_F(PortForwardTest, NoticesAServerThatHasGoneSilent) {
  std::atomic<bool> is_over = false;
  FakeServer server([&](FakeConnection& connection) {
    connection.accept_websocket(connection.read_head(), "v4.channel.k8s.io");
    connection.write(kGreeting);
    while (!is_over) {
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  open(server, {.ping_interval = milliseconds(20)});
  run();
  is_over = true;
  EXPECT_TRUE(has_opened_);
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->code, ErrorCode::kTimeout) << why();
}

TEST_F(PortForwardTest, SaysWhichVerbIsMissing) {
  const std::string body =
      R"({"kind":"Status","status":"Failure","message":"pods \"the-pod\" is forbidden: no",)"
      R"("reason":"Forbidden","code":403})";
  FakeServer server([&](FakeConnection& connection) {
    connection.read_head();
    connection.write(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body);
    connection.read_some();
  });
  open(server);
  run();
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->code, ErrorCode::kPermission);
  EXPECT_EQ(why(), "forward port 8080 of pod ns/the-pod: pods \"the-pod\" is forbidden: no");
  EXPECT_NE(error_->hint.find("refused: get create."), std::string::npos) << error_->hint;
  EXPECT_NE(error_->hint.find("pods/portforward"), std::string::npos);
  EXPECT_EQ(read_to_end(socket_.get()), "");
}

TEST_F(PortForwardTest, SaysThatThePodIsGone) {
  FakeServer server([&](FakeConnection& connection) {
    connection.read_head();
    const std::string body = R"({"reason":"NotFound","message":"pods \"the-pod\" not found"})";
    const auto chunk = [](const std::string& text) {
      return std::string(1, "0123456789ABCDEF"[text.size()]) + "\r\n" + text + "\r\n";
    };
    std::string answer = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (std::size_t at = 0; at < body.size(); at += 15) {
      answer += chunk(body.substr(at, 15));
    }
    connection.write(answer + "0\r\n\r\n");
    connection.read_some();
  });
  open(server);
  run();
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->code, ErrorCode::kNotFound) << why();
  EXPECT_NE(why().find("not found"), std::string::npos) << why();
}

TEST_F(PortForwardTest, RenewsRefusedCredentialsOnce) {
  std::vector<std::string> tokens;
  FakeServer server([&](FakeConnection& connection) {
    const std::string head = connection.read_head();
    tokens.push_back(header_of(head, "Authorization"));
    if (tokens.back() == "Bearer old") {
      connection.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
      connection.read_some();
      return;
    }
    connection.accept_websocket(head, "v4.channel.k8s.io");
    connection.write(kGreeting + channel(0, "in") + server_frame(8, ""));
  });
  open(server);
  run();
  EXPECT_TRUE(has_opened_) << why();
  EXPECT_EQ(renewals_, 1);
  EXPECT_EQ(tokens, (std::vector<std::string>{"Bearer old", "Bearer new"}));
  EXPECT_EQ(read_to_end(socket_.get()), "in");
}

TEST_F(PortForwardTest, EndsWithAnErrorWhateverTheServerTalks) {
  const std::string greetings[] = {
      "",
      "nonsense\r\n\r\n",
      std::string(200'000, 'x'),
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n"
      "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n",
      "HTTP/1.1 500 Internal Server Error\r\n\r\nerror dialing backend",
      "HTTP/1.1 9999999999999999 Much\r\n\r\n",
  };
  for (const std::string& greeting : greetings) {
    FakeServer server([&](FakeConnection& connection) {
      connection.read_head();
      connection.write(greeting);
      connection.close();
    });
    error_.reset();
    open(server);
    run();
    EXPECT_TRUE(error_) << greeting.substr(0, 40);
    EXPECT_FALSE(has_opened_);
    forward_.reset();
  }
}

TEST_F(PortForwardTest, EndsWithAnErrorWhenFramesAreBroken) {
  for (const std::string& frames :
       {std::string("garbage behind the upgrade"), kGreeting + "\x82\x7F" + std::string(8, '\xFF'),
        channel(0, "\x91\x1F"), kGreeting + channel(7, "who?")}) {
    FakeServer server([&](FakeConnection& connection) {
      connection.accept_websocket(connection.read_head(), "v4.channel.k8s.io");
      connection.write(frames);
      connection.read_some();
    });
    error_.reset();
    open(server);
    run();
    ASSERT_TRUE(error_);
    EXPECT_EQ(error_->code, ErrorCode::kPeer) << why();
    forward_.reset();
  }
}

TEST_F(PortForwardTest, WaitsOnlySoLongForAnAnswer) {
  std::atomic<bool> is_over = false;
  FakeServer server([&](FakeConnection&) {
    while (!is_over) {
      std::this_thread::sleep_for(milliseconds(5));
    }
  });
  open(server, {.connect_timeout = milliseconds(50)});
  run();
  is_over = true;
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->code, ErrorCode::kTimeout) << why();
}

TEST_F(PortForwardTest, SaysThatNobodyListens) {
  std::optional<FakeServer> server;
  server.emplace([](FakeConnection&) {});
  ClientConfig config;
  config.server = server->url();
  server.reset();
  client_ = std::make_unique<ApiClient>(loop_, config);
  forward_ = std::make_unique<PortForward>(*client_, PodPort{"ns", "p", 1}, PortForward::Options{});
  auto socket = forward_->open({.opened = {}, .ended = [this](Error why) {
                                  error_ = std::move(why);
                                  loop_.stop();
                                }});
  run();
  ASSERT_TRUE(error_);
  EXPECT_EQ(error_->code, ErrorCode::kDisconnected) << why();
}

// A server that speaks SPDY, once it has been asked for it: sends the data stream back, then ends.
class EchoOfSpdy {
 public:
  explicit EchoOfSpdy(FakeConnection& connection, bool is_in_websocket)
      : connection_(connection), is_in_websocket_(is_in_websocket) {}

  void run() {
    const auto reply = [](char stream) {
      return std::string("\x80\x03\0\2\0\0\0\4\0\0\0", 11) + stream;
    };
    send(reply(1) + reply(3));
    while (true) {
      const std::string head = take(8);
      if (head.size() < 8) {
        return;
      }
      std::size_t size = 0;
      for (std::size_t i = 5; i < 8; ++i) {
        size = size << 8 | static_cast<unsigned char>(head[i]);
      }
      const std::string body = take(size);
      if (head.starts_with(std::string("\0\0\0\3", 4))) {
        send(head + body);
        if (head[4] == 1) {
          send(std::string("\0\0\0\1\1\0\0\0", 8));
        }
      }
    }
  }

 private:
  void send(const std::string& text) {
    connection_.write(is_in_websocket_ ? server_frame(2, text) : text);
  }
  std::string take(std::size_t size) {
    if (!is_in_websocket_) {
      return connection_.read(size);
    }
    while (kept_.size() < size) {
      const auto frame = connection_.read_frame();
      if (frame.opcode != 2) {
        break;
      }
      kept_ += frame.payload;
    }
    const std::string text = kept_.substr(0, size);
    kept_.erase(0, text.size());
    return text;
  }

  FakeConnection& connection_;
  bool is_in_websocket_;
  std::string kept_;
};

class SpdyForwardTest : public PortForwardTest {
 protected:
  // Sends something through and back; then the end.
  void expect_echo() {
    const std::string text = pattern(3'000'000, 4);
    std::string got;
    std::thread user([&] {
      std::thread writer([&] {
        write_all(socket_.get(), text);
        ::shutdown(socket_.get(), SHUT_WR);
      });
      got = read_to_end(socket_.get());
      writer.join();
    });
    run();
    user.join();
    EXPECT_TRUE(has_opened_) << why();
    EXPECT_TRUE(got == text) << got.size() << " " << why();
  }
  static void refuse(FakeConnection& connection, const std::string& status) {
    connection.write("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n");
    connection.read_some();
  }

  std::vector<std::string> heads_;
};

TEST_F(SpdyForwardTest, IsSpokenInsideWebSocketsWhenChannelsAreRefused) {
  FakeServer server([&](FakeConnection& connection) {
    heads_.push_back(connection.read_head());
    if (heads_.size() == 1) {
      return refuse(connection, "400 Bad Request");
    }
    connection.accept_websocket(heads_.back(), "SPDY/3.1+portforward.k8s.io");
    EchoOfSpdy(connection, true).run();
  });
  open(server);
  expect_echo();
  ASSERT_EQ(heads_.size(), 2u);
  EXPECT_EQ(header_of(heads_[1], "Sec-WebSocket-Protocol"), "SPDY/3.1+portforward.k8s.io");
}

TEST_F(SpdyForwardTest, IsSpokenOnTheConnectionWhenWebSocketsAreRefused) {
  FakeServer server([&](FakeConnection& connection) {
    heads_.push_back(connection.read_head());
    if (heads_.size() < 3) {
      return refuse(connection, "405 Method Not Allowed");
    }
    connection.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n");
    EchoOfSpdy(connection, false).run();
  });
  open(server);
  expect_echo();
  ASSERT_EQ(heads_.size(), 3u);
  EXPECT_TRUE(heads_[2].starts_with("POST ")) << heads_[2];
  EXPECT_EQ(header_of(heads_[2], "X-Stream-Protocol-Version"), "portforward.k8s.io");
  EXPECT_EQ(header_of(heads_[2], "Upgrade"), "SPDY/3.1");
}

TEST_F(SpdyForwardTest, NeedsOnlyTheVerbCreate) {
  FakeServer server([&](FakeConnection& connection) {
    heads_.push_back(connection.read_head());
    if (heads_.size() < 2) {
      return refuse(connection, "403 Forbidden");
    }
    connection.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n\r\n");
    EchoOfSpdy(connection, false).run();
  });
  open(server);
  expect_echo();
  EXPECT_EQ(heads_.size(), 2u);
}

TEST_F(PortForwardTest, MayBeDroppedAtAnyTime) {
  FakeServer server([&](FakeConnection& connection) {
    connection.accept_websocket(connection.read_head(), "v4.channel.k8s.io");
    connection.write(kGreeting + channel(0, std::string(1'000'000, 'x')));
    connection.read_some();
  });
  for (const int rounds : {0, 1, 2, 5}) {
    open(server);
    net::Timer stop(loop_);
    stop.start(milliseconds(rounds), [this] { loop_.stop(); });
    loop_.run();
    forward_.reset();
    EXPECT_NE(read_to_end(socket_.get()), "nothing");
  }
}

}  // namespace
}  // namespace mirrord::k8s
