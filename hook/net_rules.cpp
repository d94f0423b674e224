// hook/net_rules.cpp — network rules as views into the settings file.
#include "hook/net_rules.h"

#include "hook/debugger_ports.h"
#include "hook/libc.h"
#include "hook/session.h"

namespace mirrord::hook {
namespace {

template <class T>
const T* items(const local::Section& section) {
  return reinterpret_cast<const T*>(section_data(section));
}

template <class T>
uint32_t item_count(const local::Section& section) {
  return section.size / static_cast<uint32_t>(sizeof(T));
}

constexpr uint32_t kMostRanges = 64;
constexpr size_t kTextSize = 32 * 1024;

// The session's ranges, and those of this process's own debugger.
local::PortRange ignored[kMostRanges];
PortRanges ignored_ports = {ignored, kMostRanges, 0};

size_t read_text(const char* path, char* text, size_t size) {
  const long fd = raw(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  if (failed(fd)) {
    return 0;
  }
  size_t length = 0;
  while (length < size) {
    const long count = raw(SYS_read, fd, text + length, size - length);
    if (count <= 0) {
      break;
    }
    length += static_cast<size_t>(count);
  }
  raw(SYS_close, fd);
  return length;
}

void find_argument_ports(const char* kind) {
  // Too large for the stack; touched in processes that are debugged only.
  static char arguments[kTextSize];
  static char text[kTextSize];
  const size_t size = read_text("/proc/self/cmdline", arguments, sizeof arguments - 1);
  add_argument_ports(ignored_ports, kind, arguments, size);
  if (strcmp(kind, "javaagent") != 0) {
    return;
  }
  size_t at = 0;
  while (const char* file = next_argument_file(arguments, size, &at)) {
    add_argument_file_ports(ignored_ports, text, read_text(file, text, sizeof text));
  }
}

}  // namespace

// Editors set the variables for the program that they start, which need not be this session's first.
MIRRORD_SLOW void find_debugger_ports() {
  ignored_ports.count = 0;
  const local::Section& section = session.settings->ignored_ports;
  for (uint32_t i = 0; i < item_count<local::PortRange>(section); ++i) {
    const local::PortRange& range = items<local::PortRange>(section)[i];
    ignored_ports.add(range.first, range.last);
  }
  if (const char* list = environment_value("MIRRORD_IGNORE_DEBUGGER_PORTS")) {
    add_listed_ports(ignored_ports, list);
  }
  const char* kind = environment_value("MIRRORD_DETECT_DEBUGGER_PORT");
  if (kind == nullptr) {
    return;
  }
  if (strcmp(kind, "nodeinspector") == 0) {
    add_inspector_ports(ignored_ports, environment_value("NODE_OPTIONS"),
                        environment_value("NODE_INSPECTOR_INFO"));
  } else {
    find_argument_ports(kind);
  }
}

NetRules current_net_rules() {
  const local::Settings& settings = *session.settings;
  NetRules rules = {};
  rules.flags = settings.flags;
  rules.outgoing = items<local::FilterRule>(settings.outgoing_filter);
  rules.outgoing_count = item_count<local::FilterRule>(settings.outgoing_filter);
  rules.dns = items<local::FilterRule>(settings.dns_filter);
  rules.dns_count = item_count<local::FilterRule>(settings.dns_filter);
  rules.names = section_data(settings.filter_names);
  rules.ignored = ignored_ports.items;
  rules.ignored_count = ignored_ports.count;
  rules.ignore_localhost = (settings.flags & local::kIgnoreLocalhost) != 0;
  return rules;
}

}  // namespace mirrord::hook
