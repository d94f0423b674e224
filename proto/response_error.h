// proto/response_error.h — the error that any reply may carry, and the addresses it may name.
#pragma once

#include <expected>
#include <optional>
#include <string>

#include "proto/basic.h"
#include "proto/http.h"
#include "proto/reflect.h"

namespace mirrord::proto {

// clang-format off

// Abstract names go without the leading NUL.
struct UnixAddr : Enum<UnixAddr, Case<"Pathname", Path>, Case<"Abstract", Bytes>, Case<"Unnamed">> {};
static_assert(UnixAddr::kSize == 3);

struct SocketAddress : Enum<SocketAddress, Case<"Ip", SockAddr>, Case<"Unix", UnixAddr>> {};
static_assert(SocketAddress::kSize == 2);

struct StealTypeFilteredHttp   { using Positional = void; Port port; Filter filter; };
struct StealTypeFilteredHttpEx { using Positional = void; Port port; HttpFilter filter; };
struct StealType : Enum<StealType,
  Case<"All",            Port>,
  Case<"FilteredHttp",   StealTypeFilteredHttp>,
  Case<"FilteredHttpEx", StealTypeFilteredHttpEx>> {};
static_assert(StealType::kSize == 3);

struct BlockedAction : Enum<BlockedAction,
  Case<"Steal",       StealType>,
  Case<"Mirror",      Port>,
  Case<"OutgoingTcp", SocketAddress>,
  Case<"OutgoingUdp", SocketAddress>> {};
static_assert(BlockedAction::kSize == 4);

struct ErrorKindInternal : Enum<ErrorKindInternal,
  Case<"NotFound">, Case<"PermissionDenied">, Case<"ConnectionRefused">, Case<"ConnectionReset">,
  Case<"HostUnreachable">, Case<"NetworkUnreachable">, Case<"ConnectionAborted">,
  Case<"NotConnected">, Case<"AddrInUse">, Case<"AddrNotAvailable">, Case<"NetworkDown">,
  Case<"BrokenPipe">, Case<"AlreadyExists">, Case<"WouldBlock">, Case<"NotADirectory">,
  Case<"IsADirectory">, Case<"DirectoryNotEmpty">, Case<"ReadOnlyFilesystem">,
  Case<"FilesystemLoop">, Case<"StaleNetworkFileHandle">, Case<"InvalidInput">,
  Case<"InvalidData">, Case<"TimedOut">, Case<"WriteZero">, Case<"StorageFull">,
  Case<"NotSeekable">, Case<"FilesystemQuotaExceeded">, Case<"FileTooLarge">,
  Case<"ResourceBusy">, Case<"ExecutableFileBusy">, Case<"Deadlock">, Case<"CrossesDevices">,
  Case<"TooManyLinks">, Case<"InvalidFilename">, Case<"ArgumentListTooLong">,
  Case<"Interrupted">, Case<"Unsupported">, Case<"UnexpectedEof">, Case<"OutOfMemory">,
  Case<"Other">, Case<"Unknown", std::string>> {};
static_assert(ErrorKindInternal::kSize == 41);

struct RemoteIOError { std::optional<i32> raw_os_error; ErrorKindInternal kind; };

struct ResolveErrorKindInternal : Enum<ResolveErrorKindInternal,
  Case<"Message", std::string>, Case<"NoConnections">, Case<"NoRecordsFound", u16>, Case<"Proto">,
  Case<"Timeout">, Case<"Unknown">, Case<"NotFound">, Case<"PermissionDenied">> {};
static_assert(ResolveErrorKindInternal::kSize == 8);

struct DnsLookupError { ResolveErrorKindInternal kind; };

struct BadHttpFilterRegex   { using Positional = void; Filter filter; std::string message; };
struct BadHttpFilterExRegex { using Positional = void; HttpFilter filter; std::string message; };
struct RemoteError : Enum<RemoteError,
  Case<"NameserverNotFound">,
  Case<"AddressParsing",       std::string>,
  Case<"InvalidAddress",       SocketAddress>,
  Case<"ConnectTimedOut",      SocketAddress>,
  Case<"BadHttpFilterRegex",   BadHttpFilterRegex>,
  Case<"BadHttpFilterExRegex", BadHttpFilterExRegex>> {};
static_assert(RemoteError::kSize == 6);

struct Forbidden { BlockedAction blocked_action; std::optional<std::string> policy_name; };
struct ForbiddenWithReason {
  BlockedAction blocked_action;
  std::optional<std::string> policy_name;
  std::string reason;
};
struct SystemFailure { bool can_retry; u32 code; std::string message; };

struct ResponseError : Enum<ResponseError,
  Case<"IdsExhausted",        std::string>,
  Case<"NotFound",            u64>,
  Case<"NotDirectory",        u64>,
  Case<"NotFile",             u64>,
  Case<"RemoteIO",            RemoteIOError>,
  Case<"DnsLookup",           DnsLookupError>,
  Case<"Remote",              RemoteError>,
  Case<"PortAlreadyStolen",   Port>,
  Case<"NotImplemented">,
  Case<"Forbidden",           Forbidden>,
  Case<"StripPrefix",         std::string>,
  Case<"OpenLocal">,
  Case<"ForbiddenWithReason", ForbiddenWithReason>,
  Case<"SystemFailure",       SystemFailure>> {};
static_assert(ResponseError::kSize == 14);

// clang-format on

extern template struct EnumLife<UnixAddr>;
extern template struct EnumLife<SocketAddress>;
extern template struct EnumLife<StealType>;
extern template struct EnumLife<BlockedAction>;
extern template struct EnumLife<ErrorKindInternal>;
extern template struct EnumLife<ResolveErrorKindInternal>;
extern template struct EnumLife<RemoteError>;
extern template struct EnumLife<ResponseError>;

template <class T>
using Res = std::expected<T, ResponseError>;

}  // namespace mirrord::proto
