// net/unix_socket.h — UNIX sockets at paths (unix(7)).
#pragma once

#include <sys/un.h>

#include <optional>
#include <string>
#include <string_view>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::net {

// Nothing: the path is longer than an address holds.
std::optional<sockaddr_un> unix_address(std::string_view path);

// Listens for SOCK_SEQPACKET; non-blocking.
Result<Fd> listen_unix(const std::string& path, int backlog);

}  // namespace mirrord::net
