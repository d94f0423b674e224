// net/unix_socket.cpp — addresses of paths, and listeners at them.
#include "net/unix_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace mirrord::net {

std::optional<sockaddr_un> unix_address(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return std::nullopt;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<Fd> listen_unix(const std::string& path, int backlog) {
  const auto address = unix_address(path);
  if (!address) {
    return fail(ErrorCode::kConfig, "listen on " + path + ": the path is too long for a socket",
                "Set XDG_RUNTIME_DIR to a shorter directory.");
  }
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.is_open() ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0 ||
      ::listen(socket.get(), backlog) != 0) {
    return fail_system("listen on " + path, errno);
  }
  return socket;
}

}  // namespace mirrord::net
