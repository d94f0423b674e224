// tests/unit/log/console_records_test.cpp — what goes to a console, and what a console refuses.
#include "applets/log/console_records.h"

#include <gtest/gtest.h>

namespace mirrord::log {
namespace {

constexpr std::size_t kLengthSize = 4;

TEST(ConsoleRecords, HaveTheOriginalsBytes) {
  using namespace std::string_literals;
  const ConsoleRecord record{.level = Level::kDebug, .target = "dns", .message = "hi", .line = 300};
  EXPECT_EQ(console_frame(record),
            "\0\0\0\x0e\x03\x03"
            "dns\x02hi\0\0\x01\xfb\x2c\x01"s);
  const ConsoleHello hello{.arguments = {"mirrord", "exec"}, .pid = 70000};
  EXPECT_EQ(console_frame(hello),
            "\0\0\0\x15\x02\x07mirrord\x04"
            "exec\0\0\xfc\x70\x11\x01\0"s);
}

TEST(ConsoleRecords, ComeBackAsTheyWere) {
  const ConsoleRecord record{.level = Level::kWarn,
                             .target = "mirrord::files",
                             .message = std::string(70000, 'x'),
                             .module = "a::b",
                             .file = "src/a.rs",
                             .line = 1u << 20};
  const auto read =
      parse_console_record(std::string_view(console_frame(record)).substr(kLengthSize));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->level, record.level);
  EXPECT_EQ(read->target, record.target);
  EXPECT_EQ(read->message, record.message);
  EXPECT_EQ(read->module, record.module);
  EXPECT_EQ(read->file, record.file);
  EXPECT_EQ(read->line, record.line);
  const ConsoleHello hello{.arguments = {"a"}, .environment = {"B=c"}, .directory = "/", .pid = 1};
  const auto who = parse_console_hello(std::string_view(console_frame(hello)).substr(kLengthSize));
  ASSERT_TRUE(who);
  EXPECT_EQ(who->arguments, hello.arguments);
  EXPECT_EQ(who->environment, hello.environment);
  EXPECT_EQ(who->directory, hello.directory);
  EXPECT_EQ(who->pid, 1U);
}

TEST(ConsoleRecords, AreRefusedWhenCutOrTooLong) {
  const std::string frame =
      console_frame(ConsoleRecord{.target = "files", .message = "text", .line = 7});
  const std::string_view body = std::string_view(frame).substr(kLengthSize);
  for (std::size_t size = 0; size < body.size(); ++size)
    EXPECT_FALSE(parse_console_record(body.substr(0, size))) << size;
  EXPECT_TRUE(parse_console_record(body));
  EXPECT_FALSE(parse_console_record(std::string(body) + "x"));
}

TEST(ConsoleRecords, AnnouncedSizesAreNotBelieved) {
  using namespace std::string_literals;
  EXPECT_FALSE(parse_console_hello("\xfd\xff\xff\xff\xff\xff\xff\xff\x7f"s));  // arguments
  EXPECT_FALSE(parse_console_hello("\x01\xfc\xff\xff\xff\xff"s));  // one argument's length
  EXPECT_FALSE(parse_console_record("\x05\0\0\0\0\0"s));           // a sixth level
  EXPECT_FALSE(parse_console_record("\x01\0\0\x02\0\0"s));         // neither none nor some
}

}  // namespace
}  // namespace mirrord::log
