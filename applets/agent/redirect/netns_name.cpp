// applets/agent/redirect/netns_name.cpp — binds abstract names.
#include "applets/agent/redirect/netns_name.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

namespace mirrord::agent {

Result<Fd> hold_name(std::string_view name) {
  Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket)
    return fail_system("make a socket", errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::min(name.size(), sizeof address.sun_path - 1);
  std::copy_n(name.begin(), length, address.sun_path + 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0)
    return fail_system("take the name " + std::string(name), errno);
  return socket;
}

}  // namespace mirrord::agent
