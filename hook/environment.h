// hook/environment.h — variables that a program loads itself, because they are too many or too large for its start.
#pragma once

namespace mirrord::hook {

// At start, in a process that kLoadVariable tells to: adds the variables of the session's environment file, each in
// place of one of the same name, and removes kLoadVariable.
void load_environment();

}  // namespace mirrord::hook
