// applets/applet.h — what a command is to main.cpp, and the entry point of each one.
#pragma once

#include <span>
#include <string_view>

namespace mirrord {

enum class Visibility {
  kPublic,  // listed by --help
  kHidden,  // run by mirrord itself or by tests
};

struct Applet {
  std::string_view name;
  std::string_view help;  // one line
  Visibility visibility;
  int (*run)(int argc, char** argv);  // argv[0] is the command's own name; returns the exit code
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
int completions_main(int argc, char** argv);
int demo_main(int argc, char** argv);
int diagnose_main(int argc, char** argv);
int doctor_main(int argc, char** argv);
int config_main(int argc, char** argv);
int exec_main(int argc, char** argv);
int ext_main(int argc, char** argv);
int extract_main(int argc, char** argv);
int verify_config_main(int argc, char** argv);
int intproxy_main(int argc, char** argv);
int port_forward_main(int argc, char** argv);
int list_main(int argc, char** argv);
int operator_main(int argc, char** argv);
int wire_main(int argc, char** argv);

// Signal dispositions that this program changed for itself, as they were at its start: to be called
// before another program takes this process over.
void restore_inherited_signals();

}  // namespace mirrord
