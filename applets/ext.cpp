// applets/ext.cpp — `mirrord ext`: starts a session for an editor, which starts the program itself with
// the environment that this prints.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "applets/applet.h"
#include "applets/config_summary.h"
#include "applets/json_error.h"
#include "applets/json_text.h"
#include "applets/program.h"
#include "applets/progress.h"
#include "applets/session_flags.h"
#include "applets/session_start.h"
#include "applets/timings.h"

namespace mirrord {
namespace {

// Editors look for this name.
constexpr char kRootTask[] = "mirrord preparing to launch";
constexpr Flag kFlags[] = {
    {"config-file", 'f', Takes::kOptionalValue, "FILE", "", "./mirrord.json",
     "configuration; without a value ./mirrord.json"},
    {"target", 't', Takes::kValue, "TARGET", "MIRRORD_IMPERSONATED_TARGET", "",
     "what to run inside, as for mirrord exec"},
    {"executable", 'e', Takes::kValue, "FILE", "", "",
     "the program, if it is known: says at once what would keep it out"},
};

// What the plugin reads; the fields' order is part of it.
std::string launch_json(const VariableList& variables, const std::vector<std::string>& unset) {
  std::string environment;
  for (const std::string& entry : variables.entries()) {
    const std::size_t equals = entry.find('=');
    environment += (environment.empty() ? "" : ",") + json_quoted(entry.substr(0, equals)) + ":" +
                   json_quoted(entry.substr(equals + 1));
  }
  return "{\"environment\":{" + environment +
         "},\"patched_path\":null,\"env_to_unset\":" + json_list(unset) +
         ",\"uses_operator\":false}";
}

// Lines about the configuration, for the editor's console.
void print_config(const config::ResolvedConfig& config, Progress& progress) {
  std::string wish = config::process_environment("MIRRORD_EXT_PRINT_CONFIG").value_or("");
  std::ranges::transform(wish, wish.begin(), [](char c) { return static_cast<char>(c & ~0x20); });
  if (wish != "TRUE")
    return;
  Progress summary = progress.subtask("config summary");
  for (const std::string& line : config_summary(config))
    summary.info(line);
  summary.success();
}

// What is known of the program. Without a name it may be Go's as well, which can only be reached if
// it asks libc for names; other programs do not look at that variable.
SessionPlan plan_for(const std::string& executable, Progress& progress) {
  SessionPlan plan{.command = "ext"};
  plan.waits_for_programs = true;
  plan.explains_not_loaded = true;
  plan.is_go = true;
  if (executable.empty())
    return plan;
  const std::string path =
      config::process_environment("PATH").value_or("/usr/local/bin:/usr/bin:/bin");
  const auto program = find_program(executable, path);
  if (!program) {
    progress.warning(program.error().what);
    return plan;
  }
  const ProgramKind kind = inspect_program(*program, path);
  for (const std::string& warning : program_warnings(kind, executable))
    progress.warning(warning);
  plan.is_go = kind.is_go;
  plan.local_files = {absolute_path(kind.binary)};
  if (const std::string whole = absolute_path(*program); whole != plan.local_files[0])
    plan.local_files.push_back(whole);
  return plan;
}

Status run(const config::ResolvedConfig& config, const std::string& executable,
           Progress& progress) {
  Timings timings(false);
  SessionStart session(config, progress, timings);
  session.show_warnings();
  MIRRORD_CHECK_STATUS(session.start(plan_for(executable, progress)));
  // The program inherits from the editor, which adds to what it has. Only what is joined with values
  // of its own is taken from here.
  std::vector<std::string> joined;
  for (const char* name : {"LD_PRELOAD", "GODEBUG"}) {
    if (const auto value = config::process_environment(name))
      joined.push_back(name + ("=" + *value));
  }
  std::vector<const char*> inherited;
  for (const std::string& entry : joined)
    inherited.push_back(entry.c_str());
  inherited.push_back(nullptr);
  MIRRORD_TRY(variables, session.environment({inherited.data()}));
  variables.remove("MIRRORD_PROGRESS_MODE");  // the editor's affair
  print_config(config, progress);
  progress.success(launch_json(variables, config.environment.unset));
  if (progress.is_unread())
    return fail(ErrorCode::kDisconnected, "write the session's environment: nobody reads it",
                "Keep standard output of mirrord ext open until it has ended.");
  session.release();
  return {};
}

}  // namespace

std::vector<Command> ext_commands() {
  return {{
      .name = "ext",
      .purpose = "Starts a session for an editor's plugin and prints, as lines of JSON, its "
                 "progress and at last the "
                 "environment in which the plugin starts the program. The session ends after the "
                 "last program.",
      .usages = {"[FLAGS]"},
      .flags = {{"Flags", kFlags}},
      .examples = {{"mirrord ext -f .mirrord/mirrord.json -t pod/shop-7d4", ""}},
      .notes = "MIRRORD_PROGRESS_MODE chooses another form of progress; "
               "MIRRORD_EXT_PRINT_CONFIG=TRUE adds lines about "
               "the configuration. Errors are one line of JSON on standard error.",
  }};
}

int ext_main(int argc, char** argv) {
  const auto line = read_command_line(ext_commands().front(), argc, argv, report_error_to_editor);
  if (!line)
    return line.error();
  Progress progress(progress_mode_from_environment(ProgressMode::kJson), kRootTask);
  const auto config = load_for(*line);
  const std::string* executable = line->last("executable");
  const Status started = config ? run(*config, executable == nullptr ? "" : *executable, progress)
                                : Status(std::unexpected(config_error(config.error())));
  if (started)
    return 0;
  progress.failure();
  return report_error_to_editor(started.error());
}

}  // namespace mirrord
