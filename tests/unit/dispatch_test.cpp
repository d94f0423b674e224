// tests/unit/dispatch_test.cpp — the choice of a command by argv[0] and argv[1], help and suggestions.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "applets/applet.h"

namespace mirrord {
namespace {

int agent_stub(int argc, char**) {
  return 100 + argc;
}
int exec_stub(int argc, char**) {
  return 200 + argc;
}

constexpr Applet kTable[] = {
    {"agent", "far side", Visibility::kHidden, agent_stub, nullptr},
    {"exec", "run a program", Visibility::kPublic, exec_stub, nullptr},
};

int run(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  return run_applet(kTable, static_cast<int>(words.size()), arguments.data());
}

TEST(Dispatch, NameOfTheProgramChoosesTheApplet) {
  EXPECT_EQ(run({"/bin/mirrord-agent", "--port", "1"}), 103);
}

TEST(Dispatch, FirstArgumentChoosesTheApplet) {
  EXPECT_EQ(run({"mirrord", "exec", "ls"}), 202);
  EXPECT_EQ(run({"/elsewhere/mirrord-1.2", "agent"}), 101);
}

TEST(Dispatch, HelpAndVersionSucceed) {
  for (const char* word : {"--help", "-h", "help", "--version", "-V"})
    EXPECT_EQ(run({"mirrord", word}), 0) << word;
}

TEST(Dispatch, HelpHidesInternalApplets) {
  testing::internal::CaptureStdout();
  run({"mirrord", "--help"});
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_NE(help.find("exec"), std::string::npos);
  EXPECT_EQ(help.find("far side"), std::string::npos);
}

TEST(Dispatch, UnknownCommandIsRefusedWithTheNearestName) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"mirrord", "exce"}), 2);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("did you mean 'exec'?"), std::string::npos);
}

TEST(Dispatch, NothingToDoIsAUsageError) {
  EXPECT_EQ(run({"mirrord"}), 2);
}

TEST(Dispatch, TableOrderIsChecked) {
  constexpr Applet kUnsorted[] = {kTable[1], kTable[0]};
  EXPECT_TRUE(is_sorted_table(kTable));
  EXPECT_FALSE(is_sorted_table(kUnsorted));
}

}  // namespace
}  // namespace mirrord
