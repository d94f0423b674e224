// hook/inheritance.cpp — remote files across exec.
#include "hook/inheritance.h"

#include <sys/mman.h>

#include "hook/ipc.h"
#include "hook/remote_file.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

// The text: "<key>.<next key>;" then for each file eight hexadecimal numbers "a.b.c.….h;".
constexpr size_t kTextSize = 120 * 1024;  // the kernel takes 128 KiB for one variable
constexpr uint64_t kNoDescriptor = ~uint64_t{0};

struct InheritedFile {
  uint64_t fd;  // kNoDescriptor: closed by exec
  uint64_t device, inode;
  uint64_t handle, kind, slot, open_flags, is_whole;
};
constexpr int kFields = 8;
static_assert(sizeof(InheritedFile) == kFields * sizeof(uint64_t));

class Writer {
 public:
  Writer(char* data, size_t size) : data_(data), size_(size) {}
  void text(const char* value) {
    while (*value != '\0') {
      put(*value++);
    }
  }
  void number(uint64_t value, char after) {
    char digits[16];
    int count = 0;
    do {
      digits[count++] = "0123456789abcdef"[value % 16];
      value /= 16;
    } while (value != 0);
    while (count > 0) {
      put(digits[--count]);
    }
    put(after);
  }
  [[nodiscard]] size_t room() const { return size_ - at_; }

 private:
  void put(char value) {
    if (at_ + 1 < size_) {
      data_[at_++] = value;
      data_[at_] = '\0';
    }
  }
  char* data_;
  size_t size_;
  size_t at_ = 0;
};

// Reads one number and what ends it; false at the end of the text.
bool read_number(const char*& at, uint64_t& value) {
  value = 0;
  const char* begin = at;
  for (;; ++at) {
    char digit = *at;
    if (digit >= '0' && digit <= '9') {
      value = value * 16 + static_cast<uint64_t>(digit - '0');
    } else if (digit >= 'a' && digit <= 'f') {
      value = value * 16 + static_cast<uint64_t>(digit - 'a') + 10;
    } else {
      break;
    }
  }
  bool ok = at != begin && (*at == '.' || *at == ';');
  if (ok) {
    ++at;
  }
  return ok;
}

bool has_files() {
  int end = fd_table_end.load(std::memory_order_acquire);
  for (int fd = 0; fd < end; ++fd) {
    if (RecordRef(fd, RecordType::kFile)) {
      return true;
    }
  }
  return false;
}

void describe(Writer& writer, int fd, FileRecord& file) {
  long flags = raw(SYS_fcntl, fd, F_GETFD);
  struct stat status = {};
  if (failed(flags) || failed(raw(SYS_fstat, fd, &status))) {
    return;
  }
  if ((flags & FD_CLOEXEC) == 0 && file.kind == local::FileKind::kCached) {
    SavedErrno saved;
    (void)fetch_whole(file);  // what runs there may be without the hook
  }
  const uint64_t fields[kFields] = {
      (flags & FD_CLOEXEC) != 0 ? kNoDescriptor : static_cast<uint64_t>(fd),
      status.st_dev,
      status.st_ino,
      file.handle,
      static_cast<uint64_t>(file.kind),
      file.slot,
      file.open_flags.load(std::memory_order_relaxed),
      file.is_whole.load(std::memory_order_relaxed) ? 1U : 0U};
  for (int i = 0; i < kFields; ++i) {
    writer.number(fields[i], i + 1 < kFields ? '.' : ';');
  }
}

bool is_same_file(int fd, const InheritedFile& file) {
  struct stat status = {};
  return !failed(raw(SYS_fstat, fd, &status)) && status.st_dev == file.device &&
         status.st_ino == file.inode;
}

Record* make_record(const InheritedFile& from) {
  Record* record = allocate_record(RecordType::kFile);
  if (record != nullptr) {
    FileRecord& file = record->file;
    file.handle = from.handle;
    file.kind = static_cast<local::FileKind>(from.kind);
    file.slot = static_cast<uint32_t>(from.slot);
    file.open_flags.store(static_cast<uint32_t>(from.open_flags), std::memory_order_relaxed);
    file.is_whole.store(from.is_whole != 0, std::memory_order_relaxed);
  }
  return record;
}

// The next file of the text; false at its end.
bool read_file(const char*& at, InheritedFile& file) {
  uint64_t* fields = &file.fd;
  bool ok = true;
  for (int i = 0; i < kFields && ok; ++i) {
    ok = read_number(at, fields[i]);
  }
  return ok;
}

// The record that has this handle already, with a reference for the caller; or nullptr.
Record* find_record(uint64_t handle) {
  int end = fd_table_end.load(std::memory_order_acquire);
  for (int fd = 0; fd < end; ++fd) {
    RecordRef found(fd, RecordType::kFile);
    if (found && found->file.handle == handle) {
      found->references.fetch_add(1, std::memory_order_relaxed);
      return found.get();
    }
  }
  return nullptr;
}

// Puts the file at one descriptor. Duplicates share a record.
void restore_at(int fd, const InheritedFile& from) {
  if (has_record(fd) || !is_same_file(fd, from)) {
    return;
  }
  Record* record = find_record(from.handle);
  if (record == nullptr) {
    record = make_record(from);
  }
  if (record != nullptr) {
    attach(fd, record);
  }
}

// At its descriptor, and at the standard ones that whoever started this program may have put it at.
void restore(const InheritedFile& from) {
  for (int fd = 0; fd <= 2; ++fd) {
    restore_at(fd, from);
  }
  if (from.fd < kMaxDescriptors) {
    restore_at(static_cast<int>(from.fd), from);
  }
}

// Closes the handle of a file that is at no descriptor of this program; once, although a handle
// is mentioned for each of its descriptors.
void close_unless_used(const InheritedFile& file, const char* files, const char* mention) {
  InheritedFile earlier = {};
  for (const char* at = files; at != mention && read_file(at, earlier);) {
    if (earlier.handle == file.handle && at != mention) {
      return;
    }
  }
  Record* record = find_record(file.handle);
  if (record == nullptr) {
    record = make_record(file);
  }
  if (record != nullptr) {
    release_record(record);  // the last reference closes the handle
  }
}

}  // namespace

Inheritance::Inheritance() {
  if (!has_files()) {
    return;
  }
  long made =
      raw(SYS_mmap, nullptr, kTextSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(made)) {
    return;
  }
  text_ = reinterpret_cast<char*>(made);
  local::Exec message = {random_key()};
  Writer writer(text_, kTextSize);
  writer.text(local::kInheritedVariable);
  writer.text("=");
  writer.number(session.process_key, '.');
  writer.number(message.next_key, ';');
  int end = fd_table_end.load(std::memory_order_acquire);
  for (int fd = 0; fd < end && writer.room() > kFields * 17; ++fd) {
    RecordRef record(fd, RecordType::kFile);
    if (record) {
      describe(writer, fd, record->file);
    }
  }
  notify({local::MessageType::kExec, &message, sizeof message, nullptr, 0, -1});
  // The new image may be faster than the packets that announce it: wait until they were read, on
  // the connection that carried the last of them. No file has the handle 0.
  local::HandleRequest nothing = {0};
  (void)ask(local::MessageType::kSync, nothing);
}

Inheritance::~Inheritance() {
  if (text_ != nullptr) {
    raw(SYS_munmap, text_, kTextSize);
  }
}

void take_inherited_keys() {
  const char* at = environment_value(local::kInheritedVariable);
  uint64_t parent = 0;
  uint64_t key = 0;
  if (at != nullptr && read_number(at, parent) && read_number(at, key) && key != 0) {
    session.parent_key = parent;
    session.process_key = key;
  }
}

void take_inherited_files() {
  const char* files = environment_value(local::kInheritedVariable);
  uint64_t key;
  if (files == nullptr) {
    return;
  }
  if (read_number(files, key) && read_number(files, key)) {
    InheritedFile file = {};
    for (const char* at = files; read_file(at, file);) {
      restore(file);
    }
    for (const char* at = files; read_file(at, file);) {
      close_unless_used(file, files, at);
    }
  }
  remove_variable(local::kInheritedVariable);
}

}  // namespace mirrord::hook
