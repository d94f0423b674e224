// net/pipe.h — both ends of a pipe.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "net/error.h"
#include "net/fd.h"

namespace mirrord::net {

struct Pipe {
  Fd read, write;
};

// No other program inherits it.
inline Result<Pipe> make_pipe() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system("create a pipe", errno);
  }
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

}  // namespace mirrord::net
