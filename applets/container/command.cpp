// applets/container/command.cpp — `mirrord container`: runs a container as if it were in a target; `mirrord container-ext`:
// prepares one for an editor, which starts it.
#include "applets/container/command.h"

#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "applets/applet.h"
#include "applets/container/arguments.h"
#include "applets/container/image.h"
#include "applets/container/request.h"
#include "applets/container/sidecar.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "applets/json_text.h"
#include "applets/progress.h"
#include "applets/session_flags.h"
#include "applets/session_start.h"
#include "net/ending_signals.h"
#include "net/file.h"
#include "net/leave.h"

namespace mirrord {
namespace {

using container::ContainerCommand;
using container::Sidecar;

constexpr Flag kExtensionFlags[] = {
    {"config-file", 'f', Takes::kValue, "FILE", "", "", "configuration"},
    {"target", 't', Takes::kValue, "TARGET", "MIRRORD_IMPERSONATED_TARGET", "",
     "what to run inside, as for mirrord exec"},
};

// The hook in this executable is of its own architecture.
Status check_platform(const std::string& platform) {
  const std::string word = platform.substr(platform.find('/') + 1);
  const std::string wanted = word.substr(0, word.find('/'));
  const bool is_same = wanted == container::architecture() ||
                       (wanted == "x86_64" && container::architecture() == "amd64") ||
                       (wanted == "aarch64" && container::architecture() == "arm64");
  if (platform.empty() || is_same)
    return {};
  return fail(ErrorCode::kUnsupported,
              "container.platform `" + platform + "`: this mirrord has the library for linux/" +
                  std::string(container::architecture()) + " only",
              "Use the mirrord of that platform.");
}

int exit_code_of(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Secrets go by the runtime's environment, not by its command line, which all users of this machine can read;
// what would change the runtime itself cannot.
std::vector<std::string> with_environment(const std::vector<container::Variable>& variables,
                                          container::Child::Environment& environment) {
  std::vector<std::string> words;
  for (const container::Variable& variable : variables) {
    words.emplace_back("-e");
    if (container::is_for_runtime(variable.name)) {
      words.push_back(variable.name + "=" + variable.value);
    } else {
      words.push_back(variable.name);
      environment.emplace_back(variable.name, variable.value);
    }
  }
  return words;
}

// Ends a container whose first process does not listen to the signals that its runtime passes on.
class Ending {
 public:
  Ending(net::Loop& loop, std::string runtime, std::string identifier_file)
      : loop_(loop),
        runtime_(std::move(runtime)),
        identifier_file_(std::move(identifier_file)),
        timer_(loop) {}

  void asked() {
    if (std::exchange(was_asked_, true))
      kill();
    else
      timer_.start(kPatience, [this] { kill(); });
  }

 private:
  void kill() {
    const std::string identifier =
        net::read_file(identifier_file_, kLongestIdentifier).value_or("");
    if (killing_ || identifier.empty())
      return;
    container::Child::Handlers handlers;
    handlers.output = [](std::string_view) {};
    handlers.ended = [](int) {};
    auto child =
        container::Child::start(loop_, {runtime_, "kill", identifier}, {}, std::move(handlers));
    if (child)
      killing_ = std::move(*child);
  }

  // Less than `mirrord ci stop` has for us.
  static constexpr std::chrono::seconds kPatience{5};
  static constexpr std::size_t kLongestIdentifier = 256;

  net::Loop& loop_;
  std::string runtime_, identifier_file_;
  bool was_asked_ = false;
  net::Timer timer_;
  std::unique_ptr<container::Child> killing_;
};

// The user's command, until it ends.
Result<int> run_program(net::Loop& loop, const ContainerCommand& command, Sidecar& sidecar,
                        Progress& progress, const std::function<void()>& is_ready) {
  container::Child::Environment environment;
  std::vector<std::string> words = {command.runtime};
  words.insert(words.end(), command.verb.begin(), command.verb.end());
  std::string identifier_file = command.identifier_file;
  if (identifier_file.empty()) {
    identifier_file = sidecar.identifier_file();
    words.insert(words.end(), {"--cidfile", identifier_file});
  }
  for (const auto& part :
       {with_environment(sidecar.environment(), environment), sidecar.options(), command.rest})
    words.insert(words.end(), part.begin(), part.end());
  progress.success("Ready!");
  if (is_ready)
    is_ready();
  std::optional<int> status;
  container::Child::Handlers handlers;
  handlers.ended = [&](int ended) {
    status = ended;
    loop.stop();
  };
  MIRRORD_TRY(child,
              container::Child::start(loop, std::move(words), environment, std::move(handlers)));
  Ending ending(loop, command.runtime, identifier_file);
  // The terminal sends its own to the runtime as well.
  const net::EndingSignals interruption(loop, [&](int number) {
    if (number != SIGINT) {
      child->signal(number);
      ending.asked();
    }
  });
  while (!status)
    loop.run();
  return exit_code_of(*status);
}

// What both commands begin with.
Result<config::ResolvedConfig> load_config(const config::LoadRequest& load, Progress& progress) {
  auto config = config::load(load);
  if (!config)
    return std::unexpected(config_error(config.error()));
  MIRRORD_CHECK_STATUS(check_platform(config->container.platform));
  if (!config->local_redis.empty())
    return fail(ErrorCode::kUnsupported,
                "feature.db_branches: a local Redis listens on this machine's loopback, which "
                "containers do not reach",
                "Remove it, or start the program with `mirrord exec`.");
  for (const std::string& warning : config->warnings)
    progress.warning(warning);
  return std::move(*config);
}

Result<int> run_container(const CommandLine& line, config::LoadRequest load, Progress& progress,
                          const std::function<void()>& is_ready) {
  MIRRORD_CHECK_STATUS(refuse_nested());
  MIRRORD_TRY(command, container::parse_container_command(line.words));
  MIRRORD_CHECK_STATUS(config::keep_standard_input(load));
  MIRRORD_TRY(config, load_config(load, progress));
  if (command.publishes_ports)
    progress.warning(
        "published ports (-p) have no effect: the container shares the network of mirrord's proxy. "
        "Put them into `container.cli_extra_args`.");
  net::Loop loop;
  bool is_interrupted = false;
  Sidecar sidecar(loop, command.runtime, config, std::move(load), progress);
  {
    const net::EndingSignals interruption(loop, [&](int) {
      if (is_interrupted)
        leave(1);
      is_interrupted = true;
    });
    MIRRORD_CHECK_STATUS(sidecar.start());
  }
  if (is_interrupted)
    return fail(ErrorCode::kDisconnected, "interrupted during the start");
  return run_program(loop, command, sidecar, progress, is_ready);
}

std::string extension_json(const std::string& runtime, const Sidecar& sidecar) {
  std::vector<std::string> words;
  for (const container::Variable& variable : sidecar.environment())
    words.insert(words.end(), {"-e", variable.name + "=" + variable.value});
  for (std::string& option : sidecar.options())
    words.push_back(std::move(option));
  return "{\"runtime\":" + json_quoted(runtime) + ",\"extra_args\":" + json_list(words) + "}";
}

std::string extension_runtime() {
  const std::string given =
      config::process_environment("MIRRORD_CONTAINER_USE_RUNTIME").value_or("");
  return container::is_runtime(given) ? given : "docker";
}

Status run_extension(const CommandLine& line, Progress& progress) {
  config::LoadRequest load = load_request(line);
  MIRRORD_CHECK_STATUS(config::keep_standard_input(load));
  MIRRORD_TRY(config, load_config(load, progress));
  const std::string runtime = extension_runtime();
  net::Loop loop;
  bool is_over = false;
  const auto stop = [&] {
    is_over = true;
    loop.stop();
  };
  Sidecar sidecar(loop, runtime, config, std::move(load), progress);
  const net::EndingSignals interruption(loop, [&](int) { stop(); });
  MIRRORD_CHECK_STATUS(sidecar.start());
  sidecar.on_ended(stop);
  progress.success(extension_json(runtime, sidecar));
  if (progress.is_unread())
    return fail(ErrorCode::kDisconnected, "write the container's options: nobody reads them");
  while (!is_over)
    loop.run();
  return {};
}

}  // namespace

std::vector<Command> container_commands() {
  return {{
      .name = "container",
      .purpose = "Runs a container of this machine as if it ran in a target: with its files, "
                 "environment, names "
                 "and network.",
      .usages = {"[FLAGS] [--] docker|podman|nerdctl run [OPTIONS] IMAGE [COMMAND]"},
      .flags = {{"Flags", session_flags()}},
      .examples =
          {{"mirrord container -t deployment/shop -- docker run --rm my-shop:dev", ""},
           {"mirrord container -t pod/shop-7d4 --steal -- podman run -it -v ./src:/app my-shop:dev",
            ""}},
      .notes = "The container shares the network of a container of mirrord's own, which this "
               "command starts and "
               "removes; options for that one, such as -p, stand in `container.cli_extra_args`. "
               "The exit status is "
               "the runtime's.",
      .words = Words::kProgram,
  }};
}

std::vector<Command> container_ext_commands() {
  return {{
      .name = "container-ext",
      .purpose = "Prepares a session for a container that an editor starts, and prints the options "
                 "to start it with. "
                 "Runs as long as the session.",
      .usages = {"[FLAGS]"},
      .flags = {{"Flags", kExtensionFlags}},
      .examples = {{"mirrord container-ext -f .mirrord/mirrord.json -t pod/shop-7d4", ""}},
      .notes = "MIRRORD_CONTAINER_USE_RUNTIME: docker (the default), podman or nerdctl. Errors are "
               "one line of JSON "
               "on standard error.",
  }};
}

int container_main(int argc, char** argv) {
  const auto line = read_command_line(container_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  return run_container_command(*line, load_request(*line), {});
}

int run_container_command(const CommandLine& line, config::LoadRequest load,
                          const std::function<void()>& is_ready) {
  Progress progress(progress_mode_from_environment(), "mirrord container");
  const auto code = run_container(line, std::move(load), progress, is_ready);
  if (code)
    return *code;
  progress.failure();
  return report_error(code.error());
}

int container_ext_main(int argc, char** argv) {
  const auto line =
      read_command_line(container_ext_commands().front(), argc, argv, report_error_to_editor);
  if (!line)
    return line.error();
  Progress progress(progress_mode_from_environment(ProgressMode::kJson),
                    "mirrord preparing to launch");
  const Status done = run_extension(*line, progress);
  if (done)
    return 0;
  progress.failure();
  return report_error_to_editor(done.error());
}

}  // namespace mirrord
