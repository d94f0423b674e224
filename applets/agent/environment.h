// applets/agent/environment.h — reads a process's environment and picks what a client asked for.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "applets/agent/target.h"

namespace mirrord::agent {

// Adds one NAME=value. An entry without a name or with bytes that are not UTF-8 is left out: the
// wire cannot carry it, and the others must not be lost because of it.
void add_entry(Environment& environment, std::string_view entry);

// Adds all entries of a /proc/PID/environ.
void add_environ(Environment& environment, std::string_view content);

// Whether `name` matches `pattern`, in which `*` stands for any text and `?` for one character.
[[nodiscard]] bool matches_pattern(std::string_view name, std::string_view pattern);

// Variables that describe the target's installation rather than its configuration; they would
// break the user's own tools and are never lent out.
[[nodiscard]] bool is_always_excluded(std::string_view name);

// Whether a client that asked with these patterns gets the variable: a selecting pattern matches (no
// pattern at all selects everything), no filtering one does, and it is not always excluded.
[[nodiscard]] bool is_selected(std::string_view name, std::span<const std::string> filter,
                               std::span<const std::string> select);

// Replaces each byte that does not belong to valid UTF-8 by U+FFFD.
[[nodiscard]] std::string to_utf8_lossy(std::string_view text);

}  // namespace mirrord::agent
