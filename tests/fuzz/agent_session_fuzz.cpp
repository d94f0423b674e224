// tests/fuzz/agent_session_fuzz.cpp — a client whose messages are valid, and make no sense: the agent
// answers with valid messages, and goes on answering until it says why it does not.
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <optional>

#include "applets/agent/session.h"
#include "proto/codec.h"
#include "proto/random.h"
#include "proto/stream_decoder.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/private_machine.h"
#include "tests/fuzz/turning_loop.h"

using namespace mirrord;
using namespace mirrord::fuzz;
using proto::ClientMessage;

namespace {

class Client {
 public:
  explicit Client(Fd socket) : socket_(std::move(socket)) {}

  void send(const ClientMessage& message) {
    if (is_cut_)
      return;
    proto::Bytes bytes;
    check(proto::encode(message, bytes).has_value());
    const ssize_t count =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count != static_cast<ssize_t>(bytes.size()))
      finish();  // the agent does not read: the conversation ends in the middle of a message
    pings += message.is<"Ping">() ? 1 : 0;
  }
  void finish() {
    is_cut_ = true;
    ::shutdown(socket_.get(), SHUT_WR);
  }
  void receive() {
    while (!has_ended_) {
      const auto space = decoder_.writable();
      const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
      if (count < 0 && errno == EAGAIN)
        return;
      if (count <= 0) {
        has_ended_ = true;
        return;
      }
      decoder_.commit(static_cast<std::size_t>(count));
      while (true) {
        const auto message = decoder_.next();
        check(message.has_value());  // whatever it was asked, its answers are messages
        if (!*message)
          break;
        pongs += (*message)->is<"Pong">() ? 1 : 0;
      }
    }
  }
  [[nodiscard]] bool has_ended() const { return has_ended_ || is_cut_; }

  std::size_t pings = 0;
  std::size_t pongs = 0;

 private:
  Fd socket_;
  proto::DaemonStreamDecoder decoder_;
  bool is_cut_ = false;
  bool has_ended_ = false;
};

void converse(Input& input, TurningLoop& loop, Client& client, const bool& has_ended) {
  proto::Random random(input.take<std::uint64_t>());
  random.prefer_small(
      {.numbers_below = 1U + input.take<std::uint8_t>() % 16,
       .texts = {"/", "/a", "/path", "/d", "/d/e", "/link", "a", "path", "d", "/new", "/d/x"},
       .port = kPort});
  for (int i = 0; i < 200 && !input.is_empty() && !has_ended; ++i) {
    const auto choice = input.take<std::uint8_t>();
    if (choice < 0xC0) {  // so many random messages in one packet
      for (int count = choice & 7; count >= 0; --count) {
        ClientMessage message = random.client_message();
        // These two are the end of any conversation.
        if (message.is<"Close">() && (choice & 0x20) == 0)
          message = ClientMessage::make<"Ping">();
        client.send(message);
      }
    } else if (choice < 0xE0) {  // one that the fuzzer wrote
      const std::string bytes = input.text(input.take<std::uint8_t>());
      ClientMessage message;
      if (proto::decode(std::as_bytes(std::span(bytes)), message) && !message.is<"Close">())
        client.send(message);
    } else if (choice < 0xF0) {
      client.receive();
    } else if (choice == 0xFF) {
      client.finish();
    }
    if ((choice & 0x10) == 0)
      loop.turn();
  }
  // It still answers everything, or has gone.
  client.send(ClientMessage::make<"Ping">());
  const bool is_over = loop.turn_until([&] {
    client.receive();
    return client.pongs == client.pings || client.has_ended() || has_ended;
  });
  check(is_over);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  enter_private_machine();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Place place;
  Input input(data, size);
  place.fill();
  int ends[2];
  check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  Client client{Fd(ends[0])};
  const agent::Target target = place.target();
  TurningLoop loop;
  bool has_ended = false;
  {
    log::Log log;
    agent::Session session(loop, target, log, Fd(ends[1]), "fuzz",
                           {.ended = [&] { has_ended = true; }});
    converse(input, loop, client, has_ended);
  }
  return 0;
}
