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
#include "applets/exec_flags.h"
#include "applets/latency.h"
#include "applets/progress.h"

namespace mirrord {
namespace {

constexpr char kHelp[] =
    "Measures the connection to a target's agent.\n"
    "\n"
    "Usage: mirrord diagnose latency [FLAGS]\n"
    "\n"
    "Flags:\n"
    "      --count N           how many round trips to measure [100]\n"
    "  -t, --target, -f, --config-file, --agent-address and the other flags of `mirrord exec` say\n"
    "                          which agent\n"
    "  -h, --help              show this text\n"
    "\n"
    "Prints the least, the greatest and the mean time of a round trip, the median (p50) and what\n"
    "99 of 100 do not exceed (p99).\n";

constexpr int kDefaultCount = 100;
constexpr int kMaxCount = 1'000'000;

struct Arguments {
  int count = kDefaultCount;
  ExecFlags flags;
};

std::unexpected<Error> usage(std::string what) {
  return fail(ErrorCode::kUsage, std::move(what), "Run 'mirrord diagnose --help'.");
}

Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  std::vector<const char*> rest{"diagnose"};
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    std::optional<std::string_view> value;
    if (word.starts_with("--count=")) {
      value = word.substr(8);
    } else if (word == "--count" && i + 1 < argc) {
      value = argv[++i];
    } else {
      rest.push_back(argv[i]);
      continue;
    }
    const char* end = value->data() + value->size();
    const auto [stopped, error] = std::from_chars(value->data(), end, arguments.count);
    if (error != std::errc() || stopped != end || arguments.count < 1 ||
        arguments.count > kMaxCount) {
      return usage("`" + std::string(*value) + "` is no count from 1 to 1000000");
    }
  }
  MIRRORD_TRY(flags, parse_exec_flags(static_cast<int>(rest.size()), rest.data()));
  arguments.flags = std::move(flags);
  if (!arguments.flags.command.empty()) {
    return usage("unexpected argument `" + arguments.flags.command.front() + "`");
  }
  return arguments;
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
  MIRRORD_CHECK_STATUS(client.open(config, progress, {.lost = on_lost, .interrupted = on_lost}));
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
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    return report_error(arguments.error());
  }
  if (arguments->flags.wants_help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  auto config = load_for(arguments->flags);
  if (!config) {
    return report_error(config.error().front());
  }
  config->network.incoming.mode = config::IncomingMode::kOff;  // the agent needs no right for it
  Progress progress(progress_mode_from_environment(), "mirrord diagnose latency");
  const auto times = measure(*config, arguments->count, progress);
  if (!times) {
    progress.failure();
    return report_error(times.error());
  }
  progress.success();
  std::printf("%s\n", latency_text(*times).c_str());
  return 0;
}

}  // namespace

int diagnose_main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "latency") {
    return latency(argc - 1, argv + 1);
  }
  if (what == "--help" || what == "-h") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  return report_error({ErrorCode::kUsage,
                       what.empty()
                           ? "nothing to diagnose was named"
                           : "there is nothing called `" + std::string(what) + "` to diagnose",
                       "There is: mirrord diagnose latency.", 0});
}

}  // namespace mirrord
