// applets/command_line.h — what a command takes, as one table: its parser, its help, the manual page and the
// shells' completions follow from it.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/error.h"

namespace mirrord {

enum class Takes {
  kNothing,
  kValue,
  kOptionalValue,  // the next word, if it is no flag
  kOptionalEqual,  // only as --flag=value
};

struct Flag {
  std::string_view name;  // without --
  char letter;            // 0: none
  Takes takes;
  std::string_view value;  // what help calls the value
  std::string_view
      variables;           // environment variables in whose place it stands, separated by spaces
  std::string_view fixed;  // its value when none is given
  std::string_view help;
  std::string_view choices = {};  // the only values, separated by spaces; "": any
  std::string_view alias = {};    // another name, not shown
};

struct FlagGroup {
  std::string_view heading;
  std::span<const Flag> flags;
};

struct Example {
  std::string_view line, meaning;
};

enum class Words {
  kNone,
  kAny,
  kProgram,  // the first word that is no flag ends the flags: it and the rest are a program's
};

struct Command {
  std::string_view name;                 // as typed after mirrord: "config show"
  std::string_view purpose;              // whole sentences
  std::vector<std::string_view> usages;  // what follows the name, one for each form
  std::vector<FlagGroup> flags;          // --help is in every command
  std::vector<Example> examples;
  std::string notes;  // paragraphs, each one line; a line that begins with a space stays as it is
  Words words = Words::kNone;
};

// One command's words, sorted into flags and the rest.
class CommandLine {
 public:
  struct Given {
    const Flag* flag;
    std::string shown;  // as the user wrote it
    std::string value;
  };

  bool has(std::string_view flag) const { return last(flag) != nullptr; }
  // The value of the last one; null without any.
  const std::string* last(std::string_view flag) const;
  std::vector<std::string> all(std::string_view flag) const;

  std::vector<Given> given;
  std::vector<std::string> words;
  bool wants_help = false;
};

// `argv[0]` is skipped. Errors have the code kUsage.
Result<CommandLine> parse_command_line(const Command& command, int argc, const char* const* argv);

// The same for a command's main: an error is printed by `report`, help is printed. Without a command line,
// the exit code.
std::expected<CommandLine, int> read_command_line(const Command& command, int argc,
                                                  const char* const* argv,
                                                  int (*report)(const Error&));

// The error for words that make no sense together; the hint leads to the command's help.
std::unexpected<Error> usage_error(const Command& command, std::string what);

std::string help_text(const Command& command);

// The one of `commands` that argv[1] names, for `mirrord FAMILY argv[1] …`. Without a command, the exit code:
// the family's help or the error has been printed.
std::expected<const Command*, int> choose_subcommand(std::span<const Command> commands, int argc,
                                                     const char* const* argv,
                                                     int (*report)(const Error&));
std::string family_help(std::span<const Command> commands);

// `text` in lines of at most `width` columns, each begun by `indent` spaces but the first.
std::string wrapped(std::string_view text, std::size_t indent, std::size_t width);

}  // namespace mirrord
