// hook/environment.cpp — joins the session's environment file to the environment that the program was started with.
#include "hook/environment.h"

#include <sys/mman.h>

#include "hook/report.h"
#include "hook/session.h"
#include "proto/local.h"

extern "C" char** environ;

namespace mirrord::hook {
namespace {

// The texts of the file, one after the other, each with its NUL.
class Entries {
 public:
  Entries(char* text, size_t size) : at_(text), end_(text + size) {}
  char* next() {
    if (at_ >= end_) {
      return nullptr;
    }
    char* entry = at_;
    at_ += strnlen(at_, static_cast<size_t>(end_ - at_)) + 1;
    return entry;
  }

 private:
  char* at_;
  char* end_;
};

size_t name_length(const char* entry) {
  size_t length = 0;
  while (entry[length] != '=' && entry[length] != '\0') {
    ++length;
  }
  return length;
}

bool is_named(Entries entries, const char* other) {
  const size_t length = name_length(other);
  for (const char* entry = entries.next(); entry != nullptr; entry = entries.next()) {
    if (name_length(entry) == length && memcmp(entry, other, length) == 0) {
      return true;
    }
  }
  return false;
}

// Room for so many pointers, for as long as the process lives; nullptr: no memory.
char** make_list(size_t count) {
  const long made = raw(SYS_mmap, nullptr, count * sizeof(char*), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return failed(made) ? nullptr : reinterpret_cast<char**>(made);
}

}  // namespace

MIRRORD_SLOW void load_environment() {
  if (environment_value(local::kLoadVariable) == nullptr) {
    return;
  }
  remove_variable(local::kLoadVariable);
  size_t size = 0;
  auto* text =
      static_cast<char*>(map_session_file(local::kEnvironmentFile, 1, Mapping::kPrivate, &size));
  const Entries entries(text, size);
  size_t count = 1;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    ++count;
  }
  Entries counted = entries;
  while (counted.next() != nullptr) {
    ++count;
  }
  char** list = text == nullptr || text[size - 1] != '\0' ? nullptr : make_list(count);
  if (list == nullptr) {
    report_and_exit("the target's environment cannot be loaded from the session's directory.");
  }
  char** to = list;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!is_named(entries, *entry)) {
      *to++ = *entry;
    }
  }
  Entries added = entries;
  for (char* entry = added.next(); entry != nullptr; entry = added.next()) {
    *to++ = entry;
  }
  *to = nullptr;
  environ = list;
}

}  // namespace mirrord::hook
