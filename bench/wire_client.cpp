// bench/wire_client.cpp — blocking sends and receives on the agent's stream.
#include "bench/wire_client.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "bench/relay.h"

namespace mirrord::bench {

WireClient::WireClient(std::uint16_t port, const std::string& announce) : fd_(connect_to(port)) {
  if (fd_ < 0) {
    give_up("cannot connect to the agent");
  }
  send(proto::ClientMessage::make<"SwitchProtocolVersion">(*proto::SemVer::parse(announce)));
  if (!receive().is<"SwitchProtocolVersionResponse">()) {
    give_up("no answer to the version");
  }
}

WireClient::~WireClient() {
  ::close(fd_);
}

void WireClient::send(proto::ClientMessage message) {
  send_raw(encode(message));
}

void WireClient::send_raw(const proto::Bytes& bytes) {
  if (!write_all(fd_, bytes.data(), bytes.size())) {
    give_up("the agent has closed the connection");
  }
}

proto::DaemonMessage WireClient::receive() {
  for (;;) {
    auto message = decoder_.next();
    if (!message) {
      give_up("undecodable answer: " + message.error().what);
    }
    if (*message) {
      if ((*message)->is<"LogMessage">()) {
        continue;
      }
      return std::move(**message);
    }
    const auto space = decoder_.writable();
    const ssize_t count = ::read(fd_, space.data(), space.size());
    if (count <= 0) {
      give_up("the agent has closed the connection");
    }
    decoder_.commit(static_cast<std::size_t>(count));
  }
}

void WireClient::give_up(const std::string& why) {
  std::fprintf(stderr, "bench: wire client: %s\n", why.c_str());
  std::exit(1);
}

proto::Bytes encode(const proto::ClientMessage& message) {
  proto::Bytes bytes;
  if (!proto::encode(message, bytes)) {
    WireClient::give_up("cannot encode a message");
  }
  return bytes;
}

}  // namespace mirrord::bench
