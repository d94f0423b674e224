// k8s/tunnel.h — what the protocols of a port-forward have in common: an upgraded connection's bytes
// come in and become events, the pod's bytes go out in frames.
//
// A tunnel (ChannelTunnel, SpdyTunnel) has these members:
//
//   static constexpr std::size_t kRoom;              // needed before the bytes that `wrap` frames
//   static constexpr bool kFinishEndsAll;            // after `finish` the pod cannot go on sending
//   std::vector<std::byte> opening();                // to send first; may be empty
//   TunnelEvent next(std::span<const std::byte>& input);  // takes one event off the front
//   std::span<std::byte> wrap(std::byte* data, std::size_t size);  // in place
//   std::vector<std::byte> ping();
//   std::vector<std::byte> finish();                 // nothing more comes from our side
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace mirrord::k8s {

struct TunnelEvent {
  enum class Kind {
    kNeedMore,   // all that is left of the input begins something that is not complete
    kNothing,    // something that nobody needs to know; go on
    kOpened,     // the server has agreed to the port
    kData,       // from the pod; lies in the input
    kDataEnded,  // the pod has finished sending
    kReply,      // `reply` must go to the server
    kPodError,   // the server could not reach the pod's port, or lost it: `text`
    kClosed,     // the server ends the connection in good order: `text`
    kBroken,     // not the protocol: `text`
  };
  Kind kind = Kind::kNeedMore;
  std::span<const std::byte> data;
  std::vector<std::byte> reply;
  std::string text;
};

}  // namespace mirrord::k8s
