// tests/fuzz/local_packets_fuzz.cpp — a hostile program on the intproxy's local socket: wrong sizes,
// wrong order, wrong descriptors. Afterwards a well-behaved program must be served as ever.
#include <memory>
#include <vector>

#include "applets/agent/session.h"
#include "tests/fuzz/fuzzed_session.h"
#include "tests/fuzz/hook_packets.h"

using namespace mirrord;
using namespace mirrord::fuzz;
using local::MessageType;

namespace {

constexpr std::uint64_t kHonestKey = 1000;  // no hostile packet names it

void attack(Input& input, TurningLoop& loop) {
  std::vector<std::unique_ptr<FuzzedHook>> hooks;
  std::vector<Fd> sockets;  // that connect to relays
  for (int i = 0; i < 150 && !input.is_empty(); ++i) {
    const auto choice = input.take<std::uint8_t>();
    const std::size_t at = choice % 4U;
    while (hooks.size() <= at) {
      hooks.push_back(
          std::make_unique<FuzzedHook>(FuzzedSession::directory(), 1 + hooks.size() % 3));
      if ((choice & 0x80) == 0)
        hooks.back()->hello();
    }
    FuzzedHook& hook = *hooks[at];
    std::vector<Fd> descriptors;
    const auto action = input.take<std::uint8_t>();
    if (action >= 0xE0) {
      for (int count = action % 8; count > 0; --count)
        descriptors.push_back(some_descriptor(input.take<std::uint8_t>()));
    }
    if (action < 4) {
      hook.send_raw(input.text(input.take<std::uint16_t>()), std::move(descriptors));
    } else if (action < 8) {
      hooks.erase(hooks.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    } else if (action < 12) {
      std::string large(local::kMaxPacket + input.take<std::uint8_t>() - 128U, 'x');
      hook.send_raw(bytes_of(MessageType::kWrite) + large);
    } else if (action < 20 && !hook.relays.empty()) {
      const local::Address& relay = hook.relays.back();
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(relay.port);
      std::memcpy(&address.sin_addr, relay.data, 4);
      Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
      sockets.push_back(std::move(socket));
    } else {
      const MessageType type = kRequestTypes[action % std::size(kRequestTypes)];
      std::string body = RequestMaker(input, hook).make(type);
      const auto shape = input.take<std::uint8_t>();
      if (shape >= 0xF0)  // too short, too long, or not quite what it says
        body.resize(shape < 0xF8 ? body.size() * (shape & 7) / 8 : body.size() + shape);
      if (type == MessageType::kFork && descriptors.empty() && shape % 4 != 0)
        descriptors.push_back(some_descriptor(0));
      hook.send(type, body, std::move(descriptors));
    }
    if ((choice & 0x40) == 0) {
      loop.turn();
      hook.receive();
    }
  }
  loop.turn();
}

void expect_service(TurningLoop& loop) {
  FuzzedHook honest(FuzzedSession::directory(), kHonestKey);
  honest.hello();
  local::PathRequest request{};
  request.first_length = 1;
  honest.send(MessageType::kStat, bytes_of(request) + "/");
  check(loop.turn_until([&] {
    honest.receive();
    return honest.answers == 1 || honest.has_ended;
  }));
  check(honest.answers == 1);
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
  auto [client, server] = stream_pair();
  const agent::Target target = place.target();
  TurningLoop loop;
  {
    log::Log log;
    agent::Session agent(loop, target, log, std::move(server), "fuzz",
                         {.ended = [] { check(false); }});
    FuzzedSession session(loop, std::move(client), [] {});
    check(session.is_ready());
    attack(input, loop);
    expect_service(loop);
    check(!session.is_lost());
  }
  return 0;
}
