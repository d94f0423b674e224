// net/error.cpp — turns an errno into the error type that users see.
#include "net/error.h"

#include <cerrno>
#include <cstring>

namespace mirrord {
namespace {

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ESRCH:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EPERM:
    case EACCES:
      return ErrorCode::kPermission;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorCode::kUnsupported;
    case ETIMEDOUT:
      return ErrorCode::kTimeout;
    case EPIPE:
    case ECONNRESET:
      return ErrorCode::kDisconnected;
    default:
      return ErrorCode::kSystem;
  }
}

}  // namespace

Error system_error(std::string_view tried, int error_number, std::string hint) {
  std::string what(tried);
  what += ": ";
  what +=
      ::strerror(error_number);  // NOLINT(concurrency-mt-unsafe): static texts in glibc and musl
  return Error{code_of(error_number), std::move(what), std::move(hint), error_number};
}

}  // namespace mirrord
