// applets/command_line.cpp — parses a command's words by its table of flags.
#include "applets/command_line.h"

#include <algorithm>
#include <cstdio>
#include <ranges>

#include "net/spelling.h"

namespace mirrord {
namespace {

constexpr Flag kHelpFlag = {"help", 'h', Takes::kNothing, "", "", "", "show this text"};

bool is_choice(std::string_view choices, std::string_view value) {
  for (const auto part : std::views::split(choices, ' ')) {
    if (std::string_view(part.begin(), part.end()) == value)
      return true;
  }
  return false;
}

std::string choices_text(std::string_view choices) {
  std::string text(choices);
  for (std::size_t at = 0; (at = text.find(' ', at)) != std::string::npos; at += 2)
    text.replace(at, 1, ", ");
  if (const std::size_t last = text.rfind(", "); last != std::string::npos)
    text.replace(last, 2, " or ");
  return text;
}

class Parser {
 public:
  Parser(const Command& command, int argc, const char* const* argv)
      : command_(command), words_(argv + 1, argv + std::max(argc, 1)) {}

  Result<CommandLine> run() {
    bool has_separator = false;
    for (; at_ < words_.size() && !line_.wants_help; ++at_) {
      const std::string& word = words_[at_];
      if (word == "--" && command_.words != Words::kNone) {
        ++at_;
        has_separator = true;
        break;
      }
      const bool is_flag = word.size() > 1 && word[0] == '-' && word != "--";
      if (!is_flag && command_.words == Words::kProgram)
        break;
      if (is_flag)
        MIRRORD_CHECK_STATUS(word[1] == '-' ? long_flag(word) : short_flags(word));
      else
        line_.words.push_back(word);
    }
    if (line_.wants_help)
      return std::move(line_);
    line_.words.insert(line_.words.end(),
                       words_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, words_.size())),
                       words_.end());
    // The original's form `exec [flags] program -- arguments`.
    if (command_.words == Words::kProgram && !has_separator && line_.words.size() > 1 &&
        line_.words[1] == "--")
      line_.words.erase(line_.words.begin() + 1);
    if (command_.words == Words::kNone && !line_.words.empty())
      return usage_error(command_, "unexpected argument `" + line_.words.front() + "`");
    return std::move(line_);
  }

 private:
  template <class Matches>
  const Flag* find(Matches matches) const {
    if (matches(kHelpFlag))
      return &kHelpFlag;
    for (const FlagGroup& group : command_.flags) {
      const auto found = std::ranges::find_if(group.flags, matches);
      if (found != group.flags.end())
        return &*found;
    }
    return nullptr;
  }

  Status long_flag(const std::string& word) {
    const std::size_t equals = word.find('=');
    const std::string_view name =
        std::string_view(word).substr(2, equals == word.npos ? equals : equals - 2);
    const Flag* flag = find([name](const Flag& known) {
      return known.name == name || (!known.alias.empty() && known.alias == name);
    });
    if (flag == nullptr)
      return refuse_unknown(name);
    const std::string shown = "--" + std::string(name);
    if (equals == word.npos)
      return apply(*flag, shown, nullptr);
    if (flag->takes == Takes::kNothing)
      return usage_error(command_, "the flag `" + shown + "` takes no value");
    const std::string value = word.substr(equals + 1);
    return apply(*flag, shown, &value);
  }

  std::unexpected<Error> refuse_unknown(std::string_view name) const {
    net::Nearest nearest(name);
    for (const FlagGroup& group : command_.flags) {
      for (const Flag& known : group.flags)
        nearest.offer(known.name);
    }
    const std::string what = "unknown flag `--" + std::string(name) + "`";
    if (nearest.found().empty())
      return usage_error(command_, what);
    return fail(ErrorCode::kUsage, what, "Did you mean `--" + std::string(nearest.found()) + "`?");
  }

  Status short_flags(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const Flag* flag = find([&](const Flag& known) { return known.letter == word[i]; });
      const std::string shown = std::string("-") + word[i];
      if (flag == nullptr && command_.words == Words::kProgram)
        return fail(ErrorCode::kUsage, "unknown flag `" + shown + "`",
                    "Put `--` before the program if the flag is the program's.");
      if (flag == nullptr)
        return usage_error(command_, "unknown flag `" + shown + "`");
      std::string rest = word.substr(i + 1);
      const bool with_equal = rest.starts_with('=');
      if (flag->takes == Takes::kNothing || rest.empty() ||
          (flag->takes == Takes::kOptionalEqual && !with_equal)) {
        MIRRORD_CHECK_STATUS(apply(*flag, shown, nullptr));
        continue;
      }
      if (with_equal)
        rest.erase(0, 1);
      return apply(*flag, shown, &rest);
    }
    return {};
  }

  // `given` is the value that stood in the same word.
  Status apply(const Flag& flag, const std::string& shown, const std::string* given) {
    if (&flag == &kHelpFlag) {
      line_.wants_help = true;
      return {};
    }
    std::string value(flag.fixed);
    if (given != nullptr) {
      value = *given;
    } else if (flag.takes == Takes::kValue || flag.takes == Takes::kOptionalValue) {
      const bool has_next = at_ + 1 < words_.size();
      const bool is_next_flag = has_next && words_[at_ + 1].size() > 1 && words_[at_ + 1][0] == '-';
      const bool is_taken =
          has_next && (flag.takes == Takes::kValue ? words_[at_ + 1] != "--" : !is_next_flag);
      if (is_taken)
        value = words_[++at_];
      else if (flag.takes == Takes::kValue)
        return usage_error(command_, "the flag `" + shown + "` needs a value");
    }
    if (!flag.choices.empty() && !is_choice(flag.choices, value))
      return fail(ErrorCode::kUsage, "invalid " + shown + " value `" + value + "`",
                  "Use " + choices_text(flag.choices) + ".");
    line_.given.push_back({&flag, shown, std::move(value)});
    return {};
  }

  const Command& command_;
  std::vector<std::string> words_;
  std::size_t at_ = 0;
  CommandLine line_;
};

}  // namespace

const std::string* CommandLine::last(std::string_view flag) const {
  for (const Given& one : std::views::reverse(given)) {
    if (one.flag->name == flag)
      return &one.value;
  }
  return nullptr;
}

std::vector<std::string> CommandLine::all(std::string_view flag) const {
  std::vector<std::string> values;
  for (const Given& one : given) {
    if (one.flag->name == flag)
      values.push_back(one.value);
  }
  return values;
}

Result<CommandLine> parse_command_line(const Command& command, int argc, const char* const* argv) {
  return Parser(command, argc, argv).run();
}

std::expected<CommandLine, int> read_command_line(const Command& command, int argc,
                                                  const char* const* argv,
                                                  int (*report)(const Error&)) {
  auto line = parse_command_line(command, argc, argv);
  if (!line)
    return std::unexpected(report(line.error()));
  if (line->wants_help) {
    std::fputs(help_text(command).c_str(), stdout);
    return std::unexpected(0);
  }
  return std::move(*line);
}

std::expected<const Command*, int> choose_subcommand(std::span<const Command> commands, int argc,
                                                     const char* const* argv,
                                                     int (*report)(const Error&)) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  const std::string_view first = commands.front().name;
  const std::string family(first.substr(0, first.find(' ')));
  net::Nearest nearest(word);
  for (const Command& command : commands) {
    const std::string_view name = command.name.substr(family.size() + 1);
    if (name == word)
      return &command;
    nearest.offer(name);
  }
  const bool wants_help = word == "--help" || word == "-h";
  if (wants_help || word.empty()) {
    std::fputs(family_help(commands).c_str(), wants_help ? stdout : stderr);
    return std::unexpected(wants_help ? 0 : 2);
  }
  std::string hint = "Run 'mirrord " + family + " --help' for the commands.";
  if (!nearest.found().empty())
    hint = "Did you mean `mirrord " + family + " " + std::string(nearest.found()) + "`?";
  return std::unexpected(report(
      {ErrorCode::kUsage, "there is no command `mirrord " + family + " " + std::string(word) + "`",
       std::move(hint), 0}));
}

std::unexpected<Error> usage_error(const Command& command, std::string what) {
  return fail(ErrorCode::kUsage, std::move(what),
              "Run 'mirrord " + std::string(command.name) + " --help' for the flags.");
}

}  // namespace mirrord
