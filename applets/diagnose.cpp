// applets/diagnose.cpp — `mirrord diagnose`: how long the way to the agent and back takes.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/exec.h"
#include "applets/latency.h"
#include "applets/progress.h"
#include "applets/session_flags.h"

namespace mirrord {
namespace {

constexpr Flag kOwnFlags[] = {
    {"count", 0, Takes::kValue, "N", "", "100", "how many round trips to measure [100]"},
};

constexpr int kDefaultCount = 100;
constexpr int kMaxCount = 1'000'000;

Result<int> count_of(const CommandLine& line) {
  const std::string* value = line.last("count");
  if (value == nullptr)
    return kDefaultCount;
  int count = 0;
  const char* end = value->data() + value->size();
  const auto [stopped, error] = std::from_chars(value->data(), end, count);
  if (error != std::errc() || stopped != end || count < 1 || count > kMaxCount)
    return usage_error(diagnose_commands().front(),
                       "`" + *value + "` is no count from 1 to 1000000");
  return count;
}

// One round trip after the other; the first is not counted.
Result<std::vector<double>> measure(const config::ResolvedConfig& config, int count,
                                    Progress& progress) {
  net::Loop loop;
  AgentClient client(loop);
  std::optional<Error> lost;
  const auto on_lost = [&](const Error& why) {
    lost = why;
    loop.stop();
  };
  MIRRORD_TRY(log, open_command_log("diagnose"));
  MIRRORD_CHECK_STATUS(
      client.open(config, progress, log, {.lost = on_lost, .interrupted = on_lost}));
  Progress step = progress.subtask("measuring the round trips");
  std::vector<double> times;
  for (int i = 0; i <= count && !lost; ++i) {
    const auto time = round_trip_ms(loop, client.link(), [&] { return lost.has_value(); });
    if (!time) {
      break;
    }
    if (i > 0) {
      times.push_back(*time);
      char line[96];
      std::snprintf(line, sizeof line, "%d/%d iterations completed, last iteration took %.3fms", i,
                    count, *time);
      step.info(line);
    }
  }
  if (lost) {
    return std::unexpected(*lost);
  }
  client.leave();
  step.success();
  return times;
}

int latency(int argc, char** argv) {
  const auto line = read_command_line(diagnose_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  const auto count = count_of(*line);
  if (!count)
    return report_error(count.error());
  auto config = load_for(*line);
  if (!config)
    return report_errors(config.error());
  config->network.incoming.mode = config::IncomingMode::kOff;  // the agent needs no right for it
  Progress progress(progress_mode_from_environment(), "mirrord diagnose latency");
  const auto times = measure(*config, *count, progress);
  if (!times) {
    progress.failure();
    return report_error(times.error());
  }
  progress.success();
  std::printf("%s\n", latency_text(*times).c_str());
  return 0;
}

}  // namespace

std::vector<Command> diagnose_commands() {
  return {{
      .name = "diagnose latency",
      .purpose = "Measures the connection to a target's agent. Prints the least, the greatest and "
                 "the mean time of a "
                 "round trip, the median (p50) and what 99 of 100 do not exceed (p99).",
      .usages = {"[FLAGS]"},
      .flags = {{"Measurement", kOwnFlags}, {"Which agent", session_flags()}},
      .examples = {{"mirrord diagnose latency -t deployment/shop --count 1000", ""}},
      .notes = {},
  }};
}

int diagnose_main(int argc, char** argv) {
  const std::vector<Command> commands = diagnose_commands();
  const auto command = choose_subcommand(commands, argc, argv, report_error);
  return command ? latency(argc - 1, argv + 1) : command.error();
}

}  // namespace mirrord
