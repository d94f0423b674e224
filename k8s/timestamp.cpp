// k8s/timestamp.cpp — reads RFC 3339.
#include "k8s/timestamp.h"

#include <algorithm>
#include <charconv>

namespace mirrord::k8s {
namespace {

// A number of exactly `digits` digits, taken from the front of `text`.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  int number = 0;
  if (text.size() < digits || text[0] < '0' || text[0] > '9') {
    return std::nullopt;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
  if (error != std::errc{} || end != text.data() + digits) {
    return std::nullopt;
  }
  text.remove_prefix(digits);
  return number;
}

}  // namespace

std::optional<std::chrono::system_clock::time_point> parse_timestamp(std::string_view text) {
  constexpr std::size_t kDigits[] = {4, 2, 2, 2, 2, 2};
  constexpr std::string_view kBetween = "--T::";
  int parts[6] = {};
  for (std::size_t i = 0; i < 6; ++i) {
    const auto number = take_number(text, kDigits[i]);
    if (!number) {
      return std::nullopt;
    }
    parts[i] = *number;
    if (i < 5) {
      if (!text.starts_with(kBetween[i]) && !(i == 2 && text.starts_with('t'))) {
        return std::nullopt;
      }
      text.remove_prefix(1);
    }
  }
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    text.remove_prefix(std::min(text.find_first_not_of("0123456789"), text.size()));
  }
  std::chrono::minutes offset{0};
  if (text.starts_with('+') || text.starts_with('-')) {
    const int sign = text[0] == '+' ? 1 : -1;
    text.remove_prefix(1);
    const auto hours = take_number(text, 2);
    if (!hours || !text.starts_with(':')) {
      return std::nullopt;
    }
    text.remove_prefix(1);
    const auto minutes = take_number(text, 2);
    if (!minutes || !text.empty()) {
      return std::nullopt;
    }
    offset = std::chrono::minutes(sign * (*hours * 60 + *minutes));
  } else if (text != "Z" && text != "z") {
    return std::nullopt;
  }
  const int year = std::clamp(parts[0], 1700, 2200);
  const std::chrono::year_month_day day{std::chrono::year(year),
                                        std::chrono::month(static_cast<unsigned>(parts[1])),
                                        std::chrono::day(static_cast<unsigned>(parts[2]))};
  if (!day.ok() || parts[3] > 23 || parts[4] > 59 || parts[5] > 60) {
    return std::nullopt;
  }
  return std::chrono::sys_days(day) + std::chrono::hours(parts[3]) +
         std::chrono::minutes(parts[4]) + std::chrono::seconds(parts[5]) - offset;
}

}  // namespace mirrord::k8s
