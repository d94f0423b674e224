// applets/intproxy/remote.cpp — one table from the agent's errors to errno values.
#include "applets/intproxy/remote.h"

#include <cerrno>

#include "proto/errors.h"

namespace mirrord::intproxy {
namespace {

constexpr proto::u32 kAgentLostCode = 1;    // as the original numbers it
constexpr proto::u32 kInterruptedCode = 2;  // ours; never on a wire

bool is_failure(const proto::ResponseError& error, proto::u32 code) {
  const proto::SystemFailure* failure = error.get_if<"SystemFailure">();
  return failure != nullptr && failure->code == code;
}

}  // namespace

int errno_of(const proto::ResponseError& error) {
  if (error.is<"NotImplemented">()) {
    return ENOTSUP;
  }
  const int number = proto::to_errno(error);
  return number > 0 ? number : EIO;
}

proto::ResponseError agent_lost_error() {
  proto::SystemFailure failure{false, kAgentLostCode, "the connection with the agent was lost"};
  return proto::ResponseError::make<"SystemFailure">(std::move(failure));
}

bool is_agent_lost(const proto::ResponseError& error) {
  return is_failure(error, kAgentLostCode);
}

proto::ResponseError interrupted_error() {
  proto::SystemFailure failure{false, kInterruptedCode, "the connection with the agent broke"};
  return proto::ResponseError::make<"SystemFailure">(std::move(failure));
}

bool is_interrupted(const proto::ResponseError& error) {
  return is_failure(error, kInterruptedCode);
}

proto::ResponseError io_error(int error_number) {
  return proto::from_errno(error_number);
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
