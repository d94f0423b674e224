// tests/unit/exec/progress_test.cpp — the lines that editors and scripts read.
#include "applets/progress.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "applets/json_text.h"
#include "applets/version.h"

namespace mirrord {
namespace {

template <class Run>
std::string stdout_of(Run run) {
  testing::internal::CaptureStdout();
  run();
  return testing::internal::GetCapturedStdout();
}

void tell(ProgressMode mode) {
  Progress root(mode, "mirrord exec");
  Progress step = root.subtask("a \"step\"");
  step.info("one");
  step.warning("two");
  step.success();
  { const Progress lost = root.subtask("lost"); }
  root.success("Ready!");
}

TEST(Progress, JsonLines) {
  EXPECT_EQ(stdout_of([] { tell(ProgressMode::kJson); }),
            "{\"type\":\"NewTask\",\"name\":\"mirrord exec\",\"parent\":null}\n"
            "{\"type\":\"NewTask\",\"name\":\"a \\\"step\\\"\",\"parent\":\"mirrord exec\"}\n"
            "{\"type\":\"Info\",\"message\":\"one\"}\n"
            "{\"type\":\"Warning\",\"message\":\"two\"}\n"
            "{\"type\":\"FinishedTask\",\"name\":\"a \\\"step\\\"\",\"success\":true,"
            "\"message\":null}\n"
            "{\"type\":\"NewTask\",\"name\":\"lost\",\"parent\":\"mirrord exec\"}\n"
            "{\"type\":\"FinishedTask\",\"name\":\"lost\",\"success\":false,\"message\":null}\n"
            "{\"type\":\"FinishedTask\",\"name\":\"mirrord exec\",\"success\":true,"
            "\"message\":\"Ready!\"}\n");
}

TEST(Progress, PlainLines) {
  EXPECT_EQ(stdout_of([] { tell(ProgressMode::kSimple); }),
            std::string("mirrord exec (cli version ") + kVersion +
                ")\na \"step\"\none\ntwo\nlost\nReady!\n");
}

template <class Run>
std::string stderr_of(Run run) {
  testing::internal::CaptureStderr();
  run();
  return testing::internal::GetCapturedStderr();
}

TEST(Progress, WithoutATerminalPlainLinesGoToStandardError) {
  EXPECT_EQ(stderr_of([] { tell(ProgressMode::kStandard); }),
            "mirrord: a \"step\"\nmirrord: one\nmirrord: warning: two\nmirrord: lost\n"
            "mirrord: failed: lost\nmirrord: Ready!\n");
  for (const ProgressMode mode : {ProgressMode::kOff, ProgressMode::kJson, ProgressMode::kSimple})
    stdout_of([&] { EXPECT_EQ(stderr_of([&] { tell(mode); }), ""); });
}

TEST(Progress, AWarningIsShownOnce) {
  const auto warn = [](ProgressMode mode) {
    Progress root(mode, "root");
    root.warning("the same");
    Progress step = root.subtask("step");
    step.warning("the same");
    step.warning("another");
    step.success();
    root.success();
  };
  EXPECT_EQ(stderr_of([&] { warn(ProgressMode::kStandard); }),
            "mirrord: warning: the same\nmirrord: step\nmirrord: warning: another\n");
  EXPECT_EQ(stdout_of([&] { warn(ProgressMode::kSimple); }),
            std::string("root (cli version ") + kVersion + ")\nthe same\nstep\nanother\n");
}

TEST(Progress, MessagesForEditorsOnlyWhereTheyAreWanted) {
  const auto show = [](ProgressMode mode) {
    Progress root(mode, "root");
    root.ide_message({.id = "an_id", .is_warning = true, .text = "a \"text\"", .links = {}});
    root.ide_message({.id = "i", .text = "t", .links = {{"one", "http://x/"}, {"two", "y"}}});
    root.success();
  };
  const std::string begin = "{\"type\":\"NewTask\",\"name\":\"root\",\"parent\":null}\n";
  const std::string end =
      "{\"type\":\"FinishedTask\",\"name\":\"root\",\"success\":true,\"message\":null}\n";
  unsetenv("MIRRORD_PROGRESS_SUPPORT_IDE");
  EXPECT_EQ(stdout_of([&] { show(ProgressMode::kJson); }), begin + end);
  setenv("MIRRORD_PROGRESS_SUPPORT_IDE", "true", 1);
  EXPECT_EQ(
      stdout_of([&] { show(ProgressMode::kJson); }),
      begin +
          R"({"type":"IdeMessage","message":{"id":"an_id","level":"Warning","text":"a \"text\"","actions":[]}})"
          "\n"
          R"({"type":"IdeMessage","message":{"id":"i","level":"Info","text":"t","actions":[{"kind":"Link","label":"one","link":"http://x/"},{"kind":"Link","label":"two","link":"y"}]}})"
          "\n" +
          end);
  EXPECT_EQ(stdout_of([&] { show(ProgressMode::kSimple); }),
            std::string("root (cli version ") + kVersion + ")\n");
  unsetenv("MIRRORD_PROGRESS_SUPPORT_IDE");
}

TEST(Progress, StandardAndOffKeepStandardOutputClean) {
  EXPECT_EQ(stdout_of([] { tell(ProgressMode::kStandard); }), "");
  EXPECT_EQ(stdout_of([] { tell(ProgressMode::kOff); }), "");
}

TEST(Progress, ModeComesFromTheEnvironment) {
  const auto mode = [](const char* word) {
    setenv("MIRRORD_PROGRESS_MODE", word, 1);
    return progress_mode_from_environment(ProgressMode::kJson);
  };
  EXPECT_EQ(mode("std"), ProgressMode::kStandard);
  EXPECT_EQ(mode("standard"), ProgressMode::kStandard);
  EXPECT_EQ(mode("dumb"), ProgressMode::kSimple);
  EXPECT_EQ(mode("simple"), ProgressMode::kSimple);
  EXPECT_EQ(mode("off"), ProgressMode::kOff);
  EXPECT_EQ(mode("other"), ProgressMode::kJson);
  unsetenv("MIRRORD_PROGRESS_MODE");
  EXPECT_EQ(progress_mode_from_environment(), ProgressMode::kStandard);
}

TEST(JsonText, EscapesAndKeepsUtf8) {
  EXPECT_EQ(json_quoted("a\"\\\n\t\x01é"), "\"a\\\"\\\\\\n\\t\\u0001é\"");
  EXPECT_EQ(json_quoted("\xFFx\xC3"), "\"\xEF\xBF\xBDx\xEF\xBF\xBD\"");
}

TEST(JsonText, IndentedAsSerdeDoes) {
  EXPECT_EQ(json_indented(R"({"a":[],"b":{},"c":[1,{"d":"x,]{\"\\"}],"e":null})"),
            R"({
  "a": [],
  "b": {},
  "c": [
    1,
    {
      "d": "x,]{\"\\"
    }
  ],
  "e": null
})");
  EXPECT_EQ(json_indented("[[]]"), "[\n  []\n]");
}

TEST(JsonText, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xFF\xFE"), "//4=");
}

}  // namespace
}  // namespace mirrord
