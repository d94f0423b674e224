// applets/doctor.cpp — `mirrord doctor`: is everything there that a session needs, and if not, what to do.
#include "applets/doctor.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string_view>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/exec.h"
#include "applets/exec_flags.h"
#include "applets/json_text.h"
#include "applets/latency.h"
#include "applets/progress.h"
#include "applets/target_source.h"

namespace mirrord {
namespace {

constexpr char kHelp[] =
    "Checks what a session needs, one thing after the other, and says what to do where it fails.\n"
    "\n"
    "Usage: mirrord doctor [FLAGS]\n"
    "\n"
    "Flags:\n"
    "  -o, --output json       one JSON object instead of lines\n"
    "  -t, --target, -f, --config-file, --context and the other flags of `mirrord exec` say what "
    "the\n"
    "                          session would be; without a target in a cluster, the cluster is\n"
    "                          not looked at unless there is no other target\n"
    "  -h, --help              show this text\n"
    "\n"
    "The exit status is 1 if something that is required fails.\n";

constexpr int kRoundTrips = 20;

struct Arguments {
  bool is_json = false;
  ExecFlags flags;
};

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  std::vector<const char*> rest{"doctor"};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--output=json" || word == "-ojson" || word == "--json") {
      arguments.is_json = true;
    } else if (word == "-o" || word == "--output") {
      if (i + 1 == argc || std::string_view(argv[i + 1]) != "json") {
        return fail(ErrorCode::kUsage, "unknown output form; there is json only",
                    "Run 'mirrord doctor --help'.");
      }
      arguments.is_json = true;
      ++i;
    } else {
      rest.push_back(argv[i]);
    }
  }
  MIRRORD_TRY(flags, parse_exec_flags(static_cast<int>(rest.size()), rest.data()));
  arguments.flags = std::move(flags);
  if (!arguments.flags.command.empty()) {
    return fail(ErrorCode::kUsage, "unexpected argument `" + arguments.flags.command.front() + "`",
                "Run 'mirrord doctor --help'.");
  }
  return arguments;
}

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
  const Status opened = client.open(config, silent, {});
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

void run(DoctorReport& report, const ExecFlags& flags) {
  check_client(report);
  const auto config = load_for(flags);
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

int doctor_main(int argc, char** argv) {
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    return report_error(arguments.error());
  }
  if (arguments->flags.wants_help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  DoctorReport report(arguments->is_json);
  run(report, arguments->flags);
  report.finish();
  return report.has_failed() ? 1 : 0;
}

}  // namespace mirrord
