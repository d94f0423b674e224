// applets/wire_json.h — JSON text to the values that proto/json.h turns into messages.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "proto/json.h"

namespace mirrord {

// The error says what is wrong with the text.
[[nodiscard]] std::expected<proto::JsonValue, std::string> parse_json(std::string_view text);

// The parser ends texts at a NUL, so "\u0000" is given to it as C0 80, which UTF-8 cannot contain.
std::string mark_nul_characters(std::string_view json);

}  // namespace mirrord
