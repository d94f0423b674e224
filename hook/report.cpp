// hook/report.cpp — writes lines to standard error, sends lines to the session's log.
#include "hook/report.h"

#include "hook/ipc.h"

namespace mirrord::hook {

void tell_log(local::MessageType type, const char* text, size_t size) {
  iovec part = {const_cast<char*>(text), size};
  notify({type, nullptr, 0, &part, 1, -1});
}

void report(const char* text) {
  TextBuffer<1024> line;
  line.text("mirrord: ").text(text).text("\n");
  raw(SYS_write, 2, line.c_str(), line.size());
}

void report_and_exit(const char* text) {
  report(text);
  raw(SYS_exit_group, 255);
  __builtin_unreachable();
}

void report_lost_session() {
  static std::atomic<bool> reported{false};
  if (!reported.exchange(true)) {
    report(
        "the session has ended or its proxy was killed: remote files and connections fail from "
        "now on. Start the program again with `mirrord exec`.");
  }
}

void report_silent_session() {
  static std::atomic<bool> reported{false};
  if (!reported.exchange(true)) {
    report(
        "the session's proxy does not answer (is the process `mirrord intproxy` stopped?): remote "
        "files and connections fail until it does. Continue it with `kill -CONT`, or start the "
        "program again with `mirrord exec`.");
  }
}

}  // namespace mirrord::hook
