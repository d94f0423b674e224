// applets/demo.cpp — `mirrord demo`: runs a program against a small pod made on this machine.
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "applets/applet.h"
#include "applets/demo/pod.h"
#include "applets/demo/sandbox.h"
#include "applets/demo/tour.h"
#include "applets/session_flags.h"
#include "net/ending_signals.h"

namespace mirrord {
namespace {

constexpr Flag kOwnFlags[] = {
    {"serve", 0, Takes::kNothing, "", "", "",
     "keep a pod until interrupted and print its PID, for --target process/PID"},
};

int report(const Error& error) {
  std::fprintf(stderr, "mirrord demo: %s\n", error.what.c_str());
  if (!error.hint.empty())
    std::fprintf(stderr, "  %s\n", error.hint.c_str());
  return 1;
}

int serve() {
  net::Loop loop;
  int code = 0;
  // First of all: whoever reads the PID may interrupt at once.
  const net::EndingSignals signals(loop, [&loop](int) { loop.stop(); });
  Result<demo::Sandbox> sandbox = demo::Sandbox::start();
  if (!sandbox)
    return report(sandbox.error());
  net::FdWatcher pod(loop, sandbox->control_fd(), [&](int) {
    code = report({ErrorCode::kDisconnected, "the pod has ended", "", 0});
    loop.stop();
  });
  pod.watch(net::FdWatcher::kReadable);
  std::printf("%d\n", sandbox->pid());
  std::fflush(stdout);
  loop.run();
  return code;
}

// The pod and the agent that serves it, for a session whose target is the demo: the pod belongs to
// the agent's process. The further arguments are the agent's.
int run_agent(int argc, char** argv) {
  Result<demo::Sandbox> sandbox = demo::Sandbox::start();
  if (!sandbox)
    return report(sandbox.error());
  std::string agent = "agent", process = "process", option = "--pid";
  std::string pid = std::to_string(sandbox->pid());
  std::vector<char*> arguments = {agent.data(), process.data(), option.data(), pid.data()};
  arguments.insert(arguments.end(), argv, argv + argc);
  arguments.push_back(nullptr);
  return agent_main(static_cast<int>(arguments.size()) - 1, arguments.data());
}

// The ordinary exec with a fixed target; the arguments are a program's or exec's own.
int run_exec_on_demo(int argc, char** argv) {
  std::string program = "mirrord", exec = "exec", option = "--target", target = "demo";
  std::vector<char*> arguments = {program.data(), exec.data(), option.data(), target.data()};
  arguments.insert(arguments.end(), argv, argv + argc);
  arguments.push_back(nullptr);
  execv("/proc/self/exe", arguments.data());
  return report(system_error("start mirrord exec", errno));
}

}  // namespace

std::vector<Command> demo_commands() {
  return {{
      .name = "demo",
      .purpose = "Runs a program as if it ran in a pod, on this machine alone: no cluster, no "
                 "root. Without a program, "
                 "a short tour. With one, the same as `mirrord exec --target demo`.",
      .usages = {"", "[FLAGS] [--] PROGRAM [ARGUMENTS]", "--serve"},
      .flags = {{"Flags", kOwnFlags}, {"Flags of exec", session_flags()}},
      .examples = {{"mirrord demo -- cat /etc/hostname", "the pod's, not this machine's"}},
      .notes = {},
      .words = Words::kProgram,
  }};
}

int demo_main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == demo::kPodArgument)
    return demo::pod_main();
  if (first == demo::kAgentArgument)
    return run_agent(argc - 2, argv + 2);
  if (first == "--help" || first == "-h") {
    std::fputs(help_text(demo_commands().front()).c_str(), stdout);
    return 0;
  }
  if (first == "--serve")
    return serve();
  if (argc < 2)
    return demo::show_tour();
  return run_exec_on_demo(argc - 1, argv + 1);
}

}  // namespace mirrord
