// tests/unit/intproxy/incoming_test.cpp — a listener of a session's program: its port is asked for by the filter,
// and requests to it arrive there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "applets/intproxy/address.h"
#include "tests/unit/intproxy/delivery_rig.h"
#include "tests/unit/intproxy/fake_hook.h"

namespace mirrord::intproxy::test {
namespace {

using local::MessageType;

const net::IpAddress kSource = net::IpAddress::v4(127, 77, 1, 2);

// Steals by `filter`; what hooks and intproxy agree on is in the session's directory.
std::function<void(SessionOptions&)> stealing(proto::HttpFilter filter) {
  return [filter](SessionOptions& options) {
    options.incoming.mode = config::IncomingMode::kSteal;
    options.incoming.is_explicit = true;
    options.incoming.http_filter = filter;
    local::Settings settings{};
    settings.magic = local::kSettingsMagic;
    settings.version = local::kVersion;
    settings.size = sizeof settings;
    settings.flags = local::kIncoming;
    std::memcpy(settings.incoming_source, kSource.bytes.data(), sizeof settings.incoming_source);
    const Fd file(::open((options.directory + "/" + local::kSettingsFile).c_str(),
                         O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(::write(file.get(), &settings, sizeof settings), ssize_t{sizeof settings});
  };
}

local::ListenRequest listen_request(const TestServer& server) {
  local::ListenRequest request{};
  request.inode = server.inode();
  request.requested = to_local(net::Endpoint{net::IpAddress::v4(0, 0, 0, 0), DeliveryRig::kPort});
  request.actual = to_local(net::Endpoint{net::IpAddress::v4(127, 0, 0, 1), server.port()});
  return request;
}

std::optional<net::Endpoint> peer_of(const ServerEnd& end) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  ::getpeername(end.fd(), reinterpret_cast<sockaddr*>(&storage), &size);
  return net::Endpoint::from_sockaddr(storage);
}

proto::DaemonMessage stolen(proto::DaemonTcp&& message) {
  return proto::DaemonMessage::make<"TcpSteal">(std::move(message));
}

TEST(Incoming, RequestsThatAFilterPicksReachTheListener) {
  TestSession session({}, stealing(proto::HttpFilter::make<"Header">("x-user: me")));
  TestServer server;
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.call(MessageType::kListen, listen_request(server)).error, 0);
  auto message = session.agent.hear_steal();
  ASSERT_TRUE(message && message->is<"PortSubscribe">());
  const auto* filtered = message->get<"PortSubscribe">().get_if<"FilteredHttpEx">();
  ASSERT_NE(filtered, nullptr);
  EXPECT_EQ(filtered->port, DeliveryRig::kPort);
  EXPECT_EQ(filtered->filter.get<"Header">(), "x-user: me");

  session.agent.say(stolen(start_v2({.uri = "/mine"})));
  ServerEnd end = server.accept();
  EXPECT_TRUE(end.read_until("\r\n\r\n").starts_with("GET /mine "));
  ASSERT_TRUE(peer_of(end));
  EXPECT_EQ(peer_of(end)->ip, kSource) << "the hook knows whom this stands for";
  end.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  message = session.agent.hear_steal();
  ASSERT_TRUE(message && message->is<"HttpResponseFramed">());
  EXPECT_EQ(message->get<"HttpResponseFramed">().internal_response.status.code, 200);
}

TEST(Incoming, RequestsAfterTheListenersEndAreRefused) {
  TestSession session({}, stealing(proto::HttpFilter::make<"Path">("^/api")));
  FakeHook hook = session.connect();
  TestServer server;
  EXPECT_EQ(hook.call(MessageType::kListen, listen_request(server)).error, 0);
  auto message = session.agent.hear_steal();
  ASSERT_TRUE(message && message->is<"PortSubscribe">());
  session.agent.say(stolen(start_v2({.connection = 1})));
  ServerEnd end = server.accept();
  end.read_until("\r\n\r\n");
  server.stop();
  end.close();
  message = session.agent.hear_steal();
  ASSERT_TRUE(message && message->is<"HttpResponse">());
  EXPECT_EQ(message->get<"HttpResponse">().internal_response.status.code, 502);
  hook.send(MessageType::kListenerClosed, "");
  message = session.agent.hear_steal();
  ASSERT_TRUE(message && message->is<"PortUnsubscribe">());
  session.agent.say(stolen(start_v2({.connection = 2})));
  message = session.agent.hear_steal();
  ASSERT_TRUE(message && message->is<"HttpResponse">());
  EXPECT_EQ(message->get<"HttpResponse">().connection_id, 2U);
  EXPECT_EQ(message->get<"HttpResponse">().internal_response.status.code, 502);
}

TEST(Incoming, AnAgentThatDoesNotKnowTheFilterIsNotAsked) {
  TestSession session(
      {.version = "1.19.0", .speaks_flight = false},
      stealing(proto::HttpFilter::make<"Method">(proto::HttpMethodFilter::make<"Get">())));
  TestServer server;
  FakeHook hook = session.connect();
  EXPECT_EQ(hook.call(MessageType::kListen, listen_request(server)).error, EOPNOTSUPP);
}

}  // namespace
}  // namespace mirrord::intproxy::test
