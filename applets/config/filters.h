// applets/config/filters.h — address filters of outgoing connections and names.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"
#include "proto/local.h"

namespace mirrord::config {

struct FilterEntry {
  local::FilterRule rule;  // its `name` is set when the table is written
  std::string name;        // kName
};

enum class FilterGrammar { kOutgoing, kDns };  // only the first has PROTOCOL://

// [PROTOCOL://][HOST][/LENGTH][:PORT]
Result<FilterEntry> parse_filter(std::string_view text, FilterGrammar grammar);

// What the hook does with the rules, for `mirrord config explain-address` and the tests.
// `name` may be empty, `address` unknown (family 0).
struct Destination {
  local::FilterProtocol protocol = local::FilterProtocol::kAny;
  std::string name;
  uint8_t family = 0;
  uint8_t address[16] = {};
  uint16_t port = 0;
};
bool filter_matches(const FilterEntry& entry, const Destination& destination);

// Parses an IP address (no brackets) into the last two.
bool parse_address(std::string_view text, uint8_t& family, uint8_t (&address)[16]);

}  // namespace mirrord::config
