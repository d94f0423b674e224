// tests/agent/incoming/http_test.cpp — filtered ports: whose a request is, how each version gets it, what becomes of
// the answer.
#include <poll.h>

#include <thread>

#include "tests/agent/incoming/fixture.h"

namespace mirrord::test {
namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string kGet = "GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
const std::string kMine = "GET /mine HTTP/1.1\r\nHost: shop\r\nX-User: me\r\n\r\n";

// One byte; 0 at the end of what comes, -1 when nothing more does.
int read_byte(int fd, char& byte) {
  constexpr int kPatienceMs = 5000;
  while (true) {
    pollfd state{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&state, 1, kPatienceMs);
    if (ready == 0)
      return -1;
    const ssize_t count = ready < 0 ? -1 : ::recv(fd, &byte, 1, MSG_DONTWAIT);
    if (count >= 0)
      return static_cast<int>(count);
    if (errno == ECONNRESET)
      return 0;
  }
}

// What comes up to the end of `mark`, or until nothing more does.
std::string read_until(int fd, std::string_view mark) {
  std::string text;
  char byte = 0;
  while (!text.ends_with(mark) && read_byte(fd, byte) == 1)
    text += byte;
  return text;
}
std::string read_to_end(int fd) {
  std::string text;
  char byte = 0;
  int outcome = 1;
  while ((outcome = read_byte(fd, byte)) == 1)
    text += byte;
  EXPECT_EQ(outcome, 0) << "the connection goes on";
  return text;
}

// A request put together again, whichever its form.
struct Got {
  std::string form;
  std::string line;
  std::string body;
  proto::HttpHeaders headers;
  proto::ConnectionId id = 0;
  bool is_last = true;
};

std::string text_of(const proto::InternalHttpBody& frames) {
  std::string text;
  for (const auto& frame : frames) {
    if (const auto* data = frame.get_if<"Data">())
      text += data->text();
    else
      text += "<trailers>";
  }
  return text;
}

template <class Body>
void take_head(Got& got, const proto::InternalHttpRequest<Body>& request) {
  got.line = request.method.text + " " + request.uri.text + " " +
             std::string(proto::to_string(request.version));
  got.headers = request.headers;
}

Got next_request(Client& client, From from = From::kSteal) {
  Got got;
  auto message = next_of(client, from);
  if (!message)
    return {.form = "<nothing>"};
  if (const auto* flat = message->get_if<"HttpRequest">()) {
    got = {.form = "flat", .id = flat->connection_id};
    take_head(got, flat->internal_request);
    got.body = flat->internal_request.body.text();
  } else if (const auto* framed = message->get_if<"HttpRequestFramed">()) {
    got = {.form = "framed", .id = framed->connection_id};
    take_head(got, framed->internal_request);
    got.body = text_of(framed->internal_request.body);
  } else if (const auto* chunked = message->get_if<"HttpRequestChunked">()) {
    if (const auto* first = chunked->get_if<"StartV1">()) {
      got = {.form = "v1", .id = first->connection_id, .is_last = false};
      take_head(got, first->internal_request);
      got.body = text_of(first->internal_request.body);
    } else if (const auto* second = chunked->get_if<"StartV2">()) {
      got = {.form = "v2", .id = second->connection_id};
      take_head(got, second->request);
      got.body = text_of(second->request.body.frames);
      got.is_last = second->request.body.is_last;
    }
    while (!got.is_last) {
      auto more = next_of(client, from);
      if (!more || !more->is<"HttpRequestChunked">())
        return {.form = "broken off"};
      const auto& body = more->get<"HttpRequestChunked">().get<"Body">();
      got.body += text_of(body.frames);
      got.is_last = body.is_last;
    }
  } else {
    got.form = std::string(message->name());
  }
  return got;
}

template <class Body>
proto::HttpResponse<Body> response(proto::ConnectionId id, proto::u16 status, Body body) {
  proto::HttpResponse<Body> made{};
  made.connection_id = id;
  made.internal_response.status = {status};
  made.internal_response.version = proto::HttpVersion::kHttp11;
  made.internal_response.headers.add("x-server", "local");
  made.internal_response.body = std::move(body);
  return made;
}
proto::InternalHttpBody frames(std::string_view text) {
  proto::InternalHttpBody made;
  made.push_back(proto::InternalHttpBodyFrame::make<"Data">(proto::Bytes(text)));
  return made;
}
void say(Client& client, proto::LayerTcpSteal message) {
  client.send(ClientMessage::make<"TcpSteal">(std::move(message)));
}
void reply(Client& client, proto::ConnectionId id, std::string_view text, proto::u16 status = 200) {
  say(client,
      proto::LayerTcpSteal::make<"HttpResponse">(response(id, status, proto::Payload(text))));
}
void begin_reply(Client& client, proto::ConnectionId id, std::string_view text) {
  say(client, proto::LayerTcpSteal::make<"HttpResponseChunked">(
                  proto::ChunkedResponse::make<"Start">(response(id, 200, frames(text)))));
}

class IncomingHttp : public testing::Test {
 protected:
  // A client that has the port's requests with "X-User: me".
  std::unique_ptr<Client> stealer(const char* version = "1.29.0",
                                  const std::string& pattern = "^x-user: me$") {
    auto client = agent_.connect(version);
    steal_by_header(*client, port_, pattern);
    EXPECT_TRUE(next_text(*client, From::kSteal).starts_with("subscribed"));
    return client;
  }

  IncomingAgent agent_{{.body_timeout = std::chrono::milliseconds(300)}};
  const Server target_{SOCK_STREAM};
  const std::uint16_t port_ = target_.endpoint().port;
};

TEST_F(IncomingHttp, EveryVersionGetsRequestsInItsForm) {
  for (const auto& [version, form] :
       std::initializer_list<std::pair<const char*, const char*>>{{"1.2.2", "flat"},
                                                                  {"1.3.0", "framed"},
                                                                  {"1.7.0", "v1"},
                                                                  {"1.18.9", "v1"},
                                                                  {"1.19.0", "v2"},
                                                                  {"1.29.0", "v2"}}) {
    auto client = stealer(version);
    const Fd peer = agent_.arrive(target_);
    send_all(peer.get(),
             "POST /p?q HTTP/1.1\r\nHost: shop\r\nX-User: me\r\nContent-Length: 10\r\n\r\nhello");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    send_all(peer.get(), "world");
    const Got got = next_request(*client);
    EXPECT_EQ(got.form, form) << version;
    EXPECT_EQ(got.line, "POST /p?q HTTP/1.1");
    EXPECT_EQ(got.body, "helloworld");
    reply(*client, got.id, "bye");
    const std::string answer = read_until(peer.get(), "bye");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(answer.find("Content-Length: 3\r\n"), std::string::npos) << answer;
  }
}

TEST_F(IncomingHttp, AnswersAreTakenInEveryForm) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  reply(*client, next_request(*client).id, "flat");
  EXPECT_TRUE(read_until(peer.get(), "flat").starts_with("HTTP/1.1 200 OK\r\nx-server: local\r\n"));

  send_all(peer.get(), kMine);
  say(*client, proto::LayerTcpSteal::make<"HttpResponseFramed">(
                   response(next_request(*client).id, 404, frames("framed"))));
  EXPECT_TRUE(read_until(peer.get(), "framed").starts_with("HTTP/1.1 404 Not Found\r\n"));

  send_all(peer.get(), kMine);
  const proto::ConnectionId id = next_request(*client).id;
  begin_reply(*client, id, "one");
  EXPECT_TRUE(read_until(peer.get(), "3\r\none\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
  say(*client,
      proto::LayerTcpSteal::make<"HttpResponseChunked">(
          proto::ChunkedResponse::make<"Body">(frames("two"), true, id, proto::RequestId{0})));
  EXPECT_EQ(read_until(peer.get(), "0\r\n\r\n"), "3\r\ntwo\r\n0\r\n\r\n");
}

TEST_F(IncomingHttp, TheTargetGetsTheRestOnOneConnection) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kGet + kMine + kGet);
  const Fd server = target_.accept();
  EXPECT_EQ(read_until(server.get(), kHeadEnd), kGet);
  send_all(server.get(), kOk);
  EXPECT_NE(read_until(peer.get(), "ok").find("Cache-Control: no-cache, no-store"),
            std::string::npos);
  reply(*client, next_request(*client).id, "mine");
  EXPECT_TRUE(read_until(peer.get(), "mine").ends_with("mine"));
  EXPECT_EQ(read_until(server.get(), kHeadEnd), kGet);
  send_all(server.get(), kOk);
  EXPECT_TRUE(read_until(peer.get(), "ok").ends_with("ok"));
}

TEST_F(IncomingHttp, TheOlderOfTwoFiltersChoosesFirst) {
  auto first = stealer("1.29.0", "^x-user: m");
  auto second = stealer("1.29.0", "^x-user:");
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  const Got one = next_request(*first);
  EXPECT_EQ(one.line, "GET /mine HTTP/1.1");
  reply(*first, one.id, "first");
  EXPECT_TRUE(read_until(peer.get(), "first").ends_with("first"));
  send_all(peer.get(), "GET /yours HTTP/1.1\r\nHost: shop\r\nX-User: you\r\n\r\n");
  const Got two = next_request(*second);
  EXPECT_EQ(two.line, "GET /yours HTTP/1.1");
  reply(*second, two.id, "second");
  EXPECT_TRUE(read_until(peer.get(), "second").ends_with("second"));
  // The next request of the same connection finds the other one's filter when the first has gone.
  first.reset();
  EXPECT_TRUE(agent_.becomes(port_, true));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  send_all(peer.get(), kMine);
  EXPECT_EQ(next_request(*second).line, "GET /mine HTTP/1.1");
}

TEST_F(IncomingHttp, AFilterThatCannotBeReadIsRefusedWithTheReason) {
  auto client = agent_.connect();
  steal_by_header(*client, port_, "(unclosed");
  const auto result = next_of(*client, From::kSteal);
  ASSERT_TRUE(result && result->is<"SubscribeResult">());
  const auto& answer = result->get<"SubscribeResult">();
  ASSERT_FALSE(answer.has_value());
  EXPECT_FALSE(answer.error().get<"RemoteIO">().kind.get<"Unknown">().empty());
  EXPECT_FALSE(agent_.is_redirected(port_));
}

TEST_F(IncomingHttp, ARequestIsNotLeftWithoutAnAnswer) {
  {
    auto client = stealer();
    const Fd peer = agent_.arrive(target_);
    send_all(peer.get(), kMine);
    const Got got = next_request(*client);
    drop(*client, got.id);
    EXPECT_EQ(read_until(peer.get(), "\n").substr(0, 26), "HTTP/1.1 502 Bad Gateway\r\n");
  }
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  const Fd other = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  begin_reply(*client, next_request(*client).id, "half");
  EXPECT_TRUE(read_until(peer.get(), "half").ends_with("half"));
  send_all(other.get(), kMine);
  EXPECT_EQ(next_request(*client).line, "GET /mine HTTP/1.1");
  client.reset();  // the session is gone
  EXPECT_EQ(read_until(other.get(), "gone\n").substr(0, 26), "HTTP/1.1 502 Bad Gateway\r\n");
  EXPECT_EQ(read_to_end(peer.get()), "\r\n") << "and no last chunk";
}

TEST_F(IncomingHttp, AnAnswerThatIsBrokenOffDoesNotLookComplete) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  const proto::ConnectionId id = next_request(*client).id;
  begin_reply(*client, id, "half");
  EXPECT_TRUE(read_until(peer.get(), "half\r\n").ends_with("half\r\n"));
  say(*client, proto::LayerTcpSteal::make<"HttpResponseChunked">(
                   proto::ChunkedResponse::make<"Error">(id, proto::RequestId{0})));
  EXPECT_EQ(read_to_end(peer.get()), "");
}

TEST_F(IncomingHttp, AClientThatGoesEndsItsRequest) {
  auto client = stealer();
  Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  const proto::ConnectionId id = next_request(*client).id;
  begin_reply(*client, id, "half");
  read_until(peer.get(), "half\r\n");
  const linger at_once{1, 0};
  ::setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  peer.reset();
  EXPECT_EQ(next_text(*client, From::kSteal), "close " + std::to_string(id));
}

TEST_F(IncomingHttp, AnExchangeThatIsCompleteIsNotClosed) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  for (int turn = 0; turn < 3; ++turn) {
    send_all(peer.get(), kMine);
    const Got got = next_request(*client);
    EXPECT_EQ(got.form, "v2") << "and no Close before it";
    reply(*client, got.id, "mine");
    EXPECT_TRUE(read_until(peer.get(), "mine").ends_with("mine"));
  }
}

TEST_F(IncomingHttp, MirrorsGetWhatTheirFiltersPickAndTheTargetAnswers) {
  auto filtered = agent_.connect();
  filtered->send(ClientMessage::make<"Tcp">(proto::LayerTcp::make<"PortSubscribeFilteredHttp">(
      port_, proto::HttpFilter::make<"Path">("^/mine"))));
  EXPECT_TRUE(next_text(*filtered, From::kMirror).starts_with("subscribed"));
  auto whole = agent_.connect();
  mirror(*whole, port_);
  EXPECT_TRUE(next_text(*whole, From::kMirror).starts_with("subscribed"));
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kGet);
  const Fd server = target_.accept();
  EXPECT_EQ(read_until(server.get(), kHeadEnd), kGet);
  send_all(server.get(), kOk);
  EXPECT_TRUE(read_until(peer.get(), "ok").ends_with("ok"));
  send_all(peer.get(), kMine);
  EXPECT_EQ(read_until(server.get(), kHeadEnd), kMine);
  send_all(server.get(), kOk);
  EXPECT_TRUE(read_until(peer.get(), "ok").ends_with("ok"));

  const Got got = next_request(*filtered, From::kMirror);
  EXPECT_EQ(got.line, "GET /mine HTTP/1.1");
  EXPECT_EQ(next_text(*filtered, From::kMirror), "close " + std::to_string(got.id));
  EXPECT_EQ(next_text(*whole, From::kMirror), "new2 0");
  EXPECT_EQ(next_text(*whole, From::kMirror), "data 0 " + kGet);
  EXPECT_EQ(next_text(*whole, From::kMirror), "data 0 " + kMine);
}

TEST_F(IncomingHttp, AStealerWithoutAFilterGetsRequestsBesideAMirrorWithOne) {
  auto filtered = agent_.connect();
  filtered->send(ClientMessage::make<"Tcp">(proto::LayerTcp::make<"PortSubscribeFilteredHttp">(
      port_, proto::HttpFilter::make<"Path">("^/mine"))));
  EXPECT_TRUE(next_text(*filtered, From::kMirror).starts_with("subscribed"));
  auto all = agent_.connect();
  steal(*all, port_);
  EXPECT_TRUE(next_text(*all, From::kSteal).starts_with("subscribed"));
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kGet);
  reply(*all, next_request(*all).id, "first");
  EXPECT_TRUE(read_until(peer.get(), "first").ends_with("first"));
  send_all(peer.get(), kMine);
  EXPECT_EQ(next_request(*all).line, "GET /mine HTTP/1.1");
  EXPECT_EQ(next_request(*filtered, From::kMirror).line, "GET /mine HTTP/1.1");
}

TEST_F(IncomingHttp, TunnelsCarryBytesAfterAn101) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(
      peer.get(),
      "GET / HTTP/1.1\r\nHost: shop\r\nX-User: me\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
  const Got got = next_request(*client);
  proto::HttpResponse<proto::InternalHttpBody> switched =
      response(got.id, 101, proto::InternalHttpBody());
  switched.internal_response.headers.add("connection", "Upgrade");
  switched.internal_response.headers.add("upgrade", "x");
  say(*client, proto::LayerTcpSteal::make<"HttpResponseFramed">(std::move(switched)));
  EXPECT_TRUE(read_until(peer.get(), kHeadEnd).starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  const std::string id = std::to_string(got.id);
  send_all(peer.get(), "up");
  EXPECT_EQ(next_text(*client, From::kSteal), "data " + id + " up");
  answer(*client, got.id, "down");
  EXPECT_EQ(read_until(peer.get(), "down"), "down");
  ::shutdown(peer.get(), SHUT_WR);
  EXPECT_EQ(next_text(*client, From::kSteal), "end " + id);
  answer(*client, got.id, "last");
  answer(*client, got.id, "");
  EXPECT_EQ(read_to_end(peer.get()), "last");
  EXPECT_EQ(next_text(*client, From::kSteal), "close " + id);
}

TEST_F(IncomingHttp, UpgradesAreNotGivenToClientsThatDoNotKnowThem) {
  auto client = stealer("1.4.0");
  const Fd peer = agent_.arrive(target_);
  const std::string request =
      "GET / HTTP/1.1\r\nHost: shop\r\nX-User: me\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
  send_all(peer.get(), request);
  EXPECT_EQ(read_until(target_.accept().get(), kHeadEnd), request);
}

TEST_F(IncomingHttp, ASlowBodyDoesNotMatchAndIsNotLost) {
  auto client = agent_.connect();
  steal_filtered(*client, port_,
                 proto::HttpFilter::make<"Body">(proto::HttpBodyFilter::make<"Json">("$.x", "me")));
  EXPECT_TRUE(next_text(*client, From::kSteal).starts_with("subscribed"));
  const std::string head = "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\n";
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), head + "{\"x\":");
  const Fd server = target_.accept();  // when the agent has waited long enough
  EXPECT_EQ(read_until(server.get(), "{\"x\":"), head + "{\"x\":");
  send_all(peer.get(), "\"me\"}");
  EXPECT_EQ(read_until(server.get(), "}"), "\"me\"}");
  const Fd quick = agent_.arrive(target_);
  send_all(quick.get(), head + "{\"x\":\"me\"}");
  EXPECT_EQ(next_request(*client).body, "{\"x\":\"me\"}");
}

TEST_F(IncomingHttp, ATargetThatEndsItsIdleConnectionEndsTheClientsToo) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kGet);
  Fd server = target_.accept();
  read_until(server.get(), kHeadEnd);
  send_all(server.get(), kOk);
  EXPECT_TRUE(read_until(peer.get(), "ok").ends_with("ok"));
  server.reset();
  EXPECT_EQ(read_to_end(peer.get()), "");
}

TEST_F(IncomingHttp, ATargetThatEndsWithinARequestIsA502) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kGet);
  Fd server = target_.accept();
  read_until(server.get(), kHeadEnd);
  server.reset();
  EXPECT_EQ(read_until(peer.get(), "\n").substr(0, 26), "HTTP/1.1 502 Bad Gateway\r\n");
}

TEST_F(IncomingHttp, AClientThatDoesNotReadHoldsTheAnswerBack) {
  auto client = agent_.connect("1.29.0+flight");
  steal_by_header(*client, port_, "^x-user: me$");
  EXPECT_TRUE(next_text(*client, From::kSteal).starts_with("subscribed"));
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  const proto::ConnectionId id = next_request(*client).id;
  const std::string block(1 << 20, 'x');
  begin_reply(*client, id, block);
  std::string hint;
  std::size_t sent = block.size();
  while (sent < std::size_t{64} << 20 && hint.empty()) {
    say(*client,
        proto::LayerTcpSteal::make<"HttpResponseChunked">(
            proto::ChunkedResponse::make<"Body">(frames(block), false, id, proto::RequestId{0})));
    sent += block.size();
    if (auto message = next_of(*client, From::kSteal, std::chrono::milliseconds(20)))
      hint =
          std::to_string(static_cast<int>(proto::hint_of(message->get<"Close">().connection_id)));
  }
  EXPECT_EQ(hint, "4") << "pause";
  std::thread reader([&] { receive_all(peer.get(), sent); });
  auto message = next_of(*client, From::kSteal);
  ASSERT_TRUE(message && message->is<"Close">());
  EXPECT_EQ(proto::hint_of(message->get<"Close">().connection_id), proto::Hint::kResume);
  reader.join();
}

TEST_F(IncomingHttp, AClientMayEndItsHalfBehindItsRequest) {
  auto client = stealer();
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kGet);
  ::shutdown(peer.get(), SHUT_WR);
  const Fd server = target_.accept();
  EXPECT_EQ(read_until(server.get(), kHeadEnd), kGet);
  send_all(server.get(), kOk);
  EXPECT_TRUE(read_to_end(peer.get()).ends_with("\r\n\r\nok"));
  const Fd picked = agent_.arrive(target_);
  send_all(picked.get(), kMine);
  ::shutdown(picked.get(), SHUT_WR);
  reply(*client, next_request(*client).id, "mine");
  EXPECT_TRUE(read_to_end(picked.get()).ends_with("\r\n\r\nmine"));
}

TEST_F(IncomingHttp, AHeadThatDoesNotComeEndsTheConnection) {
  IncomingAgent agent({.head_limit = std::chrono::milliseconds(200)});
  auto client = agent.connect();
  steal_by_header(*client, port_, "x");
  EXPECT_TRUE(next_text(*client, From::kSteal).starts_with("subscribed"));
  const Fd slow = agent.arrive(target_);
  send_all(slow.get(), "GET / HTTP/1.1\r\nHost: shop\r\nX-Slow: ");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(read_to_end(slow.get()), "");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(4900));
}

std::string frame(int type, int flags, std::uint32_t stream, std::string_view payload) {
  std::string bytes;
  for (const std::size_t shift : {16U, 8U, 0U})
    bytes += static_cast<char>(payload.size() >> shift);
  bytes += static_cast<char>(type);
  bytes += static_cast<char>(flags);
  for (const std::uint32_t shift : {24U, 16U, 8U, 0U})
    bytes += static_cast<char>(stream >> shift);
  return bytes.append(payload);
}

// CVE-2023-44487 and its kin: the connection ends, and the next one is served.
TEST_F(IncomingHttp, FloodsOfHttp2FramesEndTheConnection) {
  auto client = stealer();
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "");
  const std::string get =
      "\x82\x86\x84\x41\x01"
      "a";  // GET http a /
  std::string resets = preface;
  for (std::uint32_t stream = 1; stream < 8000; stream += 2)
    resets += frame(1, 5, stream, get) + frame(3, 0, stream, std::string("\0\0\0\x08", 4));
  std::string pings = preface;
  for (int i = 0; i < 5000; ++i)
    pings += frame(2, 0, 1, std::string(5, '\0'));  // PRIORITY of a stream that never begins
  for (const std::string& flood : {resets, pings}) {
    const Fd peer = agent_.arrive(target_);
    std::thread writer([&] { (void)::send(peer.get(), flood.data(), flood.size(), MSG_NOSIGNAL); });
    read_to_end(peer.get());
    writer.join();
  }
  const Fd peer = agent_.arrive(target_);
  send_all(peer.get(), kMine);
  while (true) {
    const Got got = next_request(*client);
    ASSERT_NE(got.form, "<nothing>");
    if (got.line == "GET /mine HTTP/1.1")
      break;
  }
}

TEST_F(IncomingHttp, SilenceIsNotHttp) {
  IncomingAgent agent({.detection_timeout = std::chrono::milliseconds(100)});
  auto client = agent.connect();
  steal_by_header(*client, port_, "x");
  EXPECT_TRUE(next_text(*client, From::kSteal).starts_with("subscribed"));
  const Fd peer = agent.arrive(target_);
  const Fd server = target_.accept();  // after the time
  send_all(server.get(), "220 hello\r\n");
  EXPECT_EQ(read_until(peer.get(), "\r\n"), "220 hello\r\n");
  // And a half of a request line whose client has ended.
  const Fd half = agent.arrive(target_);
  send_all(half.get(), "GET / HT");
  ::shutdown(half.get(), SHUT_WR);
  EXPECT_EQ(read_to_end(target_.accept().get()), "GET / HT");
}

}  // namespace
}  // namespace mirrord::test
