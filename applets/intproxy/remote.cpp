// applets/intproxy/remote.cpp — one table from the agent's errors to errno values.
#include "applets/intproxy/remote.h"

#include <cerrno>

namespace mirrord::intproxy {
namespace {

constexpr proto::u32 kAgentLostCode = 1;  // as the original numbers it

// For errors that carry no number.
int errno_of_kind(const proto::ErrorKindInternal& kind) {
  using K = proto::ErrorKindInternal;
  switch (kind.index()) {
    case K::index_of<"NotFound">:
      return ENOENT;
    case K::index_of<"PermissionDenied">:
      return EACCES;
    case K::index_of<"ConnectionRefused">:
      return ECONNREFUSED;
    case K::index_of<"ConnectionReset">:
      return ECONNRESET;
    case K::index_of<"HostUnreachable">:
      return EHOSTUNREACH;
    case K::index_of<"NetworkUnreachable">:
      return ENETUNREACH;
    case K::index_of<"AlreadyExists">:
      return EEXIST;
    case K::index_of<"NotADirectory">:
      return ENOTDIR;
    case K::index_of<"IsADirectory">:
      return EISDIR;
    case K::index_of<"DirectoryNotEmpty">:
      return ENOTEMPTY;
    case K::index_of<"InvalidInput">:
      return EINVAL;
    case K::index_of<"TimedOut">:
      return ETIMEDOUT;
    case K::index_of<"FilesystemLoop">:
      return ELOOP;
    case K::index_of<"Unsupported">:
      return ENOTSUP;
    default:
      return EIO;
  }
}

int errno_of_remote(const proto::RemoteError& error) {
  return error.is<"ConnectTimedOut">() ? ETIMEDOUT : EINVAL;
}

}  // namespace

int errno_of(const proto::ResponseError& error) {
  using E = proto::ResponseError;
  switch (error.index()) {
    case E::index_of<"IdsExhausted">:
      return ENOMEM;
    case E::index_of<"NotFound">:
    case E::index_of<"OpenLocal">:
      return ENOENT;
    case E::index_of<"NotDirectory">:
      return ENOTDIR;
    case E::index_of<"NotFile">:
      return EISDIR;
    case E::index_of<"RemoteIO">: {
      const proto::RemoteIOError& io = error.get<"RemoteIO">();
      const int number = io.raw_os_error.value_or(0);
      return number > 0 && number < 4096 ? number : errno_of_kind(io.kind);
    }
    case E::index_of<"Remote">:
      return errno_of_remote(error.get<"Remote">());
    case E::index_of<"PortAlreadyStolen">:
    case E::index_of<"StripPrefix">:
      return EINVAL;
    case E::index_of<"NotImplemented">:
      return ENOTSUP;
    case E::index_of<"Forbidden">:
    case E::index_of<"ForbiddenWithReason">:
      return EACCES;
    default:
      return EIO;  // SystemFailure, DnsLookup
  }
}

proto::ResponseError agent_lost_error() {
  proto::SystemFailure failure{false, kAgentLostCode, "the connection with the agent was lost"};
  return proto::ResponseError::make<"SystemFailure">(std::move(failure));
}

bool is_agent_lost(const proto::ResponseError& error) {
  const proto::SystemFailure* failure = error.get_if<"SystemFailure">();
  return failure != nullptr && failure->code == kAgentLostCode;
}

proto::ResponseError io_error(int error_number) {
  proto::RemoteIOError error{error_number, proto::ErrorKindInternal::make<"Other">()};
  return proto::ResponseError::make<"RemoteIO">(std::move(error));
}

local::Metadata to_local(const proto::MetadataInternal& metadata) {
  // Present agents of the original send only the part below a second, as if of 1970: all that can
  // be known. Ours send all nanoseconds.
  return {.device = metadata.device_id,
          .inode = metadata.inode,
          .link_count = metadata.hard_links,
          .rdevice = metadata.rdevice_id,
          .size = metadata.size,
          .block_size = metadata.block_size,
          .blocks = metadata.blocks,
          .mode = metadata.mode,
          .user_id = metadata.user_id,
          .group_id = metadata.group_id,
          .padding = 0,
          .access_ns = metadata.access_time,
          .modification_ns = metadata.modification_time,
          .change_ns = metadata.creation_time};
}

local::FsMetadata to_local(const proto::FsMetadataInternalV2& metadata) {
  return {.type = metadata.filesystem_type,
          .block_size = metadata.block_size,
          .blocks = metadata.blocks,
          .blocks_free = metadata.blocks_free,
          .blocks_available = metadata.blocks_available,
          .files = metadata.files,
          .files_free = metadata.files_free,
          .id = {metadata.filesystem_id[0], metadata.filesystem_id[1]},
          .name_length = metadata.name_len,
          .fragment_size = metadata.fragment_size,
          .flags = metadata.flags};
}

local::FsMetadata to_local(const proto::FsMetadataInternal& metadata) {
  return {.type = metadata.filesystem_type,
          .block_size = metadata.block_size,
          .blocks = metadata.blocks,
          .blocks_free = metadata.blocks_free,
          .blocks_available = metadata.blocks_available,
          .files = metadata.files,
          .files_free = metadata.files_free,
          .id = {0, 0},
          .name_length = 255,
          .fragment_size = metadata.block_size,
          .flags = 0};
}

}  // namespace mirrord::intproxy
