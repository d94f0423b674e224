// hook/fd_table.h — descriptor number -> record of a remote file or socket. Reading is lock-free:
// a descriptor that is nothing special costs one load.
#pragma once

#include "hook/file_record.h"
#include "hook/libc.h"
#include "hook/socket_record.h"

namespace mirrord::hook {

inline constexpr int kMaxDescriptors = 1 << 20;

enum class RecordType : uint32_t { kFile, kSocket };

// Reference-counted: one for each descriptor, one for each thread at work on it. Its memory stays
// a record for ever, so a late reader never touches anything else.
struct Record {
  std::atomic<uint32_t> references;
  uint32_t next_free;
  RecordType type;
  union {
    FileRecord file;
    SocketRecord socket;
  };
};

// Reserved address space, touched page by page; nullptr before init.
extern std::atomic<Record*>* fd_table;
// Descriptors at and above it never had a record.
extern std::atomic<int> fd_table_end;

// Called once at start. False: no address space.
bool make_fd_table();

// Whether the descriptor has a record: the fast path of every hook on descriptors.
inline bool has_record(int fd) {
  return fd >= 0 && fd < fd_table_end.load(std::memory_order_relaxed) &&
         fd_table[fd].load(std::memory_order_relaxed) != nullptr;
}

// A new record with one reference, zeroed; nullptr when there are too many.
Record* allocate_record(RecordType type);
// Gives one reference back. The last one ends the file or socket: returns its errno or 0.
int release_record(Record* record);

// Puts a record (with the caller's reference) at a descriptor. What was there is released.
void attach(int fd, Record* record);
// Takes the record away from the descriptor, with its reference; nullptr: there was none.
Record* detach(int fd);
// The descriptor `copy` is a duplicate of `fd`: it gets the same record, or none.
void share_record(int fd, int copy);

// After fork, in the child: threads of the parent hold no references here.
void recount_references();

// Keeps the record of a descriptor alive while a hook works on it.
class RecordRef {
 public:
  explicit RecordRef(int fd);
  RecordRef(int fd, RecordType type) : RecordRef(fd) {
    if (record_ != nullptr && record_->type != type) {
      reset();
    }
  }
  ~RecordRef() { reset(); }
  RecordRef(const RecordRef&) = delete;
  RecordRef& operator=(const RecordRef&) = delete;

  explicit operator bool() const { return record_ != nullptr; }
  Record* operator->() const { return record_; }
  [[nodiscard]] Record* get() const { return record_; }

 private:
  void reset() {
    if (record_ != nullptr) {
      release_record(record_);
      record_ = nullptr;
    }
  }
  Record* record_ = nullptr;
};

}  // namespace mirrord::hook
