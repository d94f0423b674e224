// applets/json_text.h — text as it stands in JSON, and base64.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mirrord {

// In double quotes, escaped; bytes that are not UTF-8 become U+FFFD.
std::string json_quoted(std::string_view text);

// ["one","two"]
std::string json_list(const std::vector<std::string>& texts);

// Valid JSON without blanks, one value a line and two blanks a level; what is empty stays `[]` or `{}`.
std::string json_indented(std::string_view json);

// Standard alphabet, padded.
std::string base64(std::string_view bytes);

}  // namespace mirrord
