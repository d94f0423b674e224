// tests/fuzz/intproxy_session_fuzz.cpp — an agent whose answers are valid messages and make no sense:
// every call of the program ends, and when the agent is gone the program is told so.
#include <memory>
#include <optional>
#include <vector>

#include "proto/codec.h"
#include "proto/random.h"
#include "proto/stream_decoder.h"
#include "tests/fuzz/fuzzed_session.h"
#include "tests/fuzz/hook_packets.h"

using namespace mirrord;
using namespace mirrord::fuzz;
using local::MessageType;
using proto::ClientMessage;
using proto::DaemonMessage;
using proto::FileRequest;
using proto::FileResponse;

namespace {

// The case of FileResponse that a request is answered with; nothing for the two without an answer.
std::optional<std::size_t> answer_of(const FileRequest& request) {
  switch (request.index()) {
    case FileRequest::index_of<"Close">:
    case FileRequest::index_of<"CloseDir">:
      return std::nullopt;
    case FileRequest::index_of<"OpenRelative">:
      return FileResponse::index_of<"Open">;
    case FileRequest::index_of<"FdOpenDir">:
      return FileResponse::index_of<"OpenDir">;
    case FileRequest::index_of<"MakeDirAt">:
      return FileResponse::index_of<"MakeDir">;
    case FileRequest::index_of<"UnlinkAt">:
      return FileResponse::index_of<"Unlink">;
    case FileRequest::index_of<"StatFs">:
      return FileResponse::index_of<"XstatFs">;
    case FileRequest::index_of<"StatFsV2">:
      return FileResponse::index_of<"XstatFsV2">;
    default:
      for (std::size_t i = 0; i < FileResponse::kSize; ++i) {
        if (FileResponse::kNames[i] == FileRequest::kNames[request.index()])
          return i;
      }
      return std::nullopt;
  }
}

class NonsenseAgent {
 public:
  NonsenseAgent(Fd socket, proto::SemVer version, std::uint64_t seed)
      : socket_(std::move(socket)), version_(std::move(version)), random_(seed) {
    random_.prefer_small(
        {.numbers_below = 12, .texts = {"a", "/a", "d", "path", "entry"}, .port = kPort});
  }

  // Reads requests; answers the handshake at once, everything else when told to.
  void receive() {
    while (socket_.is_open()) {
      const auto space = decoder_.writable();
      const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), MSG_DONTWAIT);
      if (count <= 0)
        return;
      decoder_.commit(static_cast<std::size_t>(count));
      while (true) {
        auto message = decoder_.next();
        check(message.has_value());  // whatever it was told, its requests are messages
        if (!*message)
          break;
        take(std::move(**message));
      }
    }
  }
  void answer() {
    if (requests_.empty())
      return;
    const ClientMessage request = std::move(requests_.front());
    requests_.erase(requests_.begin());
    if (const auto* file = request.get_if<"FileRequest">()) {
      if (const auto kind = answer_of(*file))
        send(DaemonMessage::make<"File">(random_.file_response(*kind)));
    } else if (request.is<"Ping">()) {
      send(DaemonMessage::make<"Pong">());
    } else if (const auto* tcp = request.get_if<"TcpOutgoing">();
               tcp != nullptr && tcp->is<"ConnectV2">()) {
      proto::DaemonConnect connect{};
      connect.connection_id = next_connection_++;
      connect.remote_address = tcp->get<"ConnectV2">().remote_address;
      connect.local_address = connect.remote_address;
      send(DaemonMessage::make<"TcpOutgoing">(
          proto::DaemonTcpOutgoing::make<"ConnectV2">(tcp->get<"ConnectV2">().uid, connect)));
    } else {
      send_fitting(request);
    }
  }
  void send_random() { send(random_.daemon_message()); }
  // About traffic only: what comes without a request.
  void send_traffic() {
    for (int i = 0; i < 20; ++i) {
      DaemonMessage message = random_.daemon_message();
      if (message.is<"TcpOutgoing">() || message.is<"UdpOutgoing">() ||
          message.is<"SeqpacketOutgoing">() || message.is<"LogMessage">())
        return send(message);
    }
  }
  void leave() { socket_.reset(); }

 private:
  void take(ClientMessage&& message) {
    if (message.is<"SwitchProtocolVersion">())
      send(DaemonMessage::make<"SwitchProtocolVersionResponse">(version_));
    else
      requests_.push_back(std::move(message));
  }
  void send_fitting(const ClientMessage& request) {
    for (int i = 0; i < 200; ++i) {
      DaemonMessage message = random_.daemon_message();
      if ((message.is<"GetAddrInfoResponse">() &&
           (request.is<"GetAddrInfoRequest">() || request.is<"GetAddrInfoRequestV2">() ||
            request.is<"ReverseDnsLookup">())) ||
          (message.is<"UdpOutgoing">() && request.is<"UdpOutgoing">()))
        return send(message);
    }
  }
  void send(const DaemonMessage& message) {
    proto::Bytes bytes;
    check(proto::encode(message, bytes).has_value());
    const ssize_t count =
        ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count != static_cast<ssize_t>(bytes.size()))
      leave();
  }

  Fd socket_;
  proto::SemVer version_;
  proto::Random random_;
  proto::ClientStreamDecoder decoder_;
  std::vector<ClientMessage> requests_;
  std::uint64_t next_connection_ = 0;
};

void play(Input& input, TurningLoop& loop, NonsenseAgent& agent) {
  std::vector<std::unique_ptr<FuzzedHook>> hooks;
  for (std::uint64_t key = 1; key <= 4; ++key) {
    hooks.push_back(std::make_unique<FuzzedHook>(FuzzedSession::directory(), key));
    hooks.back()->hello();
  }
  std::vector<std::size_t> asked(hooks.size());
  for (int i = 0; i < 200 && !input.is_empty(); ++i) {
    const auto choice = input.take<std::uint8_t>();
    const std::size_t at = choice % hooks.size();
    FuzzedHook& hook = *hooks[at];
    if (choice < 0x70) {
      const MessageType type =
          kRequestTypes[4 + input.take<std::uint8_t>() % (std::size(kRequestTypes) - 4)];
      // One call at a time, as the hook does; a close of what was only read has no answer.
      if (hook.answers == asked[at] || type == MessageType::kNudge) {
        const std::string body = RequestMaker(input, hook).make(type);
        hook.send(type, body);
        asked[at] += type == MessageType::kNudge || type == MessageType::kListening ||
                             type == MessageType::kClose
                         ? 0
                         : 1;
      }
    } else if (choice < 0xE0) {
      for (int count = choice % 8; count >= 0; --count) {
        agent.receive();
        agent.answer();
      }
    } else if (choice < 0xF0) {
      agent.send_traffic();
    } else if (choice < 0xFE) {
      agent.send_random();
    } else {
      agent.leave();
    }
    loop.turn();
    agent.receive();
    hook.receive();
    asked[at] = std::max(asked[at], hook.answers);
  }
  // Without its agent the session tells everybody, and ends.
  agent.leave();
  check(loop.turn_until([&] {
    bool all_know = true;
    for (const auto& hook : hooks) {
      hook->receive();
      all_know = all_know && hook->has_ended;
    }
    return all_know;
  }));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  enter_private_machine();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr const char* kVersions[] = {"1.29.0+flight", "1.29.0", "1.20.0", "1.2.2",
                                              "0.1.0"};
  Input input(data, size);
  auto [client, server] = stream_pair();
  const char* version = kVersions[input.take<std::uint8_t>() % std::size(kVersions)];
  NonsenseAgent agent(std::move(server), *proto::SemVer::parse(version),
                      input.take<std::uint64_t>());
  TurningLoop loop;
  {
    FuzzedSession session(loop, std::move(client), [&] { agent.receive(); });
    if (session.is_ready())
      play(input, loop, agent);
  }
  return 0;
}
