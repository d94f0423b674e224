// applets/program.h — finds the program to run and tells whether the hook can reach it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord {

// Searches PATH for a name without a slash, as a shell does. Error codes: kNotFound (exit code
// 127), kPermission (126).
Result<std::string> find_program(const std::string& name, std::string_view path);

struct ProgramKind {
  std::string binary;  // what the kernel will run in the end: the last interpreter of `#!`
  bool is_elf = false;
  bool is_dynamic = false;  // has a program interpreter, which loads the hook
  bool is_go = false;
  bool is_privileged = false;  // set-user-ID and the like: the loader ignores LD_PRELOAD
  bool is_foreign = false;     // of another machine or word size than the hook
};

// Reads headers only, and follows `#!` (also through /usr/bin/env).
ProgramKind inspect_program(const std::string& file, std::string_view path);

// What the user should know before the program starts; empty: the hook will be loaded.
std::vector<std::string> program_warnings(const ProgramKind& kind, const std::string& name);

}  // namespace mirrord
