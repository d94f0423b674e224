// applets/command_help.cpp — a command's help, from its table.
#include <algorithm>

#include "applets/command_line.h"

namespace mirrord {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kHelpColumn = 34;

std::string left_side(const Flag& flag) {
  std::string left = flag.letter != 0 ? std::string("  -") + flag.letter + ", " : "      ";
  left.append("--").append(flag.name);
  const std::string value(flag.value);
  switch (flag.takes) {
    case Takes::kNothing:
      break;
    case Takes::kValue:
      left += " " + value;
      break;
    case Takes::kOptionalValue:
      left += " [" + value + "]";
      break;
    case Takes::kOptionalEqual:
      left += "[=" + value + "]";
      break;
  }
  return left;
}

void append_flag(std::string& text, const Flag& flag) {
  std::string line = left_side(flag);
  std::string help(flag.help);
  if (!flag.variables.empty())
    help.append(" [").append(flag.variables).append("]");
  if (line.size() + 2 > kHelpColumn)
    line += "\n" + std::string(kHelpColumn, ' ');
  else
    line.resize(kHelpColumn, ' ');
  text += line + wrapped(help, kHelpColumn, kWidth - kHelpColumn) + "\n";
}

void append_paragraphs(std::string& text, std::string_view paragraphs) {
  while (!paragraphs.empty()) {
    const std::size_t end = std::min(paragraphs.find('\n'), paragraphs.size());
    const std::string_view line = paragraphs.substr(0, end);
    text += line.starts_with(' ') ? std::string(line) : wrapped(line, 0, kWidth);
    text += "\n";
    paragraphs.remove_prefix(std::min(end + 1, paragraphs.size()));
  }
}

}  // namespace

std::string wrapped(std::string_view text, std::size_t indent, std::size_t width) {
  std::string out;
  while (text.size() > width) {
    std::size_t end = text.rfind(' ', width);
    if (end == std::string_view::npos || end == 0)
      end = std::min(text.find(' '), text.size());
    out.append(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!text.empty())
      out.append("\n").append(indent, ' ');
  }
  return out.append(text);
}

std::string family_help(std::span<const Command> commands) {
  std::string text;
  std::string_view lead = "Usage: mirrord ";
  for (const Command& command : commands) {
    std::string line = std::string(lead).append(command.name);
    if (!command.usages.front().empty())
      line.append(" ").append(command.usages.front());
    text += line + "\n           " + wrapped(command.purpose, 11, kWidth - 11) + "\n";
    lead = "       mirrord ";
  }
  const std::string_view first = commands.front().name;
  return text.append("\nEach has its own --help: mirrord ").append(first).append(" --help\n");
}

std::string help_text(const Command& command) {
  std::string text;
  append_paragraphs(text, command.purpose);
  text += "\n";
  std::string_view lead = "Usage: mirrord ";
  for (const std::string_view usage : command.usages) {
    text.append(lead).append(command.name);
    if (!usage.empty())
      text.append(" ").append(usage);
    text += "\n";
    lead = "       mirrord ";
  }
  for (const FlagGroup& group : command.flags) {
    text.append("\n").append(group.heading).append(":\n");
    for (const Flag& flag : group.flags)
      append_flag(text, flag);
  }
  if (command.flags.empty())
    text += "\nFlags:\n";
  append_flag(text, {"help", 'h', Takes::kNothing, "", "", "", "show this text"});
  if (!command.notes.empty()) {
    text += "\n";
    append_paragraphs(text, command.notes);
  }
  if (!command.examples.empty())
    text += command.examples.size() == 1 ? "\nExample:\n" : "\nExamples:\n";
  for (const Example& example : command.examples) {
    text.append("  ").append(example.line).append("\n");
    if (!example.meaning.empty())
      text += "      " + wrapped(example.meaning, 6, kWidth - 6) + "\n";
  }
  return text;
}

}  // namespace mirrord
