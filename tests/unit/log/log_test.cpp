// tests/unit/log/log_test.cpp — lines in files, in both forms.
#include "applets/log/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "net/file.h"

namespace mirrord::log {
namespace {

class LogFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "mirrord-log-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    path_ = name + "/a/b/session.log";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  // A log that writes there.
  Log open(const Filter& filter, Format format) {
    Log log;
    auto file = open_file(path_);
    EXPECT_TRUE(file);
    if (file)
      log.add_file(std::move(*file), filter, format);
    return log;
  }
  std::string text() const { return net::read_file(path_, 1 << 20).value_or(""); }

  std::filesystem::path directory_;
  std::string path_;
};

TEST_F(LogFile, IsMadeForItsUserWithItsDirectories) {
  Log log = open(Filter(Level::kInfo), Format::kText);
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(LogFile, TextLinesCanBeReadBack) {
  Log log = open(Filter(Level::kInfo), Format::kText);
  log.warn(Component::kDns, "a\nb\x1b[31m");
  log.debug(Component::kDns, [] { return ADD_FAILURE() << "made for nobody", std::string(); });
  const std::string lines = text();
  EXPECT_TRUE(lines.ends_with("Z warn dns: a b [31m\n")) << lines;
  const auto parsed = parse_text_line(std::string_view(lines).substr(0, lines.size() - 1));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->level, Level::kWarn);
  EXPECT_EQ(parsed->rest, "dns: a b [31m");
}

TEST_F(LogFile, JsonLinesHaveTheOriginalsKeys) {
  Log log = open(Filter::parse("files=debug"), Format::kJson);
  log.info(Component::kDns, "unwanted");
  log.debug(Component::kFiles, [] { return "a \"b\""; });
  const std::string line = text();
  EXPECT_TRUE(line.starts_with("{\"timestamp\":\"2")) << line;
  EXPECT_TRUE(
      line.ends_with("Z\",\"level\":\"DEBUG\",\"fields\":{\"message\":\"a \\\"b\\\"\"},"
                     "\"target\":\"mirrord::files\"}\n"))
      << line;
}

TEST(TextLine, OtherTextIsNone) {
  for (const char* line :
       {"", "mirrord agent: no", "2026-01-01T00:00:00.000Z", "Z info", "noZ loud files: x"})
    EXPECT_FALSE(parse_text_line(line)) << line;
}

TEST(Console, MustBeThere) {
  Log log;
  const Status nobody = log.add_console("127.0.0.1:1", Filter(Level::kTrace), "test");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().what, "connect to the console at 127.0.0.1:1: Connection refused");
  for (const char* address : {"", "here", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "::1:80x"})
    EXPECT_FALSE(log.add_console(address, Filter(Level::kTrace), "test")) << address;
}

}  // namespace
}  // namespace mirrord::log
