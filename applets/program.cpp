// applets/program.cpp — PATH search, ELF headers, `#!` lines.
#include "applets/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "net/fd.h"

namespace mirrord {
namespace {

constexpr int kMostInterpreters = 4;  // as the kernel
constexpr std::size_t kMostHeaders = 64;
constexpr std::size_t kLongestNotes = 4096;

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
#else
constexpr uint16_t kMachine = EM_NONE;
#endif

bool is_regular(const std::string& path, bool& is_executable) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
    return false;
  is_executable = access(path.c_str(), X_OK) == 0;
  return true;
}

std::unexpected<Error> not_executable(const std::string& path) {
  return fail(ErrorCode::kPermission, "the program `" + path + "` is not executable",
              "Make it executable with chmod +x.");
}

// The words of a `#!` line: interpreter and at most one argument.
std::pair<std::string, std::string> interpreter_line(std::string_view head) {
  head = head.substr(2, head.find('\n') - 2);
  const auto trim = [](std::string_view text) {
    const std::size_t begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos)
      return std::string_view();
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
  };
  head = trim(head);
  const std::size_t space = head.find_first_of(" \t");
  if (space == std::string_view::npos)
    return {std::string(head), ""};
  return {std::string(head.substr(0, space)), std::string(trim(head.substr(space)))};
}

// "/usr/bin/env [-S] name …" runs the name.
std::string program_of_env(std::string_view argument) {
  if (argument.starts_with("-S"))
    argument.remove_prefix(2);
  while (argument.starts_with(' '))
    argument.remove_prefix(1);
  return std::string(argument.substr(0, argument.find(' ')));
}

bool has_go_note(int fd, const Elf64_Phdr& header) {
  std::array<char, kLongestNotes> notes{};
  const std::size_t wanted = std::min<std::size_t>(header.p_filesz, notes.size());
  const ssize_t count = pread(fd, notes.data(), wanted, static_cast<off_t>(header.p_offset));
  std::size_t at = 0;
  while (count > 0 && at + sizeof(Elf64_Nhdr) < static_cast<std::size_t>(count)) {
    Elf64_Nhdr note;
    std::memcpy(&note, &notes[at], sizeof note);
    const std::size_t name = at + sizeof note;
    if (note.n_namesz == 4 && name + 4 <= static_cast<std::size_t>(count) &&
        std::memcmp(&notes[name], "Go\0", 4) == 0)
      return true;
    const uint64_t step = sizeof note + ((uint64_t{note.n_namesz} + 3) & ~3ULL) +
                          ((uint64_t{note.n_descsz} + 3) & ~3ULL);
    if (step > notes.size())
      return false;
    at += step;
  }
  return false;
}

void inspect_elf(int fd, std::string_view head, ProgramKind& kind) {
  kind.is_elf = true;
  Elf64_Ehdr elf;
  if (head.size() < sizeof elf)
    return;
  std::memcpy(&elf, head.data(), sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != kMachine) {
    kind.is_foreign = true;
    return;
  }
  if (elf.e_phentsize != sizeof(Elf64_Phdr))
    return;
  std::array<Elf64_Phdr, kMostHeaders> headers;
  const std::size_t wanted =
      std::min<std::size_t>(elf.e_phnum, headers.size()) * sizeof(Elf64_Phdr);
  const ssize_t count = pread(fd, headers.data(), wanted, static_cast<off_t>(elf.e_phoff));
  for (std::size_t i = 0; count > 0 && i < static_cast<std::size_t>(count) / sizeof(Elf64_Phdr);
       ++i) {
    if (headers[i].p_type == PT_INTERP)
      kind.is_dynamic = true;
    if (headers[i].p_type == PT_NOTE && has_go_note(fd, headers[i]))
      kind.is_go = true;
  }
}

bool is_privileged(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0)
    return false;
  const bool changes_user = (info.st_mode & S_ISUID) != 0 && info.st_uid != geteuid();
  const bool changes_group = (info.st_mode & S_ISGID) != 0 && info.st_gid != getegid();
  return changes_user || changes_group;
}

}  // namespace

Result<std::string> find_program(const std::string& name, std::string_view path) {
  bool is_executable = false;
  if (name.find('/') != std::string::npos) {
    if (!is_regular(name, is_executable))
      return fail(ErrorCode::kNotFound, "the program `" + name + "` does not exist");
    return is_executable ? Result<std::string>(name) : not_executable(name);
  }
  std::string refused;
  while (!name.empty()) {
    const std::size_t colon = path.find(':');
    const std::string directory(path.substr(0, colon));
    const std::string file = (directory.empty() ? "." : directory) + "/" + name;
    if (is_regular(file, is_executable)) {
      if (is_executable)
        return file;
      refused = refused.empty() ? file : refused;
    }
    if (colon == std::string_view::npos)
      break;
    path.remove_prefix(colon + 1);
  }
  if (!refused.empty())
    return not_executable(refused);
  return fail(ErrorCode::kNotFound, "the program `" + name + "` was not found in PATH",
              "Give its path, or extend PATH.");
}

ProgramKind inspect_program(const std::string& file, std::string_view path) {
  ProgramKind kind;
  kind.binary = file;
  for (int level = 0; level <= kMostInterpreters; ++level) {
    const Fd opened(open(kind.binary.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 256> buffer{};
    const ssize_t count = opened ? pread(opened.get(), buffer.data(), buffer.size(), 0) : -1;
    if (count < 4)
      return kind;
    kind.is_privileged = kind.is_privileged || is_privileged(opened.get());
    const std::string_view head(buffer.data(), static_cast<std::size_t>(count));
    if (head.starts_with(ELFMAG)) {
      inspect_elf(opened.get(), head, kind);
      return kind;
    }
    if (!head.starts_with("#!")) {
      kind.binary = "/bin/sh";  // what execvp does with a text
      continue;
    }
    auto [interpreter, argument] = interpreter_line(head);
    if (interpreter.ends_with("/env") && !argument.empty()) {
      auto found = find_program(program_of_env(argument), path);
      interpreter = found ? *found : interpreter;
    }
    kind.binary = interpreter;
  }
  return kind;
}

std::vector<std::string> program_warnings(const ProgramKind& kind, const std::string& name) {
  std::vector<std::string> warnings;
  if (!kind.is_elf)
    return warnings;
  if (kind.is_foreign) {
    warnings.push_back("`" + kind.binary +
                       "` is made for another kind of processor or word size: "
                       "it runs, but mirrord has no effect on it");
  } else if (!kind.is_dynamic && kind.is_go) {
    warnings.push_back("`" + kind.binary +
                       "` is a static Go program: it runs, but mirrord has no "
                       "effect on it; build it with `-ldflags=-linkmode=external` and cgo "
                       "(CGO_ENABLED=1, import \"C\")");
  } else if (!kind.is_dynamic) {
    warnings.push_back("`" + kind.binary +
                       "` is statically linked: it runs, but mirrord has no "
                       "effect on it; link it dynamically (Rust on musl: "
                       "RUSTFLAGS=-Ctarget-feature=-crt-static; C: without -static)");
  }
  if (kind.is_privileged)
    warnings.push_back("`" + kind.binary +
                       "` changes its user or group when it starts: the system "
                       "then ignores LD_PRELOAD, and mirrord has no effect on it");
  const std::string_view base = std::string_view(name).substr(name.rfind('/') + 1);
  if (base == "docker" || base == "podman" || base == "nerdctl")
    warnings.push_back("`" + std::string(base) +
                       "` starts its containers elsewhere: mirrord acts on "
                       "the command itself only");
  return warnings;
}

}  // namespace mirrord
