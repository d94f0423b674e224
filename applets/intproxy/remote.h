// applets/intproxy/remote.h — errors of the agent as errno values, and metadata conversions.
#pragma once

#include "proto/file.h"
#include "proto/local.h"
#include "proto/response_error.h"

namespace mirrord::intproxy {

// What a program sees of an agent's error. Never 0.
int errno_of(const proto::ResponseError& error);

// What every pending and later call gets once the agent is gone.
proto::ResponseError agent_lost_error();
bool is_agent_lost(const proto::ResponseError& error);

// What a call gets that was under way when the connection broke, and cannot be repeated on the next.
proto::ResponseError interrupted_error();
bool is_interrupted(const proto::ResponseError& error);

// An error that the intproxy itself answers with.
proto::ResponseError io_error(int error_number);

local::Metadata to_local(const proto::MetadataInternal& metadata);
local::FsMetadata to_local(const proto::FsMetadataInternalV2& metadata);
local::FsMetadata to_local(const proto::FsMetadataInternal& metadata);

}  // namespace mirrord::intproxy
