// applets/agent/listing.cpp — walks getdents64 records.
#include "applets/agent/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "applets/agent/environment.h"
#include "proto/text.h"

namespace mirrord::agent {
namespace {

constexpr std::size_t kBufferSize = 32 * 1024;
constexpr std::size_t kLongestRecord = 280;  // a name of 255 bytes

// The fixed part of a record of getdents64(2); the name follows, ended by a NUL.
struct RecordHead {
  std::uint64_t inode;
  std::int64_t offset;
  std::uint16_t length;
  std::uint8_t type;
};
constexpr std::size_t kNameOffset = 19;

std::uint64_t inode_of(int directory, const char* name) {
  struct stat info {};
  return ::fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 ? info.st_ino : 0;
}

// For file systems that do not put types into their directories.
std::uint8_t type_of(int directory, const char* name) {
  struct stat info {};
  if (::fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
    return DT_UNKNOWN;  // vanished meanwhile
  return static_cast<std::uint8_t>(IFTODT(info.st_mode));
}

}  // namespace

Listing::Listing(Fd directory, bool with_dots)
    : directory_(std::move(directory)),
      is_on_memory_(is_on_memory(directory_.get())),
      dots_left_(with_dots ? 2 : 0) {}

bool Listing::fill() {
  if (!buffer_)
    buffer_ = std::make_unique_for_overwrite<std::byte[]>(kBufferSize);
  at_ = end_ = 0;
  // Until the buffer is full or the directory has ended: to know the end needs a call of its own.
  while (kBufferSize - end_ >= kLongestRecord) {
    const long count =
        ::syscall(SYS_getdents64, directory_.get(), buffer_.get() + end_, kBufferSize - end_);
    if (count > 0) {
      end_ += static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno != ENOENT)  // ENOENT: the directory itself has been removed
      return end_ > 0;                 // an error comes again after what was read before it
    has_ended_ = true;
    break;
  }
  return end_ > 0;
}

Listing::State Listing::load() {
  const std::byte* record = buffer_.get() + at_;
  RecordHead head;
  std::memcpy(&head, record, kNameOffset);
  const char* name = reinterpret_cast<const char*>(record + kNameOffset);
  at_ += head.length;
  if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0)
    return State::kEnd;  // given first, or left out
  entry_.inode = head.inode;
  entry_.file_type = head.type == DT_UNKNOWN ? type_of(directory_.get(), name) : head.type;
  entry_.name = name;
  if (!proto::is_utf8(entry_.name))
    entry_.name = to_utf8_lossy(entry_.name);
  return State::kEntry;
}

Listing::State Listing::peek(Attempt attempt) {
  if (has_entry_)
    return State::kEntry;
  if (dots_left_ > 0) {
    const char* name = dots_left_ == 2 ? "." : "..";
    entry_ = {inode_of(directory_.get(), name), 0, name, DT_DIR};
  } else {
    State state = State::kEnd;
    while (state == State::kEnd) {
      if (at_ < end_) {
        state = load();
        continue;
      }
      if (has_ended_) {
        buffer_.reset();
        return State::kEnd;
      }
      if (attempt == Attempt::kCached && !is_on_memory_)
        return State::kWouldBlock;
      if (!fill() && !has_ended_)
        return State::kError;
    }
  }
  dots_left_ = std::max(dots_left_ - 1, 0);
  entry_.position = position_++;
  has_entry_ = true;
  return State::kEntry;
}

proto::DirEntryInternal Listing::take() {
  has_entry_ = false;
  return std::move(entry_);
}

void Listing::prefetch() {
  if (!has_ended_ && at_ == end_)
    fill();
}

}  // namespace mirrord::agent
