// hook/decision_log.cpp — composes the lines. Long paths are cut: a hook's stack may be small.
#include "hook/decision_log.h"

#include <netinet/in.h>

#include "hook/report.h"

namespace mirrord::hook {
namespace {

using Line = TextBuffer<400>;

void send_line(const Line& line) {
  tell_log(local::MessageType::kLogDecision, line.c_str(), line.size());
}

void append_address(Line& line, const local::Address& address) {
  if (address.family == AF_INET) {
    for (int i = 0; i < 4; ++i) {
      line.text(i == 0 ? "" : ".").number(address.data[i]);
    }
  } else {
    line.text("[");
    for (int i = 0; i < 16; i += 2) {
      const unsigned group = static_cast<unsigned>(address.data[i]) << 8 | address.data[i + 1];
      line.text(i == 0 ? "" : ":").number(group, 16);
    }
    line.text("]");
  }
  line.text(":").number(address.port);
}

const char* outcome(bool is_remote) {
  return is_remote ? ": remote" : ": local";
}

}  // namespace

MIRRORD_SLOW void log_path(const char* path, bool write, Target::Kind kind) {
  Line line;
  line.text(write ? "write " : "read ").text(path);
  line.text(kind == Target::kNotFound ? ": hidden" : outcome(kind != Target::kLocal));
  send_line(line);
}

MIRRORD_SLOW void log_peer(const local::Address& remote, bool is_remote) {
  Line line;
  line.text("connect to ");
  append_address(line, remote);
  line.text(outcome(is_remote));
  send_line(line);
}

MIRRORD_SLOW void log_name(const char* name, bool is_remote) {
  Line line;
  line.text("look up ").text(name).text(outcome(is_remote));
  send_line(line);
}

}  // namespace mirrord::hook
