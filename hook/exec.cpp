// hook/exec.cpp — the hooks that start programs: the new image keeps the session and the remote
// files, whatever its environment was going to be.
#include <spawn.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "hook/decide.h"
#include "hook/inheritance.h"
#include "hook/original.h"
#include "hook/session.h"
#include "hook/spawn.h"

extern "C" char** environ;

using namespace mirrord::hook;
namespace local = mirrord::local;

namespace {

constexpr char kPreload[] = "LD_PRELOAD";

// The value of NAME in an entry NAME=value, or nullptr when it is another variable.
const char* value_in(const char* entry, const char* name, size_t length) {
  return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : nullptr;
}

const char* find_value(char* const* variables, const char* name, size_t length) {
  for (; *variables != nullptr; ++variables) {
    if (const char* value = value_in(*variables, name, length)) {
      return value;
    }
  }
  return nullptr;
}

// Whether one of the colon- or space-separated names in `list` is the hook.
bool names_hook(const char* list, const char* hook, size_t length) {
  const char* at = list;
  while ((at = strstr(at, hook)) != nullptr) {
    char before = at == list ? ':' : at[-1];
    char after = at[length];
    if ((before == ':' || before == ' ') && (after == ':' || after == ' ' || after == '\0')) {
      return true;
    }
    at += length;
  }
  return false;
}

// An environment with what every process of the session must have; the given one when it is right
// as it is. Works in children of fork: its memory comes from the kernel.
class SessionEnvironment {
 public:
  explicit SessionEnvironment(char* const* given) : result_(given) {
    static char* nothing[] = {nullptr};
    if (result_ == nullptr) {
      result_ = nothing;
    }
    if (is_active()) {
      collect();
    }
  }
  ~SessionEnvironment() {
    if (memory_ != nullptr) {
      raw(SYS_munmap, memory_, size_);
    }
    give_path_buffer(directory_);
  }
  SessionEnvironment(const SessionEnvironment&) = delete;
  SessionEnvironment& operator=(const SessionEnvironment&) = delete;
  [[nodiscard]] char* const* get() const { return result_; }
  [[nodiscard]] bool is_changed() const { return memory_ != nullptr; }

 private:
  void collect() {
    copy_hook_path();
    copy_session_variable();
    const char* preload = find_value(result_, kPreload, sizeof kPreload - 1);
    bool preload_right = preload != nullptr && names_hook(preload, hook_, strlen(hook_));
    const char* directory = find_value(result_, local::kSessionVariable, kSessionLength);
    bool session_right = directory != nullptr && strcmp(directory, session.directory) == 0;
    bool has_stale = find_value(result_, local::kInheritedVariable, kInheritedLength) != nullptr;
    bool directory_changes = has_directory();
    if (!preload_right || !session_right || has_stale || directory_changes ||
        inheritance_.text() != nullptr || lacks_entries()) {
      build(preload, preload_right);
    }
  }

  static constexpr size_t kSessionLength = sizeof local::kSessionVariable - 1;
  static constexpr size_t kDirectoryLength = sizeof kWorkingDirectoryVariable - 1;
  static constexpr size_t kInheritedLength = sizeof local::kInheritedVariable - 1;

  // A remote working directory, or a word of one that no longer holds.
  bool has_directory() {
    bool stale = find_value(result_, kWorkingDirectoryVariable, kDirectoryLength) != nullptr;
    if (!has_remote_working_directory()) {
      return stale;
    }
    directory_ = take_path_buffer();
    char* at = directory_;
    size_t prefix = kDirectoryLength + 1;
    size_t length = at != nullptr ? copy_working_directory(at) : 0;
    if (length == 0 || length + prefix >= local::kMaxPath) {
      give_path_buffer(directory_);
      directory_ = nullptr;
      return stale;
    }
    memmove(at + prefix, at, length + 1);
    __builtin_memcpy(at, kWorkingDirectoryVariable, kDirectoryLength);
    at[kDirectoryLength] = '=';
    return true;
  }

  void copy_hook_path() {
    const local::Section& path = session.settings->hook_path;
    size_t length = least(size_t{path.size}, sizeof hook_ - 1);
    __builtin_memcpy(hook_, section_data(path), length);
    hook_[length] = '\0';
  }

  void copy_session_variable() {
    variable_.text(local::kSessionVariable).text("=").text(session.directory);
  }

  // Calls `act` with each entry of the settings that the environment does not have.
  template <class Act>
  void for_missing_entries(Act act) const {
    const local::Section& section = session.settings->environment;
    const char* at = section_data(section);
    const char* end = at + section.size;
    while (at < end) {
      size_t length = strnlen(at, static_cast<size_t>(end - at));
      const char* equals = static_cast<const char*>(memchr(at, '=', length));
      if (equals != nullptr && at + length < end) {
        size_t name = static_cast<size_t>(equals - at);
        bool special = value_in(at, kPreload, sizeof kPreload - 1) != nullptr ||
                       value_in(at, local::kSessionVariable, kSessionLength) != nullptr;
        if (!special && find_value(result_, at, name) == nullptr) {
          act(const_cast<char*>(at));
        }
      }
      at += length + 1;
    }
  }

  bool lacks_entries() const {
    bool lacks = false;
    for_missing_entries([&lacks](char*) { lacks = true; });
    return lacks;
  }

  bool is_replaced(const char* entry, bool preload_right) const {
    return value_in(entry, local::kSessionVariable, kSessionLength) != nullptr ||
           value_in(entry, local::kInheritedVariable, kInheritedLength) != nullptr ||
           value_in(entry, kWorkingDirectoryVariable, kDirectoryLength) != nullptr ||
           (!preload_right && value_in(entry, kPreload, sizeof kPreload - 1) != nullptr);
  }

  void build(const char* preload, bool preload_right) {
    size_t count = 5;  // session, inheritance, directory, preload, the end
    for (char* const* entry = result_; *entry != nullptr; ++entry) {
      ++count;
    }
    for_missing_entries([&count](char*) { ++count; });
    size_t preload_size =
        sizeof kPreload + (preload != nullptr ? strlen(preload) + 1 : 0) + strlen(hook_) + 1;
    size_ = count * sizeof(char*) + preload_size;
    long made =
        raw(SYS_mmap, nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (failed(made)) {
      return;
    }
    memory_ = reinterpret_cast<char*>(made);
    char** to = reinterpret_cast<char**>(memory_);
    for (char* const* entry = result_; *entry != nullptr; ++entry) {
      if (!is_replaced(*entry, preload_right)) {
        *to++ = *entry;
      }
    }
    for_missing_entries([&to](char* entry) { *to++ = entry; });
    *to++ = const_cast<char*>(variable_.c_str());
    if (inheritance_.text() != nullptr) {
      *to++ = inheritance_.text();
    }
    if (directory_ != nullptr) {
      *to++ = directory_;
    }
    if (!preload_right) {
      *to++ = write_preload(memory_ + count * sizeof(char*), preload);
    }
    *to = nullptr;
    result_ = reinterpret_cast<char**>(memory_);
  }

  char* write_preload(char* to, const char* old) const {
    char* at = to;
    auto put = [&at](const char* text) {
      while (*text != '\0') {
        *at++ = *text++;
      }
    };
    put(kPreload);
    put("=");
    if (old != nullptr && old[0] != '\0') {
      put(old);
      put(":");
    }
    put(hook_);
    *at = '\0';
    return to;
  }

  Inheritance inheritance_;
  char* const* result_;
  char* memory_ = nullptr;
  char* directory_ = nullptr;
  size_t size_ = 0;
  char hook_[512];
  TextBuffer<300> variable_;
};

// Functions that take the environment from `environ` inside the C library see the right one.
class EnvironmentInPlace {
 public:
  EnvironmentInPlace() : old_(environ), right_(environ) {
    environ = const_cast<char**>(right_.get());
  }
  ~EnvironmentInPlace() { environ = old_; }
  EnvironmentInPlace(const EnvironmentInPlace&) = delete;
  EnvironmentInPlace& operator=(const EnvironmentInPlace&) = delete;

 private:
  char** old_;
  SessionEnvironment right_;
};

// The arguments of execl and its kin as an array in the caller's frame.
#define COLLECT_ARGUMENTS(arguments, first)                                           \
  va_list list;                                                                       \
  va_start(list, first);                                                              \
  size_t count = 1;                                                                   \
  for (const char* each = first; each != nullptr; each = va_arg(list, const char*)) { \
    ++count;                                                                          \
  }                                                                                   \
  va_end(list);                                                                       \
  char** arguments = static_cast<char**>(__builtin_alloca(count * sizeof(char*)));    \
  va_start(list, first);                                                              \
  arguments[0] = const_cast<char*>(first);                                            \
  for (size_t i = 1; i < count; ++i) {                                                \
    arguments[i] = va_arg(list, char*);                                               \
  }

}  // namespace

extern "C" {

int hk_execve(const char* path, char* const* arguments, char* const* variables) {
  SessionEnvironment right(variables);
  return ORIGINAL(execve)(path, arguments, right.get());
}

int hk_execv(const char* path, char* const* arguments) {
  return hk_execve(path, arguments, environ);
}

int hk_execvpe(const char* file, char* const* arguments, char* const* variables) {
  SessionEnvironment right(variables);
  return ORIGINAL(execvpe)(file, arguments, right.get());
}

int hk_execvp(const char* file, char* const* arguments) {
  return hk_execvpe(file, arguments, environ);
}

int hk_execl(const char* path, const char* first, ...) {
  COLLECT_ARGUMENTS(arguments, first)
  va_end(list);
  return hk_execve(path, arguments, environ);
}

int hk_execlp(const char* file, const char* first, ...) {
  COLLECT_ARGUMENTS(arguments, first)
  va_end(list);
  return hk_execvpe(file, arguments, environ);
}

int hk_execle(const char* path, const char* first, ...) {
  COLLECT_ARGUMENTS(arguments, first)
  char* const* variables = va_arg(list, char* const*);
  va_end(list);
  return hk_execve(path, arguments, variables);
}

int hk_fexecve(int fd, char* const* arguments, char* const* variables) {
  SessionEnvironment right(variables);
  return ORIGINAL(fexecve)(fd, arguments, right.get());
}

int hk_execveat(int directory, const char* path, char* const* arguments, char* const* variables,
                int flags) {
  SessionEnvironment right(variables);
  return static_cast<int>(
      to_errno(raw(SYS_execveat, directory, path, arguments, right.get(), flags)));
}

int hk_posix_spawn(pid_t* child, const char* path, const void* actions, const void* attributes,
                   char* const* arguments, char* const* variables) {
  if (names_remote_files(actions)) {
    return spawn_by_fork(child, path, false, actions, attributes, arguments, variables);
  }
  SessionEnvironment right(variables);
  return ORIGINAL(posix_spawn)(child, path, actions, attributes, arguments, right.get());
}

int hk_posix_spawnp(pid_t* child, const char* file, const void* actions, const void* attributes,
                    char* const* arguments, char* const* variables) {
  if (names_remote_files(actions)) {
    return spawn_by_fork(child, file, true, actions, attributes, arguments, variables);
  }
  SessionEnvironment right(variables);
  return ORIGINAL(posix_spawnp)(child, file, actions, attributes, arguments, right.get());
}

int hk_system(const char* command) {
  EnvironmentInPlace right;
  return ORIGINAL(system)(command);
}

FILE* hk_popen(const char* command, const char* mode) {
  EnvironmentInPlace right;
  return ORIGINAL(popen)(command, mode);
}

}  // extern "C"
