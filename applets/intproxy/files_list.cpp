// applets/intproxy/files_list.cpp — kList: all entries of a directory into its memfd, as
// linux_dirent64 records whose offsets are positions in the memfd.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "applets/intproxy/files.h"

namespace mirrord::intproxy {
namespace {

constexpr std::uint64_t kBatch = 4096;  // entries per request
constexpr int kBatchesAhead = 2;        // requests on their way
constexpr int kSinglesAhead = 64;       // for agents that give one entry per request
constexpr std::size_t kMaxNameLength = 255;
constexpr std::size_t kMaxListing = 256 << 20;

// As the kernel lays it out; the name follows, NUL-terminated.
struct RecordHead {
  std::uint64_t inode;
  std::int64_t next;
  std::uint16_t length;
  std::uint8_t type;
} __attribute__((packed));
constexpr std::size_t kNameOffset = 19;
static_assert(offsetof(RecordHead, type) + 1 == kNameOffset);

void append_record(std::vector<std::byte>& out, std::uint64_t inode, std::uint8_t type,
                   std::string_view name) {
  const std::size_t length = (kNameOffset + name.size() + 1 + 7) & ~std::size_t{7};
  const std::size_t at = out.size();
  out.resize(at + length);
  const RecordHead head{inode, static_cast<std::int64_t>(at + length),
                        static_cast<std::uint16_t>(length), type};
  std::memcpy(out.data() + at, &head, kNameOffset);
  std::memcpy(out.data() + at + kNameOffset, name.data(), name.size());
}

bool is_entry_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameLength && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

}  // namespace

struct DirectoryRead {
  std::shared_ptr<RemoteFile> file;
  std::vector<Call> calls;
  std::uint64_t stream_fd = 0;
  std::uint64_t parent_inode = 0;
  std::vector<std::byte> records;
  std::vector<std::string> names;
  bool is_over = false;
  int attempt = 0;               // answers to an earlier one are void
  std::uint64_t connection = 0;  // to the agent, of this attempt

  void add(const proto::DirEntryInternal& entry) {
    if (is_entry_name(entry.name) && records.size() < kMaxListing) {
      append_record(records, entry.inode, entry.file_type, entry.name);
      if (names.size() < StatAhead::kMaxEntries) {
        names.push_back(entry.name);
      }
    }
  }
};

void Files::list(const FilePtr& file, const local::HandleRequest&, Request&, Call call) {
  if (file->kind != local::FileKind::kDirectory || !file->remote_fd) {
    call.fail(ENOTDIR);
    return;
  }
  if (const auto running = file->listing.lock()) {
    running->calls.push_back(std::move(call));
    return;
  }
  auto reading = std::make_shared<DirectoryRead>();
  reading->file = file;
  reading->calls.push_back(std::move(call));
  file->listing = reading;
  begin_list(reading);
}

void Files::begin_list(const std::shared_ptr<DirectoryRead>& reading) {
  const int attempt = ++reading->attempt;
  reading->connection = agent_.connection();
  reading->records.clear();
  reading->names.clear();
  const FilePtr& file = reading->file;
  auto parent =
      proto::FileRequest::make<"Xstat">(proto::Path(file->path + "/.."), std::nullopt, true);
  agent_.request<"Xstat">(
      std::move(parent), [reading, attempt](proto::Res<proto::XstatResponse> reply) {
        if (attempt != reading->attempt) {
          return;
        }
        reading->parent_inode = reply ? reply->metadata.inode : reading->file->metadata.inode;
        // "." and ".." come first; the agent leaves them out.
        append_record(reading->records, reading->file->metadata.inode, DT_DIR, ".");
        append_record(reading->records, reading->parent_inode, DT_DIR, "..");
      });
  const bool knows_number = agent_.speaks_flight();
  if (knows_number) {
    reading->stream_fd = agent_.reserve_descriptor();
  }
  agent_.request<"OpenDir">(
      proto::FileRequest::make<"FdOpenDir">(*file->remote_fd),
      [this, reading, attempt, knows_number](proto::Res<proto::OpenDirResponse> reply) {
        if (!reply) {
          list_failed(reading, attempt, reply.error());
        } else if (!knows_number) {
          reading->stream_fd = reply->fd;
          read_directory(reading);
        }
      });
  if (knows_number) {
    read_directory(reading);
  }
}

void Files::read_directory(const std::shared_ptr<DirectoryRead>& reading) {
  const bool in_batches = agent_.supports(proto::Gate::kReaddirBatch);
  const int ahead = in_batches ? kBatchesAhead : kSinglesAhead;
  for (int i = 0; i < ahead; ++i) {
    if (in_batches) {
      request_batch(reading);
    } else {
      request_entry(reading);
    }
  }
}

// Each answer asks for one more, so that some are always on their way; an empty one is the end.
void Files::request_batch(const std::shared_ptr<DirectoryRead>& reading) {
  agent_.request<"ReadDirBatch">(
      proto::FileRequest::make<"ReadDirBatch">(reading->stream_fd, kBatch),
      [this, reading, attempt = reading->attempt](proto::Res<proto::ReadDirBatchResponse> reply) {
        if (reading->is_over || attempt != reading->attempt) {
          return;
        }
        if (!reply) {
          list_failed(reading, attempt, reply.error());
        } else if (reply->dir_entries.empty()) {
          finish_list(reading);
        } else {
          for (const proto::DirEntryInternal& entry : reply->dir_entries) {
            reading->add(entry);
          }
          request_batch(reading);
        }
      });
}

void Files::request_entry(const std::shared_ptr<DirectoryRead>& reading) {
  agent_.request<"ReadDir">(
      proto::FileRequest::make<"ReadDir">(reading->stream_fd),
      [this, reading, attempt = reading->attempt](proto::Res<proto::ReadDirResponse> reply) {
        if (reading->is_over || attempt != reading->attempt) {
          return;
        }
        if (!reply) {
          list_failed(reading, attempt, reply.error());
        } else if (!reply->direntry) {
          finish_list(reading);
        } else {
          reading->add(*reply->direntry);
          request_entry(reading);
        }
      });
}

// A listing that was cut in the middle begins again: the agent's place in it is lost. Once for each
// connection, as a directory that cannot be opened again fails in the same way.
void Files::list_failed(const std::shared_ptr<DirectoryRead>& reading, int attempt,
                        const proto::ResponseError& error) {
  if (reading->is_over || attempt != reading->attempt) {
    return;
  }
  if (is_interrupted(error) && reading->connection != agent_.connection()) {
    begin_list(reading);
  } else {
    fail_list(*reading, errno_of(error));
  }
}

void Files::fail_list(DirectoryRead& reading, int error_number) {
  reading.is_over = true;
  reading.file->listing.reset();
  for (Call& call : std::exchange(reading.calls, {})) {
    call.fail(error_number);
  }
}

void Files::finish_list(const std::shared_ptr<DirectoryRead>& reading) {
  reading->is_over = true;
  RemoteFile& file = *reading->file;
  file.listing.reset();
  agent_.send_without_reply(proto::FileRequest::make<"CloseDir">(reading->stream_fd));
  const std::span<const std::byte> records = reading->records;
  std::size_t written = 0;
  int error = ::ftruncate(file.memory.get(), 0) == 0 ? 0 : errno;
  while (error == 0 && written < records.size()) {
    const ssize_t count = ::pwrite(file.memory.get(), records.data() + written,
                                   records.size() - written, static_cast<off_t>(written));
    if (count < 0) {
      error = errno;
    } else {
      written += static_cast<std::size_t>(count);
    }
  }
  if (error != 0) {
    fail_list(*reading, error);
    return;
  }
  stat_ahead_.note_listing(file.path, std::move(reading->names));
  for (Call& call : std::exchange(reading->calls, {})) {
    call.answer(local::RangeReply{0, records.size(), records.size()});
  }
}

}  // namespace mirrord::intproxy
