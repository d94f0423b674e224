// hook/decide.cpp — which file does a path mean: a local one, a remote one, none?
#include "hook/decide.h"

#include <sys/mman.h>

#include "hook/decision_log.h"
#include "hook/ipc.h"

namespace mirrord::hook {
namespace {

using local::Decision;

// Results of kMapPath. Entries never change and are never freed; when the memory set aside is
// used up, further paths ask each time.
struct MapEntry {
  uint64_t hash;
  Decision read;
  Decision write;
  uint16_t path_length;
  uint16_t mapped_length;
  char text[];  // path, then the mapped path, both with a NUL
};
constexpr size_t kMapSlots = 256;
constexpr size_t kMapBytes = 256 * 1024;
std::atomic<MapEntry*> map_cache[kMapSlots];
std::atomic<char*> map_memory{nullptr};
std::atomic<size_t> map_memory_used{0};

uint64_t hash_text(const char* text, size_t length) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (size_t i = 0; i < length; ++i) {
    hash = (hash ^ static_cast<uint8_t>(text[i])) * 0x100000001b3U;
  }
  return hash;
}

MapEntry* find_mapped(const char* path, size_t length, uint64_t hash) {
  MapEntry* entry = map_cache[hash % kMapSlots].load(std::memory_order_acquire);
  bool same = entry != nullptr && entry->hash == hash && entry->path_length == length &&
              memcmp(entry->text, path, length) == 0;
  return same ? entry : nullptr;
}

MapEntry* allocate_entry(size_t size) {
  size = (size + 15) & ~size_t{15};
  char* memory = map_memory.load(std::memory_order_acquire);
  if (memory == nullptr) {
    long made = raw(SYS_mmap, nullptr, kMapBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (failed(made)) {
      return nullptr;
    }
    if (map_memory.compare_exchange_strong(memory, reinterpret_cast<char*>(made))) {
      memory = reinterpret_cast<char*>(made);
    } else {
      raw(SYS_munmap, made, kMapBytes);
    }
  }
  size_t at = map_memory_used.fetch_add(size, std::memory_order_relaxed);
  if (at + size > kMapBytes) {
    map_memory_used.store(kMapBytes, std::memory_order_relaxed);
    return nullptr;
  }
  return reinterpret_cast<MapEntry*>(memory + at);
}

const MapEntry* remember(const char* path, size_t length, uint64_t hash, const char* mapped,
                         size_t mapped_length, const local::MapReply& reply) {
  MapEntry* entry = allocate_entry(sizeof(MapEntry) + length + mapped_length + 2);
  if (entry == nullptr) {
    return nullptr;
  }
  *entry = {hash, reply.read, reply.write, static_cast<uint16_t>(length),
            static_cast<uint16_t>(mapped_length)};
  __builtin_memcpy(entry->text, path, length);
  entry->text[length] = '\0';
  __builtin_memcpy(entry->text + length + 1, mapped, mapped_length);
  entry->text[length + 1 + mapped_length] = '\0';
  map_cache[hash % kMapSlots].store(entry, std::memory_order_release);
  return entry;
}

// Path buffers that are not in use; more come from the kernel and go back there.
std::atomic<char*> path_buffers[16];

// Outcomes of paths seen before: the automaton looks at every byte, this at eight at a time. An
// entry is the path's hash with its lowest byte replaced by the outcome; 0 is an empty one.
constexpr size_t kOutcomeSlots = 2048;
std::atomic<uint64_t> outcome_cache[kOutcomeSlots];

inline uint64_t load64(const char* at) {
  uint64_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

inline uint64_t mix(uint64_t a, uint64_t b) {
  unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t fast_hash(const char* text, size_t length) {
  constexpr uint64_t kA = 0xa0761d6478bd642fU;
  constexpr uint64_t kB = 0xe7037ed1a0b428dbU;
  uint64_t hash = length ^ kA;
  size_t left = length;
  for (; left > 16; left -= 16, text += 16) {
    hash = mix(load64(text) ^ kB, load64(text + 8) ^ hash);
  }
  uint64_t a = 0;
  uint64_t b = 0;
  if (left >= 8) {
    a = load64(text);
    b = load64(text + left - 8);
  } else {
    for (size_t i = 0; i < left; ++i) {
      a = a << 8 | static_cast<uint8_t>(text[i]);
    }
  }
  return mix(kA ^ length, mix(a ^ kB, b ^ hash));
}

uint8_t outcome_of(const local::PathAutomaton& automaton, const char* path, size_t* length) {
  *length = strlen(path);
  uint64_t hash = fast_hash(path, *length);
  std::atomic<uint64_t>& slot = outcome_cache[(hash >> 40) % kOutcomeSlots];
  uint64_t entry = slot.load(std::memory_order_relaxed);
  if (MIRRORD_LIKELY(((entry ^ hash) & ~uint64_t{0xff}) == 0 && entry != 0)) {
    return static_cast<uint8_t>(entry);
  }
  uint8_t outcome = classify_path(automaton, path, length);
  slot.store((hash & ~uint64_t{0xff}) | outcome, std::memory_order_relaxed);
  return outcome;
}

// Below the directory in which this program started, or its executable.
MIRRORD_SLOW bool is_own_file(const char* path) {
  size_t length = strlen(session.start_directory);
  bool is_below = length > 0 && strncmp(path, session.start_directory, length) == 0 &&
                  (path[length] == '/' || path[length] == '\0');
  return is_below || strcmp(path, session.executable) == 0;
}

Target::Kind kind_of(Decision decision) {
  switch (decision) {
    case Decision::kLocal:
      return Target::kLocal;
    case Decision::kRemote:
      return Target::kRemote;
    case Decision::kNotFound:
      return Target::kNotFound;
  }
  return Target::kLocal;
}

}  // namespace

char* take_path_buffer() {
  for (std::atomic<char*>& slot : path_buffers) {
    if (slot.load(std::memory_order_relaxed) != nullptr) {
      if (char* buffer = slot.exchange(nullptr, std::memory_order_acquire)) {
        return buffer;
      }
    }
  }
  long made = raw(SYS_mmap, nullptr, local::kMaxPath, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return failed(made) ? nullptr : reinterpret_cast<char*>(made);
}

void give_path_buffer(char* buffer) {
  if (buffer == nullptr) {
    return;
  }
  for (std::atomic<char*>& slot : path_buffers) {
    char* empty = nullptr;
    if (slot.compare_exchange_strong(empty, buffer, std::memory_order_release)) {
      return;
    }
  }
  raw(SYS_munmap, buffer, local::kMaxPath);
}

uint8_t classify_path(const local::PathAutomaton& automaton, const char* path, size_t* length) {
  const uint8_t* outcomes = reinterpret_cast<const uint8_t*>(&automaton + 1);
  const uint32_t* transitions =
      reinterpret_cast<const uint32_t*>(outcomes + ((automaton.state_count + 3) & ~uint32_t{3}));
  uint32_t state = automaton.start;
  const char* at = path;
  for (; *at != '\0'; ++at) {
    state =
        transitions[state * automaton.class_count + automaton.classes[static_cast<uint8_t>(*at)]];
  }
  *length = static_cast<size_t>(at - path);
  return outcomes[state];
}

Target::Target(int directory, const char* path, bool write, bool may_be_empty) : path_(path) {
  if (MIRRORD_UNLIKELY(!is_pointer(path)) && (path != nullptr || !may_be_empty)) {
    return;  // the original's to refuse
  }
  if (path != nullptr && path[0] == '/') {
    if (files_active()) {
      decide(write);
    }
    return;
  }
  bool is_empty = path == nullptr || path[0] == '\0';
  if (directory == AT_FDCWD && MIRRORD_UNLIKELY(has_remote_working_directory())) {
    if (is_empty && !may_be_empty) {
      kind_ = kNotFound;
    } else {
      decide_in_working_directory(write);
    }
    return;
  }
  if (!has_record(directory) || !files_active()) {
    return;
  }
  RecordRef record(directory, RecordType::kFile);
  if (!record) {
    return;
  }
  if (is_empty && !may_be_empty) {
    kind_ = kNotFound;
    return;
  }
  if (is_empty) {
    record->references.fetch_add(1, std::memory_order_relaxed);
    record_ = record.get();
    kind_ = kHandle;
  } else {
    decide_in(record.get(), write);
  }
}

// Below a remote directory everything is read remotely. Writes follow the path's own rule, but
// names that are local by their kind (*.py, *.so …) go where the directory's writes go.
Target::Kind Target::decide_below(const char* directory, const char* joined, bool write) {
  Kind read_kind = Target(joined, false).kind_;
  if (!write || read_kind == kNotFound) {
    return read_kind == kNotFound ? kNotFound : kRemote;
  }
  Kind write_kind = Target(joined, true).kind_;
  if (write_kind == kLocal && read_kind == kLocal) {
    return Target(directory, true).kind_;
  }
  return write_kind;
}

void Target::decide_in(Record* directory, bool write) {
  length_ = strlen(path_);
  const char* directory_path = directory->file.path;
  if (write && directory_path != nullptr) {
    buffer_ = take_path_buffer();
    size_t length = buffer_ != nullptr ? join_path(buffer_, directory_path, path_) : 0;
    Kind kind = length != 0 ? decide_below(directory_path, buffer_, true) : kRemote;
    if (kind != kRemote) {
      kind_ = kind;
      path_ = buffer_;
      length_ = length;
      return;
    }
  }
  directory->references.fetch_add(1, std::memory_order_relaxed);
  record_ = directory;
  kind_ = kRemote;
}

MIRRORD_SLOW void Target::decide_in_working_directory(bool write) {
  if (!files_active()) {
    return;
  }
  PathBuffer directory;
  buffer_ = take_path_buffer();
  size_t base = directory.data() != nullptr && buffer_ != nullptr
                    ? copy_working_directory(directory.data())
                    : 0;
  if (base == 0) {
    return;
  }
  length_ = join_path(buffer_, directory.data(), path_ != nullptr ? path_ : "");
  if (length_ == 0) {
    kind_ = kNotFound;
    return;
  }
  path_ = buffer_;
  if (strstr(buffer_ + base, "/..") != nullptr) {
    normalise_path(buffer_);
    length_ = strlen(buffer_);
  }
  bool is_below = strncmp(buffer_, directory.data(), base) == 0 &&
                  (buffer_[base] == '/' || buffer_[base] == '\0');
  if (is_below) {
    kind_ = decide_below(directory.data(), buffer_, write);
  } else {
    decide(write);
  }
}

size_t Target::copy_absolute(char* buffer) const {
  if (record_ != nullptr) {
    return record_->file.path != nullptr ? join_path(buffer, record_->file.path, path_) : 0;
  }
  size_t length = strlen(path_);
  if (length >= local::kMaxPath) {
    return 0;
  }
  __builtin_memcpy(buffer, path_, length + 1);
  return length;
}

Target::~Target() {
  if (record_ != nullptr) {
    release_record(record_);
  }
  if (buffer_ != nullptr) {
    give_path_buffer(buffer_);
  }
}

void Target::decide(bool write) {
  const local::Section& section = session.settings->path_automaton;
  if (section.size < sizeof(local::PathAutomaton)) {
    return;
  }
  const auto* automaton = reinterpret_cast<const local::PathAutomaton*>(section_data(section));
  uint8_t outcome = outcome_of(*automaton, path_, &length_);
  if (MIRRORD_UNLIKELY((outcome & local::kOutcomeMap) != 0)) {
    map(write);
  } else {
    kind_ = kind_of(write ? local::write_decision(outcome) : local::read_decision(outcome));
    if (MIRRORD_UNLIKELY((outcome & local::kOutcomeUnnamed) != 0) &&
        has_flag(local::kOwnFilesLocal) && is_own_file(path_)) {
      kind_ = kLocal;
    }
  }
  if (MIRRORD_UNLIKELY(logs_decisions())) {
    log_path(path_, write, kind_);
  }
}

MIRRORD_SLOW void Target::map(bool write) {
  if (length_ >= local::kMaxPath) {
    return;  // the kernel refuses it
  }
  uint64_t hash = hash_text(path_, length_);
  const MapEntry* entry = find_mapped(path_, length_, hash);
  if (entry == nullptr) {
    char* mapped_buffer = take_path_buffer();
    local::PathRequest request = {};
    request.first_length = static_cast<uint32_t>(length_);
    local::MapReply reply = {};
    iovec path = {const_cast<char*>(path_), length_};
    iovec mapped = {mapped_buffer, local::kMaxPath - 1};
    Answer answer = {&reply, sizeof reply, &mapped, 1, 0, -1, false};
    int error = mapped_buffer == nullptr
                    ? ENOMEM
                    : call({local::MessageType::kMapPath, &request, sizeof request, &path, 1, -1},
                           answer, EIO);
    if (error != 0) {
      give_path_buffer(mapped_buffer);
      kind_ = kNotFound;
      return;
    }
    size_t mapped_length = least(answer.data_size, local::kMaxPath - 1);
    mapped_buffer[mapped_length] = '\0';
    entry = remember(path_, length_, hash, mapped_buffer, mapped_length, reply);
    if (entry == nullptr) {
      kind_ = kind_of(write ? reply.write : reply.read);
      give_path_buffer(buffer_);
      path_ = buffer_ = mapped_buffer;
      length_ = mapped_length;
      return;
    }
    give_path_buffer(mapped_buffer);
  }
  kind_ = kind_of(write ? entry->write : entry->read);
  path_ = entry->text + entry->path_length + 1;
  length_ = entry->mapped_length;
}

}  // namespace mirrord::hook
