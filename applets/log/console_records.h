// applets/log/console_records.h — log lines on their way to `mirrord console`, in the original console's form: frames of a
// big-endian length and a bincode value; first a Hello, then Records.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "applets/log/filter.h"
#include "net/error.h"

namespace mirrord::log {

inline constexpr std::uint16_t kConsolePort = 11233;
// The original's clients send their whole environment in the first frame.
inline constexpr std::size_t kMaxConsoleFrame = 4 << 20;

// Who sends. Our own leave `environment` empty: it may hold secrets.
struct ConsoleHello {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::optional<std::string> directory;
  std::uint64_t pid = 0;
};

struct ConsoleRecord {
  Level level = Level::kInfo;
  std::string target;  // the component, or the module of the original
  std::string message;
  std::optional<std::string> module, file;
  std::optional<std::uint32_t> line;
};

// With the frame's length.
std::string console_frame(const ConsoleHello& hello);
std::string console_frame(const ConsoleRecord& record);

// Decode what a frame holds, exactly.
Result<ConsoleHello> parse_console_hello(std::string_view body);
Result<ConsoleRecord> parse_console_record(std::string_view body);

}  // namespace mirrord::log
