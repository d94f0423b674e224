// applets/completions.cpp — `mirrord completions SHELL`: a script that completes commands and their flags.
//
// The flags are read out of each command's own help when they are needed, so that there is one text that says what
// a command takes, and the script does not age.
#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include "applets/applet.h"
#include "applets/exec.h"

namespace mirrord {
namespace {

constexpr std::string_view kBash =
    R"script(# mirrord completions for bash: source <(mirrord completions bash)
_mirrord() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} place
  COMPREPLY=()
  for ((place = 1; place < COMP_CWORD; ++place)); do
    if [ "${COMP_WORDS[place]}" = -- ]; then  # a program of the user's, and its words
      COMPREPLY=($(compgen -c -- "$word") $(compgen -f -- "$word"))
      return
    fi
  done
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --help 2>/dev/null |
      sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p') --help --version" -- "$word"))
  elif [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" --help 2>/dev/null |
      grep -oE '^ +(-[A-Za-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+')" -- "$word"))
  elif [ "$before" = --target ] || [ "$before" = -t ]; then
    COMPREPLY=($(compgen -W "$(timeout 5 "${COMP_WORDS[0]}" ls 2>/dev/null | tr -d '[]"' | tr , ' ')" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _mirrord mirrord
)script";

constexpr std::string_view kFish =
    R"script(# mirrord completions for fish: mirrord completions fish | source
function __mirrord_commands
  mirrord --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) *\(.*\)/\1\t\2/p'
end
function __mirrord_flags
  set -l words (commandline -opc)
  mirrord $words[2] --help 2>/dev/null | string match -rg -- '^ +(?:-[A-Za-z], )?(--[a-z0-9-]+)'
end
complete -c mirrord -n __fish_use_subcommand -f -a '(__mirrord_commands)'
complete -c mirrord -n 'not __fish_use_subcommand; and string match -q -- "-*" (commandline -ct)' -f -a '(__mirrord_flags)'
)script";

constexpr std::string_view kZsh =
    R"script(#compdef mirrord
# mirrord completions for zsh: source <(mirrord completions zsh), or a file _mirrord in $fpath
_mirrord() {
  local -a found
  if (( CURRENT == 2 )); then
    found=(${(f)"$(mirrord --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) *\(.*\)/\1:\2/p')"})
    _describe command found
  elif [[ $PREFIX == -* ]]; then
    found=(${(f)"$(mirrord $words[2] --help 2>/dev/null | grep -oE '^ +(-[A-Za-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+')"})
    compadd -- $found
  else
    _files
  fi
}
compdef _mirrord mirrord
)script";

struct Shell {
  std::string_view name, script;
};
constexpr std::array kShells{Shell{"bash", kBash}, Shell{"fish", kFish}, Shell{"zsh", kZsh}};

}  // namespace

std::vector<Command> completions_commands() {
  return {{.name = "completions",
           .purpose = "Prints a script that completes commands, flags and targets.",
           .usages = {"bash|fish|zsh"},
           .flags = {},
           .examples = {{"source <(mirrord completions bash)", "for the shell that is running"}},
           .notes = {},
           .words = Words::kAny}};
}

int completions_main(int argc, char** argv) {
  const auto line = read_command_line(completions_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  const std::string wanted = line->words.empty() ? "" : line->words[0];
  for (const Shell& shell : kShells) {
    if (shell.name == wanted && line->words.size() == 1) {
      std::fwrite(shell.script.data(), 1, shell.script.size(), stdout);
      return 0;
    }
  }
  std::string what = "there are no completions for `" + wanted + "`";
  if (line->words.size() != 1)
    what = "completions takes the name of one shell";
  return report_error({ErrorCode::kUsage, what, "Shells: bash, fish, zsh.", 0});
}

}  // namespace mirrord
