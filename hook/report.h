// hook/report.h — what the hook says: single lines on standard error for the user, lines for the session's log.
#pragma once

#include "hook/libc.h"
#include "proto/local.h"

namespace mirrord::hook {

// Writes "mirrord: <text>\n" in one write.
void report(const char* text);
// Ends the process with status 255 after the line.
[[noreturn]] void report_and_exit(const char* text);
// A line for the session's log, of type kLog or kLogDecision.
void tell_log(local::MessageType type, const char* text, size_t size);
// Once per process: the intproxy is gone.
void report_lost_session();
// Once per process: the intproxy is there but does not answer.
void report_silent_session();

}  // namespace mirrord::hook
