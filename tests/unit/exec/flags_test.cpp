// tests/unit/exec/flags_test.cpp — the command line of exec.
#include <gtest/gtest.h>

#include <initializer_list>

#include "applets/exec_flags.h"

namespace mirrord {
namespace {

using Strings = std::vector<std::string>;

Result<ExecFlags> parse(std::initializer_list<const char*> words) {
  std::vector<const char*> argv = {"exec"};
  argv.insert(argv.end(), words);
  return parse_exec_flags(static_cast<int>(argv.size()), argv.data());
}

std::string value_of(std::initializer_list<const char*> words, const std::string& variable) {
  const auto flags = parse(words);
  if (!flags)
    return flags.error().what;
  const auto found = flags->overrides.find(variable);
  return found == flags->overrides.end() ? "not set" : found->second.value;
}

TEST(ExecFlags, EveryFormOfAValue) {
  for (const auto& words : {std::initializer_list<const char*>{"--target", "demo", "x"},
                            {"--target=demo", "x"},
                            {"-t", "demo", "x"},
                            {"-tdemo", "x"},
                            {"-t=demo", "x"}})
    EXPECT_EQ(value_of(words, "MIRRORD_IMPERSONATED_TARGET"), "demo");
}

TEST(ExecFlags, SwitchesSetTheirVariables) {
  EXPECT_EQ(value_of({"--no-remote-dns", "x"}, "MIRRORD_REMOTE_DNS"), "false");
  EXPECT_EQ(value_of({"--no-outgoing", "x"}, "MIRRORD_TCP_OUTGOING"), "false");
  EXPECT_EQ(value_of({"--no-outgoing", "x"}, "MIRRORD_UDP_OUTGOING"), "false");
  EXPECT_EQ(value_of({"--no-udp-outgoing", "x"}, "MIRRORD_TCP_OUTGOING"), "not set");
  EXPECT_EQ(value_of({"--steal", "x"}, "MIRRORD_AGENT_TCP_STEAL_TRAFFIC"), "true");
  EXPECT_EQ(value_of({"-e", "x"}, "MIRRORD_EPHEMERAL_CONTAINER"), "true");
  EXPECT_EQ(value_of({"-ec", "x"}, "MIRRORD_ACCEPT_INVALID_CERTIFICATES"), "true");
  EXPECT_EQ(value_of({"-c=false", "x"}, "MIRRORD_ACCEPT_INVALID_CERTIFICATES"), "false");
  EXPECT_EQ(value_of({"--fs-mode", "local-with-overrides", "x"}, "MIRRORD_FILE_MODE"),
            "local-with-overrides");
}

TEST(ExecFlags, AllFlagsOfTheOriginalParse) {
  const auto flags = parse({"-t",
                            "a",
                            "-n",
                            "b",
                            "-a",
                            "c",
                            "-l",
                            "d",
                            "-i",
                            "e",
                            "--agent-ttl",
                            "1",
                            "--agent-startup-timeout",
                            "2",
                            "-e",
                            "--fs-mode",
                            "read",
                            "-x",
                            "f",
                            "-s",
                            "g",
                            "--no-remote-dns",
                            "--skip-processes",
                            "h",
                            "-c",
                            "--steal",
                            "--no-outgoing",
                            "--no-tcp-outgoing",
                            "--no-udp-outgoing",
                            "--no-telemetry",
                            "--disable-version-check",
                            "-f",
                            "i",
                            "--context",
                            "j",
                            "--env-file",
                            "k",
                            "-k",
                            "l",
                            "program"});
  ASSERT_TRUE(flags.has_value()) << flags.error().what;
  EXPECT_EQ(flags->overrides.size(), 21U);
  EXPECT_EQ(flags->config_file, "i");
  EXPECT_EQ(flags->command, Strings{"program"});
}

TEST(ExecFlags, TheProgramsOwnWordsAreLeftAlone) {
  EXPECT_EQ(parse({"-t", "a", "ls", "-l", "--", "-t"})->command, (Strings{"ls", "-l", "--", "-t"}));
  EXPECT_EQ(parse({"--", "ls", "--", "x"})->command, (Strings{"ls", "--", "x"}));
  EXPECT_EQ(parse({"ls", "--", "-l"})->command, (Strings{"ls", "-l"})) << "the original's form";
  EXPECT_EQ(parse({"--", "-odd"})->command, Strings{"-odd"});
  EXPECT_TRUE(parse({"-t", "a"})->command.empty());
}

TEST(ExecFlags, TheFileIsOptional) {
  EXPECT_EQ(parse({"-f", "--", "x"})->config_file, "./.mirrord/mirrord.json");
  EXPECT_EQ(parse({"-f", "-t", "a", "x"})->config_file, "./.mirrord/mirrord.json");
  EXPECT_EQ(parse({"-f", "-", "x"})->config_file, "-");
  EXPECT_EQ(parse({"--config-file=a.json", "x"})->config_file, "a.json");
}

TEST(ExecFlags, MistakesAreNamed) {
  EXPECT_EQ(parse({"--tagret", "a"}).error().what, "unknown flag `--tagret`");
  EXPECT_EQ(parse({"--tagret", "a"}).error().hint, "Did you mean `--target`?");
  EXPECT_EQ(parse({"-z"}).error().what, "unknown flag `-z`");
  EXPECT_EQ(parse({"-t"}).error().what, "the flag `-t` needs a value");
  EXPECT_EQ(parse({"--target", "--", "x"}).error().what, "the flag `--target` needs a value");
  EXPECT_EQ(parse({"--steal=yes"}).error().what, "the flag `--steal` takes no value");
  EXPECT_EQ(parse({"--fs-mode", "all"}).error().what, "invalid --fs-mode value `all`");
  EXPECT_EQ(parse({"-z"}).error().code, ErrorCode::kUsage);
}

TEST(ExecFlags, HelpListsEveryFlag) {
  EXPECT_TRUE(parse({"--help"})->wants_help);
  const std::string help = exec_help();
  for (const char* flag : {"--target", "--config-file", "--agent-address", "--fs-mode", "--steal"})
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
}

}  // namespace
}  // namespace mirrord
