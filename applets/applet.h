// applets/applet.h — what a command is to main.cpp, and the entry point of each one.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "applets/command_line.h"

namespace mirrord {

enum class Visibility {
  kPublic,  // listed by --help
  kHidden,  // run by mirrord itself or by tests
};

struct Applet {
  std::string_view name;
  std::string_view help;  // one line
  Visibility visibility;
  int (*run)(int argc, char** argv);   // argv[0] is the command's own name; returns the exit code
  std::vector<Command> (*commands)();  // one for each subcommand; null: mirrord starts it itself
};

// Names must be sorted and unique: the list is shown as it stands.
constexpr bool is_sorted_table(std::span<const Applet> applets) {
  for (std::size_t i = 1; i < applets.size(); ++i) {
    if (applets[i - 1].name >= applets[i].name)
      return false;
  }
  return true;
}

// Chooses by the name the program was started under (mirrord-agent → agent), then by argv[1].
int run_applet(std::span<const Applet> applets, int argc, char** argv);

int agent_main(int argc, char** argv);
int ci_main(int argc, char** argv);
int container_ext_main(int argc, char** argv);
int container_main(int argc, char** argv);
int container_session_main(int argc, char** argv);
int completions_main(int argc, char** argv);
int demo_main(int argc, char** argv);
int diagnose_main(int argc, char** argv);
int doctor_main(int argc, char** argv);
int config_main(int argc, char** argv);
int console_main(int argc, char** argv);
int dump_main(int argc, char** argv);
int exec_main(int argc, char** argv);
int ext_main(int argc, char** argv);
int extract_main(int argc, char** argv);
int verify_config_main(int argc, char** argv);
int intproxy_main(int argc, char** argv);
int port_forward_main(int argc, char** argv);
int list_main(int argc, char** argv);
int operator_main(int argc, char** argv);
int wire_main(int argc, char** argv);

std::vector<Command> completions_commands();
std::vector<Command> config_commands();
std::vector<Command> console_commands();
std::vector<Command> ci_commands();
std::vector<Command> container_commands();
std::vector<Command> container_ext_commands();
std::vector<Command> demo_commands();
std::vector<Command> diagnose_commands();
std::vector<Command> doctor_commands();
std::vector<Command> dump_commands();
std::vector<Command> exec_commands();
std::vector<Command> ext_commands();
std::vector<Command> extract_commands();
std::vector<Command> list_commands();
std::vector<Command> operator_commands();
std::vector<Command> port_forward_commands();
std::vector<Command> verify_config_commands();
std::vector<Command> wire_commands();

// Signal dispositions that this program changed for itself, as they were at its start: to be called
// before another program takes this process over.
void restore_inherited_signals();

}  // namespace mirrord
