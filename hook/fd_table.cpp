// hook/fd_table.cpp — descriptor number -> record, and the records' memory.
#include "hook/fd_table.h"

#include <sys/mman.h>

namespace mirrord::hook {
namespace {

constexpr uint32_t kMaxRecords = 1 << 17;

// Type-stable memory; a free record is in a list by its index + 1, tagged against reuse.
Record* records;
std::atomic<uint32_t> records_used{0};
std::atomic<uint64_t> free_list{0};  // tag << 32 | index + 1

void* reserve(size_t size) {
  long result = raw(SYS_mmap, nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return failed(result) ? nullptr : reinterpret_cast<void*>(result);
}

Record* pop_free() {
  uint64_t head = free_list.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(head) != 0) {
    Record* record = &records[static_cast<uint32_t>(head) - 1];
    uint64_t next = ((head >> 32) + 1) << 32 | record->next_free;
    if (free_list.compare_exchange_weak(head, next, std::memory_order_acq_rel)) {
      return record;
    }
  }
  uint32_t index = records_used.fetch_add(1, std::memory_order_relaxed);
  if (index >= kMaxRecords) {
    records_used.fetch_sub(1, std::memory_order_relaxed);
    return nullptr;
  }
  return &records[index];
}

void push_free(Record* record) {
  uint32_t index = static_cast<uint32_t>(record - records) + 1;
  uint64_t head = free_list.load(std::memory_order_relaxed);
  uint64_t next;
  do {
    record->next_free = static_cast<uint32_t>(head);
    next = ((head >> 32) + 1) << 32 | index;
  } while (!free_list.compare_exchange_weak(head, next, std::memory_order_acq_rel));
}

int end_record(Record* record) {
  int result = 0;
  switch (record->type) {
    case RecordType::kFile:
      result = file_record_closed(record->file);
      break;
    case RecordType::kSocket:
      socket_record_closed(record->socket);
      break;
  }
  push_free(record);
  return result;
}

}  // namespace

std::atomic<Record*>* fd_table;
std::atomic<int> fd_table_end{0};

bool make_fd_table() {
  records = static_cast<Record*>(reserve(sizeof(Record) * kMaxRecords));
  fd_table = static_cast<std::atomic<Record*>*>(reserve(sizeof(*fd_table) * kMaxDescriptors));
  return records != nullptr && fd_table != nullptr;
}

Record* allocate_record(RecordType type) {
  Record* record = pop_free();
  if (record == nullptr) {
    return nullptr;
  }
  switch (type) {
    case RecordType::kFile:
      __builtin_memset(static_cast<void*>(&record->file), 0, sizeof record->file);
      break;
    case RecordType::kSocket:
      __builtin_memset(static_cast<void*>(&record->socket), 0, sizeof record->socket);
      break;
  }
  record->type = type;
  record->references.store(1, std::memory_order_release);
  return record;
}

int release_record(Record* record) {
  if (record->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    return end_record(record);
  }
  return 0;
}

void attach(int fd, Record* record) {
  if (fd < 0 || fd >= kMaxDescriptors) {
    release_record(record);
    return;
  }
  int end = fd_table_end.load(std::memory_order_relaxed);
  while (end <= fd && !fd_table_end.compare_exchange_weak(end, fd + 1)) {
  }
  Record* old = fd_table[fd].exchange(record, std::memory_order_acq_rel);
  if (old != nullptr) {
    release_record(old);
  }
}

Record* detach(int fd) {
  return has_record(fd) ? fd_table[fd].exchange(nullptr, std::memory_order_acq_rel) : nullptr;
}

void share_record(int fd, int copy) {
  if (fd == copy) {
    return;
  }
  RecordRef source(fd);
  if (source) {
    source->references.fetch_add(1, std::memory_order_relaxed);
    attach(copy, source.get());
  } else if (Record* old = detach(copy)) {
    release_record(old);
  }
}

void recount_references() {
  uint32_t used = least(records_used.load(std::memory_order_relaxed), kMaxRecords);
  for (uint32_t i = 0; i < used; ++i) {
    records[i].references.store(0, std::memory_order_relaxed);
  }
  int end = fd_table_end.load(std::memory_order_relaxed);
  for (int fd = 0; fd < end; ++fd) {
    Record* record = fd_table[fd].load(std::memory_order_relaxed);
    if (record != nullptr) {
      record->references.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

RecordRef::RecordRef(int fd) {
  while (has_record(fd)) {
    Record* record = fd_table[fd].load(std::memory_order_acquire);
    if (record == nullptr) {
      return;
    }
    uint32_t references = record->references.load(std::memory_order_relaxed);
    while (references != 0 && !record->references.compare_exchange_weak(
                                  references, references + 1, std::memory_order_acquire)) {
    }
    if (references == 0) {
      continue;  // being closed: the entry changes soon
    }
    if (fd_table[fd].load(std::memory_order_acquire) == record) {
      record_ = record;
      return;
    }
    release_record(record);
  }
}

}  // namespace mirrord::hook
