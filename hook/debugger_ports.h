// hook/debugger_ports.h — the loopback ports on which a process talks to its debugger: pure functions over
// the texts in which editors and debuggers name them.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/local.h"

namespace mirrord::hook {

// Port ranges in memory of somebody else's; what does not fit is left out.
struct PortRanges {
  local::PortRange* items;
  uint32_t room;
  uint32_t count;

  void add(uint32_t first, uint32_t last);
};

// Of MIRRORD_IGNORE_DEBUGGER_PORTS: "9229,35000-65535". Items that are no ports are left out.
void add_listed_ports(PortRanges& ports, const char* list);

// By the program's arguments, each with its NUL. `kind` is the word of MIRRORD_DETECT_DEBUGGER_PORT:
// debugpy, pydevd, resharper or javaagent.
void add_argument_ports(PortRanges& ports, const char* kind, const char* arguments, size_t size);

// The name of an argument file among the arguments ("@name", for Java), from `*at` on, which moves
// behind it; nullptr: there is no other one.
const char* next_argument_file(const char* arguments, size_t size, size_t* at);
// By the text of such a file.
void add_argument_file_ports(PortRanges& ports, const char* text, size_t size);

// Of Node's inspector: by NODE_OPTIONS, else by NODE_INSPECTOR_INFO; both may be null.
void add_inspector_ports(PortRanges& ports, const char* options, const char* info);

}  // namespace mirrord::hook
