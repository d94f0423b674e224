// applets/manual.cpp — writes the manual page from the commands' tables.
#include "applets/manual.h"

#include <algorithm>

#include "applets/version.h"

namespace mirrord {
namespace {

// What roff would take for its own: backslashes, hyphens that are to be typed, dots and quotes that begin a line.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (out.empty() && (c == '.' || c == '\''))
      out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

std::string bold(std::string_view text) {
  return "\\fB" + escaped(text) + "\\fR";
}

std::string flag_line(const Flag& flag) {
  std::string line = flag.letter != 0 ? bold(std::string("-") + flag.letter) + ", " : "";
  line += bold("--" + std::string(flag.name));
  const std::string value = "\\fI" + escaped(flag.value) + "\\fR";
  if (flag.takes == Takes::kValue)
    line += " " + value;
  else if (flag.takes == Takes::kOptionalValue)
    line += " [" + value + "]";
  else if (flag.takes == Takes::kOptionalEqual)
    line += "[=" + value + "]";
  return line;
}

void append_flags(std::string& text, std::span<const Flag> flags) {
  for (const Flag& flag : flags) {
    text += ".TP\n" + flag_line(flag) + "\n" + escaped(flag.help);
    if (!flag.variables.empty())
      text += " (environment: " + escaped(flag.variables) + ")";
    text += "\n";
  }
}

void append_paragraphs(std::string& text, std::string_view paragraphs) {
  while (!paragraphs.empty()) {
    const std::size_t end = std::min(paragraphs.find('\n'), paragraphs.size());
    const std::string_view line = paragraphs.substr(0, end);
    if (line.starts_with(' '))
      text += ".br\n" + escaped(line.substr(line.find_first_not_of(' '))) + "\n";
    else if (!line.empty())
      text += ".PP\n" + escaped(line) + "\n";
    paragraphs.remove_prefix(std::min(end + 1, paragraphs.size()));
  }
}

// The flags of exec stand once: other commands that have them refer to it.
void append_command(std::string& text, const Command& command, std::span<const Flag> common) {
  text += ".SS \"" + escaped("mirrord " + std::string(command.name)) + "\"\n";
  for (const std::string_view usage : command.usages)
    text += ".B mirrord " + escaped(command.name) + "\n" + escaped(usage) + "\n.br\n";
  append_paragraphs(text, command.purpose);
  for (const FlagGroup& group : command.flags) {
    if (group.flags.data() == common.data())
      text += ".PP\nTakes the flags of FLAGS OF A SESSION, too.\n";
    else
      append_flags(text, group.flags);
  }
  append_paragraphs(text, command.notes);
  for (const Example& example : command.examples) {
    text += ".PP\n.nf\n.RS\n" + escaped(example.line) + "\n.RE\n.fi\n";
    if (!example.meaning.empty())
      text += ".RS\n.RS\n" + escaped(example.meaning) + "\n.RE\n.RE\n";
  }
}

constexpr std::string_view kDescription =
    R"roff(.SH DESCRIPTION
.B mirrord
runs a program on this machine as if it ran in a target: a pod of a Kubernetes cluster, a container or another
process. The program reads the target's files, environment and names, connects from the target's network, and receives
what reaches the target: a copy of it, or the traffic itself.
.PP
One executable holds the commands, the proxy between the programs and the target
.RB ( intproxy ),
the
.B agent
next to the target and the library that is loaded into the programs. Started as
.BI mirrord\- COMMAND
it is that command.
)roff";

constexpr std::string_view kEnd =
    R"roff(.SH ENVIRONMENT
Flags win over the variables that are named with them, those over the configuration file, that over the defaults;
.B mirrord config show
says what holds. Further:
.TP
.B MIRRORD_CONFIG_FILE
the configuration file, without
.BR \-\-config\-file .
.TP
.B MIRRORD_PROGRESS_MODE
std (a tree on a terminal), simple (lines), json, or off.
.TP
.B NO_COLOR
no colours.
.SH EXIT STATUS
.TP
0
success
.TP
1
an error, which standard error tells
.TP
2
wrong arguments
.TP
126, 127
.BR exec :
the program cannot be started, or is not found
.PP
After
.B exec
has started the program, the status is the program's.
.SH SEE ALSO
.BR kubectl (1),
.BR ld.so (8),
.BR namespaces (7)
)roff";

}  // namespace

std::string manual_page(std::span<const Applet> applets) {
  std::span<const Flag> common;
  std::string commands;
  for (const Applet& applet : applets) {
    if (applet.name == "exec")
      common = applet.commands().front().flags.front().flags;
  }
  for (const Applet& applet : applets) {
    // The same command under a longer name needs no second section.
    if (applet.commands == nullptr || applet.visibility == Visibility::kHidden)
      continue;
    for (const Command& command : applet.commands())
      append_command(commands, command, common);
  }
  std::string text = ".\\\" Written by `mirrord man`.\n.TH MIRRORD 1 \"\" \"mirrord " +
                     escaped(kVersion) +
                     "\" \"User Commands\"\n.SH NAME\nmirrord \\- run a local program as if it ran "
                     "inside a remote pod "
                     "or process\n.SH SYNOPSIS\n.B mirrord\n\\fICOMMAND\\fR "
                     "[\\fIFLAGS\\fR]\n.br\n.B mirrord exec\n"
                     "\\-t \\fITARGET\\fR \\-\\- \\fIPROGRAM\\fR [\\fIARGUMENTS\\fR]\n";
  text.append(kDescription)
      .append(".SH COMMANDS\n")
      .append(commands)
      .append(".SH FLAGS OF A SESSION\n");
  append_flags(text, common);
  return text.append(kEnd);
}

}  // namespace mirrord
