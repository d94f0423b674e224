// applets/ci/command.cpp — `mirrord ci`: programs in the background of a pipeline, and their end.
#include "applets/container/command.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "applets/applet.h"
#include "applets/ci/records.h"
#include "applets/ci/supervisor.h"
#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "applets/operator_commands.h"
#include "applets/private_directory.h"
#include "applets/session_flags.h"
#include "net/file.h"
#include "net/random.h"

namespace mirrord {
namespace {

constexpr Flag kOwnFlags[] = {
    {"foreground", 0, Takes::kNothing, "", "", "",
     "stay with the program; the exit status is its own"},
    {"environment", 0, Takes::kValue, "TEXT", "", "",
     "accepted, for an operator: which environment this is"},
    {"pipeline", 0, Takes::kValue, "TEXT", "", "",
     "accepted, for an operator: the pipeline's name"},
    {"triggered-by", 0, Takes::kValue, "TEXT", "", "",
     "accepted, for an operator: who or what started it"},
};

constexpr std::string_view kKeyPrefix = "mci-v1:";
constexpr std::size_t kShownOutput = 2000;

Status check_key() {
  const auto key = config::process_environment("MIRRORD_CI_API_KEY");
  if (!key || (key->starts_with(kKeyPrefix) && key->size() > kKeyPrefix.size()))
    return {};
  return fail(ErrorCode::kConfig,
              "MIRRORD_CI_API_KEY is no key of the operator: it does not begin with `mci-v1:`",
              "Unset it: no key is needed without an operator.");
}

std::string base_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// OUTPUT_DIR/PROGRAM-SECONDS-RANDOM, as the original names it.
Result<ci::Supervised> prepare(const config::ResolvedConfig& config, const std::string& program) {
  std::string parent = config.ci.output_directory;
  if (parent.empty()) {
    MIRRORD_TRY(records, ci::records_directory());
    parent = records.substr(0, records.rfind('/')) + "/output";
    MIRRORD_CHECK_STATUS(make_private_directory(parent));
  } else if (mkdir(parent.c_str(), 0777) != 0 && errno != EEXIST) {
    return fail_system("make ci.output_dir " + parent, errno);
  }
  ci::Supervised run;
  run.program = program;
  run.id = base_name(program) + "-" + std::to_string(std::time(nullptr)) + "-" +
           net::random_hex(4).substr(0, 7);
  run.directory = parent + "/" + run.id;
  if (mkdir(run.directory.c_str(), 0700) != 0)
    return fail_system("make the directory " + run.directory, errno);
  return run;
}

void show_end_of_output(const std::string& directory) {
  const std::string text = net::read_file(directory + "/stderr", 64 << 20).value_or("");
  const std::size_t begin = text.size() > kShownOutput ? text.size() - kShownOutput : 0;
  std::fwrite(text.data() + begin, 1, text.size() - begin, stderr);
}

int run_supervised(const CommandLine& line, const config::ResolvedConfig& config,
                   const ci::Start& start) {
  const bool is_foreground = line.has("foreground");
  const auto run = prepare(config, line.words[0]);
  if (!run)
    return report_error(run.error());
  if (is_foreground) {
    const auto status = ci::run_in_foreground(*run, start);
    return status ? *status : report_error(status.error());
  }
  const auto process = ci::start_in_background(*run, start);
  if (!process && process.error().what.empty()) {
    rmdir(run->directory.c_str());  // nothing is in it
    return process.error().sys;
  }
  if (!process) {
    show_end_of_output(run->directory);
    report_error(process.error());
    return process.error().sys;
  }
  std::printf("child pid: %d\nrun: %s\noutput: %s\n", process->pid, run->id.c_str(),
              run->directory.c_str());
  return 0;
}

// Of a command that starts something; else the exit code.
std::expected<CommandLine, int> read_start(const Command& command, int argc, char** argv,
                                           const char* nothing) {
  auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line;
  if (const Status key = check_key(); !key)
    return std::unexpected(report_error(key.error()));
  if (line->words.empty())
    return std::unexpected(report_error(usage_error(command, nothing).error()));
  return line;
}

int start(const Command& command, int argc, char** argv) {
  const auto line = read_start(command, argc, argv, "no program to run is given");
  if (!line)
    return line.error();
  auto request = exec_request(*line);
  if (!request)
    return report_errors(request.error());
  const auto become = [&](const std::function<void()>& is_ready) {
    Progress progress(progress_mode_from_environment(), "mirrord ci start");
    request->before_program = is_ready;
    const Error error = run_exec(std::move(*request), progress);
    progress.failure();
    return report_error(error);
  };
  // Nothing to keep: this process becomes the program, as with exec.
  if (line->has("foreground") && request->config.ci.output_directory.empty())
    return become({});
  const config::ResolvedConfig config = request->config;
  return run_supervised(*line, config, become);
}

int start_container(const Command& command, int argc, char** argv) {
  const auto line = read_start(command, argc, argv, "no container command is given");
  if (!line)
    return line.error();
  config::LoadRequest load = load_request(*line);
  if (const Status kept = config::keep_standard_input(load); !kept)
    return report_error(kept.error());
  const auto run = [&](const std::function<void()>& is_ready) {
    return run_container_command(*line, load, is_ready);
  };
  const auto config = config::load(load);
  if (!config)
    return report_errors(config.error());
  if (line->has("foreground") && config->ci.output_directory.empty())
    return run({});
  return run_supervised(*line, *config, run);
}

// Waits until the supervisor has noted the end.
std::optional<int> noted_status(const ci::Record& record) {
  constexpr int kSteps = (3 * ci::kGraceSeconds + 5) * 50;
  for (int step = 0; step < kSteps && record.supervisor.is_running(); ++step)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto now = ci::read_record(record.id);
  return now ? now->exit_status : std::nullopt;
}

std::string end_text(const ci::Record& record) {
  const std::string head = record.id + " (child pid " + std::to_string(record.process.pid) + ")";
  if (record.exit_status)
    return head + " had ended, exit status " + std::to_string(*record.exit_status);
  if (record.boot != ci::boot_id())
    return head + " ended with the machine";
  const bool was_running = record.process.is_running();
  if (record.supervisor.is_running()) {
    kill(record.supervisor.pid, SIGTERM);
    if (const auto status = noted_status(record))
      return head + (was_running ? " stopped" : " had ended") + ", exit status " +
             std::to_string(*status);
  }
  // The supervisor was killed: its program is left to us, its exit status is lost.
  if (record.process.is_running()) {
    kill(-record.process.pid, SIGTERM);
    for (int step = 0; step < ci::kGraceSeconds * 50 && record.process.is_running(); ++step)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (record.process.is_running())
      kill(-record.process.pid, SIGKILL);
    return head + " stopped, exit status unknown";
  }
  return head + " had ended, exit status unknown";
}

int stop(const Command& command, int argc, char** argv) {
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  std::vector<ci::Record> records;
  if (line->words.empty()) {
    auto all = ci::read_records();
    if (!all)
      return report_error(all.error());
    records = std::move(*all);
  }
  for (const std::string& id : line->words) {
    auto record = ci::read_record(id);
    if (!record || id.find('/') != std::string::npos)
      return report_error(
          {ErrorCode::kNotFound, "there is no run `" + id + "`",
           "`mirrord ci start` prints its name; without names all runs are stopped.", 0});
    records.push_back(std::move(*record));
  }
  if (records.empty())
    std::puts("nothing is running that `mirrord ci start` has started");
  for (const ci::Record& record : records) {
    std::puts((end_text(record) + "\n  output: " + record.directory).c_str());
    std::fflush(stdout);
    ci::remove_record(record.id);
  }
  return 0;
}

}  // namespace

std::vector<Command> ci_commands() {
  return {
      {.name = "ci start",
       .purpose = "Starts a program as `mirrord exec` does, in the background of a pipeline: "
                  "returns when the program runs, "
                  "and keeps its output and its exit status.",
       .usages = {"[FLAGS] [--] PROGRAM [ARGUMENTS]"},
       .flags = {{"Flags of ci", kOwnFlags}, {"Flags", session_flags()}},
       .examples = {{"mirrord ci start -t deployment/shop --steal -- node server.js",
                     "then the tests, then `mirrord ci stop`"}},
       .notes = "The program's files `stdout`, `stderr` and, after its end, `exit_status` are in a "
                "directory of their own below "
                "`ci.output_dir`, or below the temporary directory; it is printed. Several "
                "programs may run at a time.",
       .words = Words::kProgram},
      {.name = "ci container",
       .purpose = "The same for a container, as `mirrord container` starts it.",
       .usages = {"[FLAGS] [--] docker|podman|nerdctl run [OPTIONS] IMAGE [COMMAND]"},
       .flags = {{"Flags of ci", kOwnFlags}, {"Flags", session_flags()}},
       .examples = {{"mirrord ci container -t deployment/shop -- docker run --rm my-shop:dev", ""}},
       .notes = {},
       .words = Words::kProgram},
      {.name = "ci stop",
       .purpose = "Ends what `mirrord ci start` has started for this user, all of it or the named "
                  "runs, with everything that it "
                  "has started in turn, and tells each exit status.",
       .usages = {"[RUN...]"},
       .flags = {},
       .examples = {{"mirrord ci stop", ""}},
       .notes =
           "A program is asked to end (SIGTERM), and killed if it does not within ten seconds.",
       .words = Words::kAny},
      operator_command("ci api-key"),
  };
}

int ci_main(int argc, char** argv) {
  const std::vector<Command> commands = ci_commands();
  const auto command = choose_subcommand(commands, argc, argv, report_error);
  if (!command)
    return command.error();
  const std::string_view name = (*command)->name;
  const auto run = name == "ci start"       ? start
                   : name == "ci stop"      ? stop
                   : name == "ci container" ? start_container
                                            : run_operator_command;
  return run(**command, argc - 1, argv + 1);
}

}  // namespace mirrord
