// applets/intproxy/agent_connect.cpp — connect requests of outgoing traffic, in both forms.
#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "applets/intproxy/agent_link.h"

namespace mirrord::intproxy {
namespace {

proto::Uid random_uid() {
  proto::Uid uid;
  if (::getrandom(uid.bytes.data(), uid.bytes.size(), 0) < 0) {
    // Only before the kernel's pool is ready; the counter alone keeps identifiers apart.
    static std::uint64_t counter = 0;
    ++counter;
    std::memcpy(uid.bytes.data(), &counter, sizeof counter);
  }
  uid.bytes[6] = static_cast<proto::u8>((uid.bytes[6] & 0x0F) | 0x40);
  uid.bytes[8] = static_cast<proto::u8>((uid.bytes[8] & 0x3F) | 0x80);
  return uid;
}

}  // namespace

void AgentLink::connect(Outgoing kind, proto::SocketAddress remote, Sender& sender,
                        Reply<proto::DaemonConnect> reply) {
  if (refuse_if_lost(reply)) {
    return;
  }
  using proto::ClientMessage;
  const auto refuse = [this, &reply](proto::ResponseError error) {
    loop_.defer([reply = std::move(reply), error = std::move(error)]() mutable {
      reply(std::unexpected(std::move(error)));
    });
  };
  if (kind == Outgoing::kSeqpacket && !supports(proto::Gate::kOutgoingSeqpacket)) {
    refuse(proto::ResponseError::make<"NotImplemented">());
    return;
  }
  if (!supports(proto::Gate::kOutgoingConnectV2)) {
    proto::LayerConnect request{std::move(remote)};
    ClientMessage message = kind == Outgoing::kTcp
                                ? ClientMessage::make<"TcpOutgoing">(
                                      proto::LayerTcpOutgoing::make<"Connect">(std::move(request)))
                                : ClientMessage::make<"UdpOutgoing">(
                                      proto::LayerUdpOutgoing::make<"Connect">(std::move(request)));
    // Answered in the order sent, so all of them go through one queue.
    if (!enqueue(simple_sender_->queue_, std::move(message))) {
      refuse(io_error(EINVAL));
      return;
    }
    pending_legacy_[kind == Outgoing::kTcp ? 0 : 1].push_back(std::move(reply));
    return;
  }
  const proto::Uid uid = random_uid();
  proto::LayerConnectV2 request{uid, std::move(remote)};
  ClientMessage message;
  switch (kind) {
    case Outgoing::kTcp:
      message = ClientMessage::make<"TcpOutgoing">(
          proto::LayerTcpOutgoing::make<"ConnectV2">(std::move(request)));
      break;
    case Outgoing::kUdp:
      message = ClientMessage::make<"UdpOutgoing">(
          proto::LayerUdpOutgoing::make<"ConnectV2">(std::move(request)));
      break;
    case Outgoing::kSeqpacket:
      message = ClientMessage::make<"SeqpacketOutgoing">(
          proto::LayerSeqpacket::make<"ConnectV2">(std::move(request)));
      break;
    case Outgoing::kStolen:
    case Outgoing::kMirrored:
      refuse(io_error(EINVAL));
      return;
  }
  if (!enqueue(sender.queue_, std::move(message))) {
    refuse(io_error(EINVAL));  // a UNIX path that is not UTF-8
    return;
  }
  pending_connects_.emplace(uid, std::move(reply));
}

}  // namespace mirrord::intproxy
