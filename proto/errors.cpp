// proto/errors.cpp — the table of errno and error kinds, and what each wire error means locally.
#include "proto/errors.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>

#include <string>

namespace mirrord::proto {

namespace {

struct KindRow {
  int error;
  std::size_t kind;
};

template <FixedString Name>
constexpr std::size_t kind = ErrorKindInternal::index_of<Name>;

// Every other number is Unknown. EWOULDBLOCK, EDEADLOCK and ENOTSUP are the same numbers as here.
// clang-format off
constexpr KindRow kKinds[] = {
    {ENOENT,        kind<"NotFound">},
    {EPERM,         kind<"PermissionDenied">},
    {EACCES,        kind<"PermissionDenied">},
    {ECONNREFUSED,  kind<"ConnectionRefused">},
    {ECONNRESET,    kind<"ConnectionReset">},
    {EHOSTUNREACH,  kind<"HostUnreachable">},
    {ENETUNREACH,   kind<"NetworkUnreachable">},
    {ECONNABORTED,  kind<"ConnectionAborted">},
    {ENOTCONN,      kind<"NotConnected">},
    {EADDRINUSE,    kind<"AddrInUse">},
    {EADDRNOTAVAIL, kind<"AddrNotAvailable">},
    {ENETDOWN,      kind<"NetworkDown">},
    {EPIPE,         kind<"BrokenPipe">},
    {EEXIST,        kind<"AlreadyExists">},
    {EAGAIN,        kind<"WouldBlock">},
    {ENOTDIR,       kind<"NotADirectory">},
    {EISDIR,        kind<"IsADirectory">},
    {ENOTEMPTY,     kind<"DirectoryNotEmpty">},
    {EROFS,         kind<"ReadOnlyFilesystem">},
    {ESTALE,        kind<"StaleNetworkFileHandle">},
    {EINVAL,        kind<"InvalidInput">},
    {ETIMEDOUT,     kind<"TimedOut">},
    {ENOSPC,        kind<"StorageFull">},
    {ESPIPE,        kind<"NotSeekable">},
    {EDQUOT,        kind<"FilesystemQuotaExceeded">},
    {EFBIG,         kind<"FileTooLarge">},
    {EBUSY,         kind<"ResourceBusy">},
    {ETXTBSY,       kind<"ExecutableFileBusy">},
    {EDEADLK,       kind<"Deadlock">},
    {EXDEV,         kind<"CrossesDevices">},
    {EMLINK,        kind<"TooManyLinks">},
    {ENAMETOOLONG,  kind<"InvalidFilename">},
    {E2BIG,         kind<"ArgumentListTooLong">},
    {EINTR,         kind<"Interrupted">},
    {ENOSYS,        kind<"Unsupported">},
    {EOPNOTSUPP,    kind<"Unsupported">},
    {ENOMEM,        kind<"OutOfMemory">},
};
// clang-format on

// The text is what the original's peers show for a number without a kind of its own.
std::string unknown_text(int error) {
  if (error == ELOOP)
    return "filesystem loop or indirection limit (e.g. symlink loop)";
  if (error == EINPROGRESS)
    return "in progress";
  return "uncategorized error";
}

ErrorKindInternal kind_of(int error) {
  for (const KindRow& row : kKinds) {
    if (row.error == error) {
      ErrorKindInternal found;
      found.reset_to(row.kind);
      return found;
    }
  }
  return ErrorKindInternal::make<"Unknown">(unknown_text(error));
}

std::string named(const char* what, u64 number) {
  return std::string(what) + ' ' + std::to_string(number);
}

std::string describe_forbidden(const std::optional<std::string>& policy) {
  return policy ? "forbidden by policy " + *policy : "forbidden by a policy";
}

std::string describe_io(const RemoteIOError& error) {
  if (error.raw_os_error) {
    const char* text = strerrordesc_np(*error.raw_os_error);
    if (text != nullptr)
      return text;
    return "error " + std::to_string(*error.raw_os_error);
  }
  if (const std::string* text = error.kind.get_if<"Unknown">())
    return *text;
  return std::string(error.kind.name());
}

}  // namespace

ResponseError from_errno(int error) {
  return ResponseError::make<"RemoteIO">(error, kind_of(error));
}

int to_errno(const ResponseError& error) {
  switch (error.index()) {
    case ResponseError::index_of<"RemoteIO">:
      return error.get<"RemoteIO">().raw_os_error.value_or(EIO);
    case ResponseError::index_of<"NotFound">:
    case ResponseError::index_of<"OpenLocal">:
      return ENOENT;
    case ResponseError::index_of<"NotDirectory">:
      return ENOTDIR;
    case ResponseError::index_of<"NotFile">:
      return EISDIR;
    case ResponseError::index_of<"IdsExhausted">:
      return ENOMEM;
    case ResponseError::index_of<"Remote">:
      return error.get<"Remote">().is<"ConnectTimedOut">() ? ENETUNREACH : EINVAL;
    case ResponseError::index_of<"StripPrefix">:
    case ResponseError::index_of<"PortAlreadyStolen">:
      return EINVAL;
    case ResponseError::index_of<"NotImplemented">:
      return 0;
    case ResponseError::index_of<"Forbidden">:
    case ResponseError::index_of<"ForbiddenWithReason">:
      return EPERM;
  }
  return EIO;  // SystemFailure, DnsLookup
}

int to_gai_error(const ResponseError& error) {
  const auto* lookup = error.get_if<"DnsLookup">();
  if (lookup == nullptr)
    return EAI_FAIL;
  if (lookup->kind.is<"Timeout">())
    return EAI_AGAIN;
  return lookup->kind.is<"NoRecordsFound">() ? EAI_NONAME : EAI_FAIL;
}

std::string describe(const ResponseError& error) {
  switch (error.index()) {
    case ResponseError::index_of<"IdsExhausted">:
      return "identifiers exhausted: " + error.get<"IdsExhausted">();
    case ResponseError::index_of<"NotFound">:
      return named("no open remote file", error.get<"NotFound">());
    case ResponseError::index_of<"NotDirectory">:
      return named("not a directory: remote file", error.get<"NotDirectory">());
    case ResponseError::index_of<"NotFile">:
      return named("a directory: remote file", error.get<"NotFile">());
    case ResponseError::index_of<"RemoteIO">:
      return describe_io(error.get<"RemoteIO">());
    case ResponseError::index_of<"DnsLookup">: {
      const auto& kind = error.get<"DnsLookup">().kind;
      const std::string* text = kind.get_if<"Message">();
      return "name look-up failed: " + (text ? *text : std::string(kind.name()));
    }
    case ResponseError::index_of<"PortAlreadyStolen">:
      return named("already stolen by someone else: port", error.get<"PortAlreadyStolen">());
    case ResponseError::index_of<"Forbidden">:
      return describe_forbidden(error.get<"Forbidden">().policy_name);
    case ResponseError::index_of<"ForbiddenWithReason">: {
      const auto& forbidden = error.get<"ForbiddenWithReason">();
      return describe_forbidden(forbidden.policy_name) + ": " + forbidden.reason;
    }
    case ResponseError::index_of<"SystemFailure">:
      return error.get<"SystemFailure">().message;
    case ResponseError::index_of<"Remote">:
      return std::string(error.get<"Remote">().name());
  }
  return std::string(error.name());
}

}  // namespace mirrord::proto
