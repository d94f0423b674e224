// proto/file.h — file requests and their replies, which come in request order and carry no id.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "proto/basic.h"
#include "proto/reflect.h"
#include "proto/response_error.h"

namespace mirrord::proto {

// clang-format off

// ---- requests, client to server

struct OpenOptionsInternal { bool read; bool write; bool append; bool truncate; bool create; bool create_new; };
struct OpenFileRequest         { Path path; OpenOptionsInternal open_options; };
struct OpenRelativeFileRequest { u64 relative_fd; Path path; OpenOptionsInternal open_options; };
struct ReadFileRequest         { u64 remote_fd; u64 buffer_size; };
struct ReadLimitedFileRequest  { u64 remote_fd; u64 buffer_size; u64 start_from; };
struct SeekFromInternal : Enum<SeekFromInternal, Case<"Start", u64>, Case<"End", i64>, Case<"Current", i64>> {};
static_assert(SeekFromInternal::kSize == 3);
struct SeekFileRequest         { u64 fd; SeekFromInternal seek_from; };
struct WriteFileRequest        { u64 fd; Payload write_bytes; };
struct WriteLimitedFileRequest { u64 remote_fd; u64 start_from; Payload write_bytes; };
struct CloseFileRequest        { u64 fd; };
struct AccessFileRequest       { Path pathname; u8 mode; };
struct XstatRequest            { std::optional<Path> path; std::optional<u64> fd; bool follow_symlink; };
struct XstatFsRequest          { u64 fd; };
struct XstatFsRequestV2        { u64 fd; };
struct FdOpenDirRequest        { u64 remote_fd; };
struct ReadDirRequest          { u64 remote_fd; };
struct CloseDirRequest         { u64 remote_fd; };
struct GetDEnts64Request       { u64 remote_fd; u64 buffer_size; };
struct ReadLinkFileRequest     { Path path; };
struct ReadDirBatchRequest     { u64 remote_fd; usize amount; };
struct MakeDirRequest          { Path pathname; u32 mode; };
struct MakeDirAtRequest        { u64 dirfd; Path pathname; u32 mode; };
struct RemoveDirRequest        { Path pathname; };
struct UnlinkRequest           { Path pathname; };
struct UnlinkAtRequest         { std::optional<u64> dirfd; Path pathname; u32 flags; };
struct StatFsRequest           { Path path; };
struct StatFsRequestV2         { Path path; };
struct RenameRequest           { Path old_path; Path new_path; };
struct FtruncateRequest        { u64 fd; i64 length; };
struct Timespec                { i64 tv_sec; i64 tv_nsec; };
struct FutimensRequest         { u64 fd; std::optional<std::array<Timespec, 2>> times; };
struct FchownRequest           { u64 fd; u32 owner; u32 group; };
struct FchmodRequest           { u64 fd; u32 mode; };

struct FileRequest : Enum<FileRequest,
  Case<"Open",         OpenFileRequest>,
  Case<"OpenRelative", OpenRelativeFileRequest>,
  Case<"Read",         ReadFileRequest>,
  Case<"ReadLimited",  ReadLimitedFileRequest>,
  Case<"Seek",         SeekFileRequest>,
  Case<"Write",        WriteFileRequest>,
  Case<"WriteLimited", WriteLimitedFileRequest>,
  Case<"Close",        CloseFileRequest>,           // no reply
  Case<"Access",       AccessFileRequest>,
  Case<"Xstat",        XstatRequest>,
  Case<"XstatFs",      XstatFsRequest>,
  Case<"FdOpenDir",    FdOpenDirRequest>,           // reply: OpenDir
  Case<"ReadDir",      ReadDirRequest>,
  Case<"CloseDir",     CloseDirRequest>,            // no reply
  Case<"GetDEnts64",   GetDEnts64Request>,
  Case<"ReadLink",     ReadLinkFileRequest>,
  Case<"ReadDirBatch", ReadDirBatchRequest>,
  Case<"MakeDir",      MakeDirRequest>,
  Case<"MakeDirAt",    MakeDirAtRequest>,           // reply: MakeDir
  Case<"RemoveDir",    RemoveDirRequest>,
  Case<"Unlink",       UnlinkRequest>,
  Case<"UnlinkAt",     UnlinkAtRequest>,            // reply: Unlink
  Case<"StatFs",       StatFsRequest>,              // reply: XstatFs
  Case<"XstatFsV2",    XstatFsRequestV2>,
  Case<"StatFsV2",     StatFsRequestV2>,            // reply: XstatFsV2
  Case<"Rename",       RenameRequest>,
  Case<"Ftruncate",    FtruncateRequest>,
  Case<"Futimens",     FutimensRequest>,
  Case<"Fchown",       FchownRequest>,
  Case<"Fchmod",       FchmodRequest>> {};
static_assert(FileRequest::kSize == 30);

// ---- replies, server to client

struct OpenFileResponse  { u64 fd; };
struct ReadFileResponse  { Payload bytes; u64 read_amount; };
struct WriteFileResponse { u64 written_amount; };
struct SeekFileResponse  { u64 result_offset; };
using AccessFileResponse = Unit;

struct MetadataInternal {
  u64 device_id;
  u64 inode;
  u32 mode;
  u64 hard_links;
  u32 user_id;
  u32 group_id;
  u64 rdevice_id;
  u64 size;
  i64 access_time;  // all three: nanoseconds since the epoch
  i64 modification_time;
  i64 creation_time;
  u64 block_size;
  u64 blocks;
};
struct XstatResponse { MetadataInternal metadata; };

struct FsMetadataInternal {
  i64 filesystem_type;
  i64 block_size;
  u64 blocks;
  u64 blocks_free;
  u64 blocks_available;
  u64 files;
  u64 files_free;
};
struct XstatFsResponse { FsMetadataInternal metadata; };

struct FsMetadataInternalV2 {
  i64 filesystem_type;
  i64 block_size;
  u64 blocks;
  u64 blocks_free;
  u64 blocks_available;
  u64 files;
  u64 files_free;
  std::array<i32, 2> filesystem_id;
  i64 name_len;
  i64 fragment_size;
  i64 flags;
};
struct XstatFsResponseV2 { FsMetadataInternalV2 metadata; };

// position: index in the listing; file_type: a DT_* value.
struct DirEntryInternal     { u64 inode; u64 position; std::string name; u8 file_type; };
struct ReadDirResponse      { std::optional<DirEntryInternal> direntry; };
struct OpenDirResponse      { u64 fd; };
struct GetDEnts64Response   { u64 fd; std::vector<DirEntryInternal> entries; u64 result_size; };
struct ReadLinkFileResponse { Path path; };
struct ReadDirBatchResponse { u64 fd; std::vector<DirEntryInternal> dir_entries; };

struct FileResponse : Enum<FileResponse,
  Case<"Open",         Res<OpenFileResponse>>,
  Case<"Read",         Res<ReadFileResponse>>,
  Case<"ReadLimited",  Res<ReadFileResponse>>,
  Case<"Write",        Res<WriteFileResponse>>,
  Case<"WriteLimited", Res<WriteFileResponse>>,
  Case<"Seek",         Res<SeekFileResponse>>,
  Case<"Access",       Res<AccessFileResponse>>,
  Case<"Xstat",        Res<XstatResponse>>,
  Case<"XstatFs",      Res<XstatFsResponse>>,
  Case<"ReadDir",      Res<ReadDirResponse>>,
  Case<"OpenDir",      Res<OpenDirResponse>>,
  Case<"GetDEnts64",   Res<GetDEnts64Response>>,
  Case<"ReadLink",     Res<ReadLinkFileResponse>>,
  Case<"ReadDirBatch", Res<ReadDirBatchResponse>>,
  Case<"MakeDir",      Res<Unit>>,
  Case<"RemoveDir",    Res<Unit>>,
  Case<"Unlink",       Res<Unit>>,
  Case<"XstatFsV2",    Res<XstatFsResponseV2>>,
  Case<"Rename",       Res<Unit>>,
  Case<"Ftruncate",    Res<Unit>>,
  Case<"Futimens",     Res<Unit>>,
  Case<"Fchown",       Res<Unit>>,
  Case<"Fchmod",       Res<Unit>>> {};
static_assert(FileResponse::kSize == 23);

// clang-format on

extern template struct EnumLife<SeekFromInternal>;
extern template struct EnumLife<FileRequest>;
extern template struct EnumLife<FileResponse>;

}  // namespace mirrord::proto
