// applets/log/console_records.cpp — bincode's standard configuration for the two messages of the console.
#include "applets/log/console_records.h"

#include <utility>

namespace mirrord::log {
namespace {

// Integers below 251 are one byte; else a marker says how many bytes follow, little endian.
constexpr std::uint8_t kTwoBytes = 251;
constexpr std::uint8_t kFourBytes = 252;
constexpr std::uint8_t kEightBytes = 253;

class Writer {
 public:
  void integer(std::uint64_t value) {
    if (value < kTwoBytes) {
      text_ += static_cast<char>(value);
    } else if (value <= 0xFFFF) {
      marked(kTwoBytes, value, 2);
    } else if (value <= 0xFFFF'FFFF) {
      marked(kFourBytes, value, 4);
    } else {
      marked(kEightBytes, value, 8);
    }
  }
  void text(std::string_view value) {
    integer(value.size());
    text_ += value;
  }
  void list(const std::vector<std::string>& values) {
    integer(values.size());
    for (const std::string& value : values)
      text(value);
  }
  void optional_text(const std::optional<std::string>& value) {
    integer(value ? 1 : 0);
    if (value)
      text(*value);
  }
  // The frame.
  std::string take() {
    const std::size_t size = text_.size();
    std::string frame;
    for (int shift = 24; shift >= 0; shift -= 8)
      frame += static_cast<char>(size >> shift & 0xFF);
    return frame + text_;
  }

 private:
  void marked(std::uint8_t marker, std::uint64_t value, int bytes) {
    text_ += static_cast<char>(marker);
    for (int i = 0; i < bytes; ++i)
      text_ += static_cast<char>(value >> 8 * i & 0xFF);
  }

  std::string text_;
};

// After something wrong every further value is empty, and end() says so.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}

  std::uint64_t integer() {
    const std::uint64_t first = bytes(1);
    switch (first) {
      case kTwoBytes:
        return bytes(2);
      case kFourBytes:
        return bytes(4);
      case kEightBytes:
        return bytes(8);
      default:
        is_bad_ = is_bad_ || first > kEightBytes;
        return first;
    }
  }
  std::string text() {
    const std::uint64_t size = integer();
    if (size > rest_.size()) {
      is_bad_ = true;
      return {};
    }
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }
  std::vector<std::string> list() {
    std::vector<std::string> values;
    // Every text takes a byte at least, so this ends with the input.
    for (std::uint64_t count = integer(); count > 0 && !is_bad_; --count)
      values.push_back(text());
    return values;
  }
  bool has_value() {
    const std::uint64_t mark = integer();
    is_bad_ = is_bad_ || mark > 1;
    return mark == 1 && !is_bad_;
  }
  std::optional<std::string> optional_text() {
    return has_value() ? std::optional(text()) : std::nullopt;
  }
  [[nodiscard]] bool is_at_end() const { return !is_bad_ && rest_.empty(); }
  void refuse() { is_bad_ = true; }

 private:
  std::uint64_t bytes(std::size_t count) {
    if (rest_.size() < count) {
      is_bad_ = true;
      rest_ = {};
      return 0;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value |= std::uint64_t{static_cast<unsigned char>(rest_[i])} << 8 * i;
    rest_.remove_prefix(count);
    return value;
  }

  std::string_view rest_;
  bool is_bad_ = false;
};

}  // namespace

std::string console_frame(const ConsoleHello& hello) {
  Writer writer;
  writer.list(hello.arguments);
  writer.list(hello.environment);
  writer.optional_text(hello.directory);
  writer.integer(hello.pid);
  return writer.take();
}

std::string console_frame(const ConsoleRecord& record) {
  Writer writer;
  writer.integer(static_cast<std::uint64_t>(record.level));
  writer.text(record.target);
  writer.text(record.message);
  writer.optional_text(record.module);
  writer.optional_text(record.file);
  writer.integer(record.line ? 1 : 0);
  if (record.line)
    writer.integer(*record.line);
  return writer.take();
}

Result<ConsoleHello> parse_console_hello(std::string_view body) {
  Reader reader(body);
  ConsoleHello hello;
  hello.arguments = reader.list();
  hello.environment = reader.list();
  hello.directory = reader.optional_text();
  hello.pid = reader.integer();
  if (!reader.is_at_end())
    return fail(ErrorCode::kPeer, "read a client's first message: it has not its form");
  return hello;
}

Result<ConsoleRecord> parse_console_record(std::string_view body) {
  Reader reader(body);
  ConsoleRecord record;
  const std::uint64_t level = reader.integer();
  if (level >= kLevelNames.size())
    reader.refuse();
  else
    record.level = static_cast<Level>(level);
  record.target = reader.text();
  record.message = reader.text();
  record.module = reader.optional_text();
  record.file = reader.optional_text();
  if (reader.has_value())
    record.line = static_cast<std::uint32_t>(reader.integer());
  if (!reader.is_at_end())
    return fail(ErrorCode::kPeer, "read a client's log line: it has not its form");
  return record;
}

}  // namespace mirrord::log
