// main.cpp — the table of applets; argv[0] first, then argv[1].
#include "applets/applet.h"

namespace {

using enum mirrord::Visibility;

// clang-format off
constexpr mirrord::Applet kApplets[] = {
    {"agent",    "run next to a target (started by mirrord itself)",          kHidden, mirrord::agent_main, nullptr},
    {"ci",       "run a program in the background of a pipeline",             kPublic, mirrord::ci_main, mirrord::ci_commands},
    {"completions", "print a script that completes commands in a shell",      kPublic, mirrord::completions_main, mirrord::completions_commands},
    {"config",   "list the configuration keys, explain what is remote",      kPublic, mirrord::config_main, mirrord::config_commands},
    {"console",  "show the log lines of sessions as they come",               kPublic, mirrord::console_main, mirrord::console_commands},
    {"container", "run a local container in the context of a target",         kPublic, mirrord::container_main, mirrord::container_commands},
    {"container-ext", "prepare a local container for an editor's plugin",    kHidden, mirrord::container_ext_main, mirrord::container_ext_commands},
    {"container-session", "serve a local container (started by mirrord)",    kHidden, mirrord::container_session_main, nullptr},
    {"db-branches", "list and stop database branches (needs an operator)",    kHidden, mirrord::operator_main, mirrord::operator_commands},
    {"demo",     "run a program in a pod made on this machine: no cluster, no root", kPublic, mirrord::demo_main, mirrord::demo_commands},
    {"diagnose", "measure the connection to a target's agent",                kPublic, mirrord::diagnose_main, mirrord::diagnose_commands},
    {"doctor",   "check this machine, the configuration and the cluster",     kPublic, mirrord::doctor_main, mirrord::doctor_commands},
    {"dump",     "print what comes to ports of a target",                    kPublic, mirrord::dump_main, mirrord::dump_commands},
    {"exec",     "run a program in the context of a target",                  kPublic, mirrord::exec_main, mirrord::exec_commands},
    {"ext",      "start a session for an editor's plugin",                    kHidden, mirrord::ext_main, mirrord::ext_commands},
    {"extension-exec", "the same under its long name",                        kHidden, mirrord::ext_main, mirrord::ext_commands},
    {"extract",  "write the hook library to a directory",                     kHidden, mirrord::extract_main, mirrord::extract_commands},
    {"intproxy", "serve the hooked processes of one run (started by mirrord)", kHidden, mirrord::intproxy_main, nullptr},
    {"ls",       "list the targets of a namespace",                            kPublic, mirrord::list_main, mirrord::list_commands},
    {"operator", "status and sessions of an operator (needs one)",            kHidden, mirrord::operator_main, mirrord::operator_commands},
    {"port-forward", "forward local ports to what a target can reach",        kPublic, mirrord::port_forward_main, mirrord::port_forward_commands},
    {"preview",  "preview environments (needs an operator)",                  kHidden, mirrord::operator_main, mirrord::operator_commands},
    {"queues",   "status of split queues (needs an operator)",                kHidden, mirrord::operator_main, mirrord::operator_commands},
    {"subscribe", "events of a session key (needs an operator)",              kHidden, mirrord::operator_main, mirrord::operator_commands},
    {"verify-config", "check a configuration file",                          kHidden, mirrord::verify_config_main, mirrord::verify_config_commands},
    {"wire",     "translate messages of the agent protocol between hex and JSON", kPublic, mirrord::wire_main, mirrord::wire_commands},
};
// clang-format on

static_assert(mirrord::is_sorted_table(kApplets));

}  // namespace

int main(int argc, char** argv) {
  return mirrord::run_applet(kApplets, argc, argv);
}
