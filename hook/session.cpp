// hook/session.cpp — finds and checks the session; decides whether the hook acts in this program.
#include "hook/session.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "hook/environment.h"
#include "hook/fd_table.h"
#include "hook/inheritance.h"
#include "hook/ipc.h"
#include "hook/net_rules.h"
#include "hook/original.h"
#include "hook/patience.h"
#include "hook/report.h"
#include "hook/working_directory.h"

extern "C" char** environ;

namespace mirrord::hook {

__thread uint32_t guard_depth;
Session session;
std::atomic<SessionState> session_state{SessionState::kUnknown};

namespace {

[[noreturn]] void refuse(const char* what) {
  TextBuffer<600> text;
  text.text(what)
      .text(" (session ")
      .text(session.directory)
      .text(
          "). Start the program again with `mirrord exec`; to run it without mirrord, unset "
          "LD_PRELOAD "
          "and MIRRORD_SESSION.");
  report_and_exit(text.c_str());
}

}  // namespace

void* map_session_file(const char* name, size_t least_size, Mapping mapping, size_t* size) {
  TextBuffer<320> path;
  path.text(session.directory).text("/").text(name);
  long fd = raw(SYS_openat, AT_FDCWD, path.c_str(),
                (mapping == Mapping::kShared ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
  if (failed(fd)) {
    return nullptr;
  }
  struct stat status = {};
  long mapped = -1;
  if (!failed(raw(SYS_fstat, fd, &status)) && status.st_size >= static_cast<off_t>(least_size)) {
    *size = static_cast<size_t>(status.st_size);
    mapped = raw(SYS_mmap, nullptr, *size,
                 mapping == Mapping::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE,
                 mapping == Mapping::kPrivate ? MAP_PRIVATE : MAP_SHARED, fd, 0);
  }
  raw(SYS_close, fd);
  return failed(mapped) ? nullptr : reinterpret_cast<void*>(mapped);
}

namespace {

// The session's folder is there, but this process may not look into it.
bool is_foreign_session() {
  TextBuffer<320> path;
  path.text(session.directory).text("/").text(local::kSettingsFile);
  return raw(SYS_faccessat, AT_FDCWD, path.c_str(), R_OK) == -EACCES;
}

bool is_inside(const local::Section& section, size_t size) {
  return section.offset <= size && section.size <= size - section.offset;
}

void check_settings(size_t size) {
  const local::Settings& settings = *session.settings;
  if (settings.magic != local::kSettingsMagic) {
    refuse("the session's settings file is damaged");
  }
  if (settings.version != local::kVersion) {
    refuse("the session was started by another version of mirrord than this library");
  }
  const local::Section* sections[] = {
      &settings.socket_path,    &settings.session_directory, &settings.hook_path,
      &settings.path_automaton, &settings.unix_automaton,    &settings.outgoing_filter,
      &settings.dns_filter,     &settings.filter_names,      &settings.skip_processes,
      &settings.ignored_ports,  &settings.environment,       &settings.unset,
      &settings.incoming_ports, &settings.incoming_ignored,  &settings.port_mapping,
      &settings.listen_ports};
  for (const local::Section* section : sections) {
    if (!is_inside(*section, size)) {
      refuse("the session's settings file is damaged");
    }
  }
}

void copy_text(char* to, size_t room, const char* from, size_t length) {
  length = least(length, room - 1);
  __builtin_memcpy(to, from, length);
  to[length] = '\0';
}

// The program's name: the file name of its executable.
void read_program_name(char (&name)[64]) {
  char path[1024];
  long length = raw(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);
  path[failed(length) ? 0 : length] = '\0';
  const char* base = base_name(path);
  copy_text(name, sizeof name, base, strlen(base));
}

// "/" keeps nothing: all would be below it.
void read_own_paths() {
  long length = raw(SYS_getcwd, session.start_directory, sizeof session.start_directory);
  if (failed(length) || length < 3) {
    session.start_directory[0] = '\0';
  }
  length = raw(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", session.executable,
               sizeof session.executable - 1);
  session.executable[failed(length) ? 0 : length] = '\0';
}

// argv[0] without its folders.
void read_invocation_name(char (&name)[64]) {
  char line[1024];
  long fd = raw(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
  long length = failed(fd) ? 0 : raw(SYS_read, fd, line, sizeof line - 1);
  raw(SYS_close, fd);
  line[failed(length) ? 0 : length] = '\0';
  const char* base = base_name(line);
  copy_text(name, sizeof name, base, strlen(base));
}

// Whether `name` is one of a list with semicolons.
bool list_has_name(const char* list, const char* name) {
  const size_t length = strlen(name);
  while (length > 0 && *list != '\0') {
    const char* end = list + strcspn(list, ";");
    if (static_cast<size_t>(end - list) == length && strncmp(list, name, length) == 0) {
      return true;
    }
    list = *end == ';' ? end + 1 : end;
  }
  return false;
}

// By the session's settings, or by what an editor has set for this program alone.
bool is_skipped_program() {
  const local::Section& names = session.settings->skip_processes;
  const char* list = environment_value("MIRRORD_SKIP_PROCESSES");
  if (names.size == 0 && list == nullptr) {
    return false;
  }
  char invoked[64];
  read_invocation_name(invoked);
  return section_has_name(names, session.program) || section_has_name(names, invoked) ||
         (list != nullptr &&
          (list_has_name(list, session.program) || list_has_name(list, invoked)));
}

void guard_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (failed(raw(SYS_fcntl, fd, F_GETFD))) {
      raw(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
    }
  }
}

void take_answer_limit() {
  const char* text = environment_value(kAnswerLimitVariable);
  uint32_t limit = 0;
  for (; text != nullptr && *text >= '0' && *text <= '9' && limit < 100'000'000; ++text) {
    limit = limit * 10 + static_cast<uint32_t>(*text - '0');
  }
  if (limit != 0) {
    set_answer_limit(limit);
  }
}

// False: this process stays as if the hook were not there.
bool open_session() {
  const char* directory = environment_value(local::kSessionVariable);
  if (directory == nullptr || directory[0] == '\0') {
    return false;
  }
  copy_text(session.directory, sizeof session.directory, directory, strlen(directory));
  size_t size = 0;
  session.settings = static_cast<const local::Settings*>(
      map_session_file(local::kSettingsFile, sizeof(local::Settings), Mapping::kReadOnly, &size));
  if (session.settings == nullptr) {
    if (is_foreign_session()) {
      // A child that became another user: as for a library it may not read, go on without.
      report(
          "this program runs as another user than the mirrord session: it runs without mirrord.");
      return false;
    }
    refuse("the mirrord session has ended");
  }
  check_settings(size);
  load_environment();  // also for programs that are left alone: they start others
  read_program_name(session.program);
  if (is_skipped_program()) {
    return false;
  }
  session.slots = static_cast<local::FileSlot*>(map_session_file(
      local::kSlotsFile, sizeof(local::FileSlot) * local::kSlotCount, Mapping::kShared, &size));
  if (session.slots == nullptr || !make_fd_table()) {
    refuse("the session's shared memory cannot be mapped");
  }
  const local::Section& socket = session.settings->socket_path;
  copy_text(session.socket_path, sizeof session.socket_path, section_data(socket), socket.size);
  session.process_key = random_key();
  return true;
}

}  // namespace

const char* environment_value(const char* name) {
  size_t length = strlen(name);
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
      return *entry + length + 1;
    }
  }
  return nullptr;
}

void remove_variable(const char* name) {
  size_t length = strlen(name);
  char** to = environ;
  for (char** from = environ; from != nullptr && *from != nullptr; ++from) {
    if (strncmp(*from, name, length) != 0 || (*from)[length] != '=') {
      *to++ = *from;
    }
  }
  if (to != nullptr) {
    *to = nullptr;
  }
}

uint64_t random_key() {
  uint64_t key = 0;
  while (key == 0) {
    if (failed(raw(SYS_getrandom, &key, sizeof key, 0))) {
      key = coarse_now_ns() * 0x9E3779B97F4A7C15U + static_cast<uint64_t>(raw(SYS_gettid));
    }
  }
  return key;
}

bool section_has_name(const local::Section& section, const char* name) {
  const char* at = section_data(section);
  const char* end = at + section.size;
  while (at < end) {
    size_t length = strnlen(at, static_cast<size_t>(end - at));
    if (strlen(name) == length && strncmp(at, name, length) == 0) {
      return true;
    }
    at += length + 1;
  }
  return false;
}

MIRRORD_SLOW bool start_session() {
  if (is_guarded()) {
    return false;  // the thread that is looking right now calls a hooked function
  }
  SessionState expected = SessionState::kUnknown;
  if (!session_state.compare_exchange_strong(expected, SessionState::kStarting)) {
    return expected == SessionState::kActive;  // another thread is at it: not before main
  }
  SavedErrno saved;
  Guard guard;
  if (environment_value("MIRRORD_DONT_LOAD") != nullptr) {
    report_and_exit(
        "MIRRORD_DONT_LOAD is set and the mirrord library was loaded: ending the "
        "process, as that variable asks.");
  }
  if (!open_session()) {
    session_state.store(SessionState::kInert, std::memory_order_release);
    return false;
  }
  if (has_flag(local::kOwnFilesLocal)) {
    read_own_paths();
  }
  if (has_flag(local::kGuardStdFds)) {
    guard_standard_descriptors();
  }
  resolve_all_originals();
  take_inherited_keys();
  take_answer_limit();
  find_debugger_ports();
  if (!connect_at_start()) {
    report_lost_session();
  }
  take_inherited_files();
  take_inherited_working_directory();
  session_state.store(SessionState::kActive, std::memory_order_release);
  return true;
}

}  // namespace mirrord::hook
