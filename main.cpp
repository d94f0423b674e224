// main.cpp — the table of applets; argv[0] first, then argv[1].
#include "applets/applet.h"

namespace {

using enum mirrord::Visibility;

// clang-format off
constexpr mirrord::Applet kApplets[] = {
    {"agent",    "run next to a target (started by mirrord itself)",          kHidden, mirrord::agent_main},
    {"completions", "print a script that completes commands in a shell",      kPublic, mirrord::completions_main},
    {"config",   "list the configuration keys, explain what is remote",      kPublic, mirrord::config_main},
    {"db-branches", "list and stop database branches (needs an operator)",    kHidden, mirrord::operator_main},
    {"demo",     "run a program in a pod made on this machine: no cluster, no root", kPublic, mirrord::demo_main},
    {"diagnose", "measure the connection to a target's agent",                kPublic, mirrord::diagnose_main},
    {"doctor",   "check this machine, the configuration and the cluster",     kPublic, mirrord::doctor_main},
    {"exec",     "run a program in the context of a target",                  kPublic, mirrord::exec_main},
    {"ext",      "start a session for an editor's plugin",                    kHidden, mirrord::ext_main},
    {"extension-exec", "the same under its long name",                        kHidden, mirrord::ext_main},
    {"extract",  "write the hook library to a directory",                     kHidden, mirrord::extract_main},
    {"intproxy", "serve the hooked processes of one run (started by mirrord)", kHidden, mirrord::intproxy_main},
    {"ls",       "list the targets of a namespace",                            kPublic, mirrord::list_main},
    {"operator", "status and sessions of an operator (needs one)",            kHidden, mirrord::operator_main},
    {"port-forward", "forward local ports to what a target can reach",        kPublic, mirrord::port_forward_main},
    {"preview",  "preview environments (needs an operator)",                  kHidden, mirrord::operator_main},
    {"queues",   "status of split queues (needs an operator)",                kHidden, mirrord::operator_main},
    {"subscribe", "events of a session key (needs an operator)",              kHidden, mirrord::operator_main},
    {"verify-config", "check a configuration file",                          kHidden, mirrord::verify_config_main},
    {"wire",     "translate messages of the agent protocol between hex and JSON", kPublic, mirrord::wire_main},
};
// clang-format on

static_assert(mirrord::is_sorted_table(kApplets));

}  // namespace

int main(int argc, char** argv) {
  return mirrord::run_applet(kApplets, argc, argv);
}
