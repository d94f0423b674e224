// hook/report.h — what the hook says to the user: single lines on standard error.
#pragma once

#include "hook/libc.h"

namespace mirrord::hook {

// Writes "mirrord: <text>\n" in one write.
void report(const char* text);
// Ends the process with status 255 after the line.
[[noreturn]] void report_and_exit(const char* text);
// Once per process: the intproxy is gone.
void report_lost_session();
// Once per process: the intproxy is there but does not answer.
void report_silent_session();

}  // namespace mirrord::hook
