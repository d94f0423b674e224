// applets/doctor.cpp — `mirrord doctor`: is everything there that a session needs, and if not, what to do.
#include "applets/doctor.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/exec.h"
#include "applets/json_text.h"
#include "applets/latency.h"
#include "applets/progress.h"
#include "applets/session_flags.h"
#include "applets/target_source.h"

namespace mirrord {
namespace {

constexpr Flag kOwnFlags[] = {
    {"output", 'o', Takes::kValue, "FORM", "", "", "json: one JSON object instead of lines",
     "json"},
    {"json", 0, Takes::kNothing, "", "", "", "the same as --output json"},
};

constexpr int kRoundTrips = 20;

std::string_view word_of(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "ok";
    case CheckState::kFailed:
      return "failed";
    case CheckState::kWarning:
      return "warning";
    case CheckState::kSkipped:
      break;
  }
  return "skipped";
}

std::string_view mark_of(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "✓";
    case CheckState::kFailed:
      return "✗";
    case CheckState::kWarning:
      return "!";
    case CheckState::kSkipped:
      break;
  }
  return "-";
}

// A session's agent that is not in a cluster is simply started, or connected to.
void check_agent(DoctorReport& report, const config::ResolvedConfig& config) {
  net::Loop loop;
  AgentClient client(loop);
  Progress silent(ProgressMode::kOff, "mirrord doctor");
  const auto log = open_command_log("doctor");
  const Status opened =
      log ? client.open(config, silent, *log, {}) : Status(std::unexpected(log.error()));
  if (!opened) {
    report.failed("agent", opened.error());
    silent.failure();
    return;
  }
  report.ok("agent", "it answers, protocol version " + client.link().version().to_string());
  std::vector<double> times;
  for (int i = 0; i <= kRoundTrips; ++i) {
    const auto time = round_trip_ms(loop, client.link(), [] { return false; });
    if (!time) {
      report.failed("latency of the agent", client.link().loss());
      return;
    }
    if (i > 0) {
      times.push_back(*time);
    }
  }
  report.ok("latency of the agent", latency_text(std::move(times)));
  client.leave();
  silent.success();
}

void run(DoctorReport& report, const CommandLine& line) {
  check_client(report);
  const auto config = load_for(line);
  if (!config) {
    for (const Error& error : config.error()) {
      report.failed("configuration", error);
    }
    check_kernel(report, false, false);
    return;
  }
  report.ok("configuration",
            config->file.empty() ? "no file; defaults, environment and flags" : config->file);
  for (const std::string& warning : config->warnings) {
    report.add({"configuration", CheckState::kWarning, warning, {}});
  }
  using config::TargetKind;
  const TargetKind kind = config->target.kind;
  const bool uses_cluster = is_in_cluster(*config);
  check_kernel(report, !uses_cluster && kind != TargetKind::kAddress, kind == TargetKind::kDemo);
  if (uses_cluster) {
    check_cluster(report, *config);
  } else {
    report.add({"cluster", CheckState::kSkipped, "the target is not in one", {}});
    check_agent(report, *config);
  }
}

}  // namespace

void DoctorReport::add(Check check) {
  if (!is_json_) {
    std::string line = std::string(mark_of(check.state)) + " " + check.name;
    if (!check.detail.empty()) {
      line += ": " + check.detail;
    }
    std::puts(line.c_str());
    if (!check.hint.empty()) {
      std::puts(("    " + check.hint).c_str());
    }
    std::fflush(stdout);
  }
  checks_.push_back(std::move(check));
}

bool DoctorReport::has_failed() const {
  return std::ranges::any_of(checks_,
                             [](const Check& check) { return check.state == CheckState::kFailed; });
}

void DoctorReport::finish() const {
  if (!is_json_) {
    const auto failed = std::ranges::count(checks_, CheckState::kFailed, &Check::state);
    std::puts(failed == 0 ? "Everything that is needed is there."
                          : (std::to_string(failed) + " of " + std::to_string(checks_.size()) +
                             " checks failed.")
                                .c_str());
    return;
  }
  std::string text = std::string("{\"ok\":") + (has_failed() ? "false" : "true") + ",\"checks\":[";
  bool is_first = true;
  for (const Check& check : checks_) {
    text += is_first ? "{" : ",{";
    is_first = false;
    text +=
        "\"name\":" + json_quoted(check.name) + ",\"state\":" + json_quoted(word_of(check.state)) +
        ",\"detail\":" + json_quoted(check.detail) + ",\"hint\":" + json_quoted(check.hint) + "}";
  }
  std::puts((text + "]}").c_str());
}

std::vector<Command> doctor_commands() {
  return {{
      .name = "doctor",
      .purpose = "Checks what a session needs, one thing after the other, and says what to do "
                 "where it fails.",
      .usages = {"[FLAGS]"},
      .flags = {{"Output", kOwnFlags}, {"What the session would be", session_flags()}},
      .examples = {{"mirrord doctor", "this machine and the cluster of the kubeconfig"},
                   {"mirrord doctor -t demo -o json", "this machine alone, for a script"}},
      .notes = "Without a target in a cluster, the cluster is not looked at unless there is no "
               "other target. The exit "
               "status is 1 if something that is required fails.",
  }};
}

int doctor_main(int argc, char** argv) {
  const auto line = read_command_line(doctor_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  DoctorReport report(line->has("output") || line->has("json"));
  run(report, *line);
  report.finish();
  return report.has_failed() ? 1 : 0;
}

}  // namespace mirrord
