// tests/unit/exec/session_flags_test.cpp — command lines by the table of exec's flags.
#include "applets/session_flags.h"

#include <gtest/gtest.h>

#include <initializer_list>

#include "applets/applet.h"

namespace mirrord {
namespace {

using Strings = std::vector<std::string>;

Result<CommandLine> parse(std::initializer_list<const char*> words) {
  std::vector<const char*> argv = {"exec"};
  argv.insert(argv.end(), words);
  return parse_command_line(exec_commands().front(), static_cast<int>(argv.size()), argv.data());
}

std::string value_of(std::initializer_list<const char*> words, const std::string& variable) {
  const auto flags = parse(words);
  if (!flags)
    return flags.error().what;
  const config::Overrides overrides = load_request(*flags).overrides;
  const auto found = overrides.find(variable);
  return found == overrides.end() ? "not set" : found->second.value;
}

TEST(SessionFlags, EveryFormOfAValue) {
  for (const auto& words : {std::initializer_list<const char*>{"--target", "demo", "x"},
                            {"--target=demo", "x"},
                            {"-t", "demo", "x"},
                            {"-tdemo", "x"},
                            {"-t=demo", "x"}})
    EXPECT_EQ(value_of(words, "MIRRORD_IMPERSONATED_TARGET"), "demo");
}

TEST(SessionFlags, SwitchesSetTheirVariables) {
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

TEST(SessionFlags, AllFlagsOfTheOriginalParse) {
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
  EXPECT_EQ(load_request(*flags).overrides.size(), 21U);
  EXPECT_EQ(load_request(*flags).file, "i");
  EXPECT_EQ(flags->words, Strings{"program"});
}

TEST(SessionFlags, TheProgramsOwnWordsAreLeftAlone) {
  EXPECT_EQ(parse({"-t", "a", "ls", "-l", "--", "-t"})->words, (Strings{"ls", "-l", "--", "-t"}));
  EXPECT_EQ(parse({"--", "ls", "--", "x"})->words, (Strings{"ls", "--", "x"}));
  EXPECT_EQ(parse({"ls", "--", "-l"})->words, (Strings{"ls", "-l"})) << "the original's form";
  EXPECT_EQ(parse({"--", "-odd"})->words, Strings{"-odd"});
  EXPECT_TRUE(parse({"-t", "a"})->words.empty());
}

TEST(SessionFlags, TheFileIsOptional) {
  EXPECT_EQ(*parse({"-f", "--", "x"})->last("config-file"), "./.mirrord/mirrord.json");
  EXPECT_EQ(*parse({"-f", "-t", "a", "x"})->last("config-file"), "./.mirrord/mirrord.json");
  EXPECT_EQ(*parse({"-f", "-", "x"})->last("config-file"), "-");
  EXPECT_EQ(*parse({"--config-file=a.json", "x"})->last("config-file"), "a.json");
}

TEST(SessionFlags, MistakesAreNamed) {
  EXPECT_EQ(parse({"--tagret", "a"}).error().what, "unknown flag `--tagret`");
  EXPECT_EQ(parse({"--tagret", "a"}).error().hint, "Did you mean `--target`?");
  EXPECT_EQ(parse({"-z"}).error().what, "unknown flag `-z`");
  EXPECT_EQ(parse({"-t"}).error().what, "the flag `-t` needs a value");
  EXPECT_EQ(parse({"--target", "--", "x"}).error().what, "the flag `--target` needs a value");
  EXPECT_EQ(parse({"--steal=yes"}).error().what, "the flag `--steal` takes no value");
  EXPECT_EQ(parse({"--fs-mode", "all"}).error().what, "invalid --fs-mode value `all`");
  EXPECT_EQ(parse({"-z"}).error().code, ErrorCode::kUsage);
}

TEST(SessionFlags, MistakesInAFlagsWordsSayWhatThereIs) {
  EXPECT_EQ(parse({"--fs-mode", "all"}).error().hint,
            "Use read, write, local or local-with-overrides.");
  EXPECT_EQ(parse({"--nonsense"}).error().hint, "Run 'mirrord exec --help' for the flags.");
}

Result<CommandLine> parse_words(const Command& command, std::initializer_list<const char*> words) {
  std::vector<const char*> argv = {"x"};
  argv.insert(argv.end(), words);
  return parse_command_line(command, static_cast<int>(argv.size()), argv.data());
}

TEST(CommandLine, WordsMayStandBetweenFlags) {
  constexpr Flag kFlags[] = {{"many", 'm', Takes::kValue, "X", "", "", "", "", "lots"}};
  Command command{.name = "c", .purpose = "", .usages = {""}, .flags = {{"Flags", kFlags}}};
  command.words = Words::kAny;
  const auto line = parse_words(command, {"a", "-m", "1", "b", "--lots=2", "--", "-m"});
  ASSERT_TRUE(line.has_value());
  EXPECT_EQ(line->words, (Strings{"a", "b", "-m"}));
  EXPECT_EQ(line->all("many"), (Strings{"1", "2"}));
  EXPECT_EQ(*line->last("many"), "2");
  command.words = Words::kNone;
  EXPECT_EQ(parse_words(command, {"a"}).error().what, "unexpected argument `a`");
}

TEST(CommandLine, HelpWinsOverWhatComesAfterIt) {
  const Command command{.name = "c", .purpose = "", .usages = {""}};
  EXPECT_TRUE(parse_words(command, {"--help", "--nonsense"})->wants_help);
}

TEST(CommandLine, LongTextsAreWrapped) {
  EXPECT_EQ(wrapped("one two three", 2, 8), "one two\n  three");
  EXPECT_EQ(wrapped("one twothreefour five", 1, 6), "one\n twothreefour\n five");
}

TEST(SessionFlags, HelpListsEveryFlag) {
  EXPECT_TRUE(parse({"--help"})->wants_help);
  const std::string help = help_text(exec_commands().front());
  for (const char* flag : {"--target", "--config-file", "--agent-address", "--fs-mode", "--steal"})
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
}

}  // namespace
}  // namespace mirrord
