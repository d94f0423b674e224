// hook/debugger_ports.cpp — one function per debugger; nothing here calls the system.
#include "hook/debugger_ports.h"

#include <string.h>

namespace mirrord::hook {
namespace {

constexpr uint32_t kMostPorts = 65535;

// A piece of a text; `end` is behind its last character.
struct Piece {
  const char* begin;
  const char* end;

  [[nodiscard]] size_t size() const { return static_cast<size_t>(end - begin); }
  [[nodiscard]] bool starts_with(const char* word) const {
    const size_t length = strlen(word);
    return size() >= length && memcmp(begin, word, length) == 0;
  }
  [[nodiscard]] bool ends_with(const char* word) const {
    const size_t length = strlen(word);
    return size() >= length && memcmp(end - length, word, length) == 0;
  }
  [[nodiscard]] bool is(const char* word) const {
    return starts_with(word) && size() == strlen(word);
  }
  // Behind the first `word`, or nullptr.
  [[nodiscard]] const char* behind(const char* word) const {
    for (Piece rest = *this; rest.begin < end; ++rest.begin) {
      if (rest.starts_with(word)) {
        return rest.begin + strlen(word);
      }
    }
    return nullptr;
  }
  [[nodiscard]] Piece until(const char* stops) const {
    Piece out = {begin, begin};
    while (out.end < end && strchr(stops, *out.end) == nullptr) {
      ++out.end;
    }
    return out;
  }
  // Behind the last of these characters.
  [[nodiscard]] Piece after_last(const char* marks) const {
    Piece out = *this;
    for (const char* at = begin; at < end; ++at) {
      if (strchr(marks, *at) != nullptr) {
        out.begin = at + 1;
      }
    }
    return out;
  }
};

// The number that the piece begins with; 0: none that is a port.
uint32_t port_at(Piece text, const char** rest) {
  uint32_t port = 0;
  const char* at = text.begin;
  for (; at < text.end && *at >= '0' && *at <= '9' && port <= kMostPorts; ++at) {
    port = port * 10 + static_cast<uint32_t>(*at - '0');
  }
  *rest = at;
  return port <= kMostPorts ? port : 0;
}

void add_port(PortRanges& ports, Piece text) {
  const char* rest = nullptr;
  const uint32_t port = port_at(text, &rest);
  ports.add(port, port);
}

// The argument at `*at`, which moves on; false behind the last one.
bool next_argument(const char* arguments, size_t size, size_t* at, Piece* argument) {
  if (*at >= size) {
    return false;
  }
  const char* begin = arguments + *at;
  const size_t length = strnlen(begin, size - *at);
  *argument = {begin, begin + length};
  *at += length + 1;
  return true;
}

Piece argument_at(const char* arguments, size_t size, unsigned index) {
  size_t at = 0;
  Piece argument = {arguments, arguments};
  for (unsigned i = 0; i <= index; ++i) {
    if (!next_argument(arguments, size, &at, &argument)) {
      return {arguments, arguments};
    }
  }
  return argument;
}

// The value of "--name value" or "--name=value"; empty: there is none.
Piece option_value(const char* arguments, size_t size, const char* name) {
  size_t at = 0;
  Piece argument = {};
  while (next_argument(arguments, size, &at, &argument)) {
    if (!argument.starts_with(name)) {
      continue;
    }
    const char* rest = argument.begin + strlen(name);
    if (rest < argument.end && *rest == '=') {
      return {rest + 1, argument.end};
    }
    if (rest == argument.end && next_argument(arguments, size, &at, &argument)) {
      return argument;
    }
  }
  return {arguments, arguments};
}

bool is_python(Piece program) {
  return program.after_last("/").starts_with("py");
}

// java or javaw, in any case of letters, with or without folders and ".exe".
bool is_java(Piece program) {
  const Piece name = program.after_last("/\\").until(".");
  char lower[6] = {};
  if (name.size() > sizeof lower - 1) {
    return false;
  }
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name.begin[i];
    lower[i] = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  }
  return strcmp(lower, "java") == 0 || strcmp(lower, "javaw") == 0;
}

// Every "-agentlib:jdwp=transport=dt_socket,…,address=HOST:PORT" in the text.
void add_java_agents(PortRanges& ports, Piece text) {
  while (const char* agent = text.behind("-agentlib:jdwp=transport=dt_socket")) {
    const Piece options = Piece{agent, text.end}.until(" \t\r\n\f\"'");
    if (const char* address = options.behind("address=")) {
      add_port(ports, Piece{address, options.end}.until(",").after_last(":"));
    }
    text.begin = options.end;
  }
}

}  // namespace

void PortRanges::add(uint32_t first, uint32_t last) {
  if (first != 0 && first <= last && last <= kMostPorts && count < room) {
    items[count++] = {static_cast<uint16_t>(first), static_cast<uint16_t>(last)};
  }
}

void add_listed_ports(PortRanges& ports, const char* list) {
  Piece text = {list, list + strlen(list)};
  while (text.begin < text.end) {
    Piece item = text.until(",");
    text.begin = item.end < text.end ? item.end + 1 : item.end;
    while (item.begin < item.end && *item.begin == ' ') {
      ++item.begin;
    }
    const char* rest = nullptr;
    const uint32_t first = port_at(item, &rest);
    uint32_t last = first;
    if (rest < item.end && *rest == '-') {
      last = port_at({rest + 1, item.end}, &rest);
    }
    while (rest < item.end && *rest == ' ') {
      ++rest;
    }
    if (rest == item.end) {
      ports.add(first, last);
    }
  }
}

void add_argument_ports(PortRanges& ports, const char* kind, const char* arguments, size_t size) {
  const Piece program = argument_at(arguments, size, 0);
  const Piece first = argument_at(arguments, size, 1);
  if (strcmp(kind, "debugpy") == 0) {
    const bool runs_it =
        first.ends_with("debugpy") ||
        (first.starts_with("-X") && argument_at(arguments, size, 3).ends_with("debugpy"));
    if (is_python(program) && runs_it) {
      add_port(ports, option_value(arguments, size, "--connect").after_last(":"));
    }
  } else if (strcmp(kind, "pydevd") == 0) {
    if (is_python(program) && first.after_last("/").behind("pydevd") != nullptr) {
      add_port(ports, option_value(arguments, size, "--port"));
    }
  } else if (strcmp(kind, "resharper") == 0) {
    if (program.ends_with("dotnet") &&
        argument_at(arguments, size, 2).behind("Debugger") != nullptr) {
      add_port(ports, option_value(arguments, size, "--frontend-port"));
    }
  } else if (strcmp(kind, "javaagent") == 0 && is_java(program)) {
    size_t at = 0;
    Piece argument = {};
    while (next_argument(arguments, size, &at, &argument)) {
      add_java_agents(ports, argument);
    }
  }
}

const char* next_argument_file(const char* arguments, size_t size, size_t* at) {
  Piece argument = {};
  while (next_argument(arguments, size, at, &argument)) {
    if (argument.size() > 1 && *argument.begin == '@') {
      return argument.begin + 1;
    }
  }
  return nullptr;
}

void add_argument_file_ports(PortRanges& ports, const char* text, size_t size) {
  add_java_agents(ports, {text, text + size});
}

void add_inspector_ports(PortRanges& ports, const char* options, const char* info) {
  constexpr uint32_t kUsualPort = 9229;
  const uint32_t before = ports.count;
  Piece text = {options, options + (options != nullptr ? strlen(options) : 0)};
  while (text.begin < text.end) {
    const Piece word = text.until(" \t\"'");
    text.begin = word.end < text.end ? word.end + 1 : word.end;
    const Piece name = word.until("=");
    if (!name.is("--inspect") && !name.is("--inspect-brk") && !name.is("--inspect-wait")) {
      continue;
    }
    const Piece value = Piece{name.end, word.end}.after_last("=:");
    if (value.size() == 0) {
      ports.add(kUsualPort, kUsualPort);
    } else {
      add_port(ports, value);
    }
  }
  if (ports.count != before || info == nullptr) {
    return;
  }
  // "inspectorURL":"ws://127.0.0.1:40123/…"
  const Piece all = {info, info + strlen(info)};
  const char* url = all.behind("\"inspectorURL\"");
  const char* host = url != nullptr ? Piece{url, all.end}.behind("://") : nullptr;
  if (host != nullptr) {
    add_port(ports, Piece{host, all.end}.until("/\"").after_last(":"));
  }
}

}  // namespace mirrord::hook
