// net/base64.h — the text form of bytes in kubeconfigs, Secrets and variables.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mirrord::net {

std::string to_base64(std::string_view bytes);
// RFC 4648 §4; line breaks and spaces are skipped. Nothing when it is not valid.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace mirrord::net
