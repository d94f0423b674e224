// applets/dump.cpp — `mirrord dump`: prints copies of what comes to ports of the target.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/bounded_output.h"
#include "applets/cluster_request.h"
#include "applets/exec.h"
#include "applets/intproxy/subscription.h"
#include "applets/progress.h"
#include "applets/session_flags.h"
#include "applets/traffic_text.h"
#include "k8s/resolve_target.h"
#include "net/ending_signals.h"
#include "net/leave.h"
#include "proto/errors.h"

namespace mirrord {
namespace {

using Ports = std::vector<std::uint16_t>;

constexpr std::chrono::milliseconds kSubscribeLimit{30'000};
// At the end, for a reader that still reads.
constexpr std::chrono::milliseconds kLastOutput{1000};
// Traffic that arrives before all ports are confirmed.
constexpr std::size_t kEarlyBytes = 1 << 20;

constexpr std::array kOwnFlags = {
    Flag{"ports", 'p', Takes::kValue, "PORT", "", "",
         "print what comes to this port of the target. May be repeated. Without it: the ports that "
         "the pod's containers declare"},
};

Result<Ports> parse_ports(const CommandLine& line) {
  Ports ports;
  for (const std::string& text : line.all("ports")) {
    std::uint16_t port = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, port);
    if (error != std::errc() || rest != end || port == 0) {
      return usage_error(dump_commands().front(),
                         "--ports: \"" + text + "\" is not a port from 1 to 65535");
    }
    if (std::ranges::find(ports, port) == ports.end()) {
      ports.push_back(port);
    }
  }
  return ports;
}

Status check_target(const config::Target& target) {
  if (target.kind == config::TargetKind::kTargetless) {
    return fail(ErrorCode::kConfig, "dump needs a target",
                "Name it with --target, in the configuration file, or in "
                "MIRRORD_IMPERSONATED_TARGET.");
  }
  return {};
}

// The ports of the pod's specification.
Result<Ports> declared_ports(net::Loop& loop, const config::ResolvedConfig& config,
                             const CommandLog& log) {
  constexpr const char* kHint = "Name the ports with --ports.";
  if (config.target.kind != config::TargetKind::kKubernetes) {
    return fail(ErrorCode::kConfig, "this kind of target declares no ports", kHint);
  }
  MIRRORD_TRY(request, cluster_request(config, log));
  k8s::ApiClient client(loop, std::move(request.client));
  MIRRORD_TRY(pod, k8s::resolve_target(client, request.target, request.target_name_space));
  if (pod.container_ports.empty()) {
    return fail(ErrorCode::kConfig, "no container of pod " + pod.name + " declares a port", kHint);
  }
  return std::move(pod.container_ports);
}

// The subscriptions and what they bring.
class Dump {
 public:
  // Calls `over` once with what ends the dump; an empty status: nobody reads the output.
  using Over = std::move_only_function<void(Status)>;

  Dump(net::Loop& loop, intproxy::AgentLink& link, const config::IncomingRules& rules, Ports ports,
       BoundedOutput& output, Over over)
      : link_(link),
        rules_(rules),
        ports_(std::move(ports)),
        output_(output),
        over_(std::move(over)),
        sender_(link),
        limit_(loop),
        failure_(loop, output.failed_descriptor(), [this](int) { output_failed(); }) {
    failure_.watch(net::FdWatcher::kReadable);
    link_.set_handler<"Tcp">([this](proto::DaemonTcp&& message) { take(std::move(message)); });
  }

  ~Dump() {
    link_.set_handler<"Tcp">([](proto::DaemonTcp&&) {});
  }
  Dump(const Dump&) = delete;
  Dump& operator=(const Dump&) = delete;

  Status start() {
    for (const std::uint16_t port : ports_) {
      const proto::HttpFilter* filter = intproxy::filter_for(rules_, port);
      const bool mirrors_filtered = link_.supports(proto::Gate::kMirrorHttpFilter);
      if (filter != nullptr && mirrors_filtered && !intproxy::knows_filter(link_, *filter)) {
        return fail(ErrorCode::kUnsupported,
                    "dump port " + std::to_string(port) +
                        " of the target: the agent is too old for this kind of HTTP filter");
      }
      if (filter != nullptr && !mirrors_filtered) {
        print_warning("the agent is too old to mirror by an HTTP filter: port " +
                      std::to_string(port) + " is dumped whole");
      }
    }
    subscribe();
    return {};
  }

  // Another stream to the agent: what was open is gone, the ports are asked for again.
  void subscribe() {
    asked_.assign(ports_.begin(), ports_.end());
    limit_.start(kSubscribeLimit, [this] {
      end(fail(ErrorCode::kTimeout,
               "subscribe ports of the target: the agent has not answered for " +
                   std::to_string(kSubscribeLimit.count()) + " ms"));
    });
    for (const std::uint16_t port : ports_) {
      sender_.send(intproxy::subscribe_message(rules_, link_, port));
    }
  }

 private:
  void take(proto::DaemonTcp&& message) {
    if (const auto* answer = message.get_if<"SubscribeResult">()) {
      return subscribed(*answer);
    }
    std::string text = traffic_text(message);
    if (text.empty()) {
      return;
    }
    if (is_confirmed_) {
      output_.write(std::move(text));
    } else if (early_.size() + text.size() <= kEarlyBytes) {
      early_ += text;
    } else {
      ++early_lost_;
    }
  }

  void subscribed(const proto::Res<proto::Port>& answer) {
    const auto port = intproxy::take_answered(asked_, answer);
    if (port && !answer) {
      return end(
          fail(ErrorCode::kUnsupported, "mirror port " + std::to_string(*port) +
                                            " of the target: " + proto::describe(answer.error())));
    }
    if (!port || !asked_.empty()) {
      return;
    }
    limit_.stop();
    if (std::exchange(is_confirmed_, true)) {
      return;
    }
    std::string list;
    for (const std::uint16_t each : ports_) {
      list += (list.empty() ? "" : ", ") + std::to_string(each);
    }
    std::fputs(("mirrord: dumping what comes to port " + list + "; Ctrl+C ends it\n").c_str(),
               stderr);
    if (early_lost_ > 0) {
      early_ += "## " + std::to_string(early_lost_) + " records were lost before the start\n";
    }
    if (!early_.empty()) {
      output_.write(std::exchange(early_, {}));
    }
  }

  void output_failed() {
    const int error = output_.failure();
    end(error == EPIPE ? Status() : Status(fail_system("write to standard output", error)));
  }

  void end(Status status) {
    limit_.stop();
    failure_.watch(net::FdWatcher::kNone);
    if (over_) {
      std::exchange(over_, nullptr)(std::move(status));
    }
  }

  intproxy::AgentLink& link_;
  const config::IncomingRules& rules_;
  const Ports ports_;
  BoundedOutput& output_;
  Over over_;
  intproxy::AgentLink::Sender sender_;
  net::Timer limit_;
  net::FdWatcher failure_;
  std::deque<std::uint16_t> asked_;  // subscriptions without an answer, in order
  bool is_confirmed_ = false;
  std::string early_;
  std::size_t early_lost_ = 0;
};

Status run(Ports ports, const config::ResolvedConfig& config, Progress& progress) {
  net::Loop loop;
  bool is_over = false;
  Status result;
  // The first signal ends in good order, also during a start that takes long; the next one at once.
  const net::EndingSignals signals(loop, [&](int) {
    if (is_over) {
      leave(1);
    }
    is_over = true;
    loop.stop();
  });
  const auto end = [&](Status status) {
    is_over = true;
    result = std::move(status);
    loop.stop();
  };
  MIRRORD_TRY(log, open_command_log("dump"));
  if (ports.empty()) {
    MIRRORD_TRY(declared, declared_ports(loop, config, log));
    ports = std::move(declared);
  }
  AgentClient client(loop);
  Dump* dump = nullptr;
  MIRRORD_CHECK_STATUS(client.open(
      config, progress, log,
      {.lost = [&](const Error& why) { end(std::unexpected(why)); },
       .interrupted = [](const Error& why) { print_warning(why.what + "; connecting again"); },
       .restored =
           [&] {
             print_warning("the agent is back: connections from before are not followed");
             if (dump != nullptr) {
               dump->subscribe();
             }
           }}));
  MIRRORD_TRY(output, BoundedOutput::start(STDOUT_FILENO));
  Dump started(loop, client.link(), config.network.incoming, std::move(ports), output, end);
  dump = &started;
  if (const Status status = started.start(); !status) {
    end(status);
  } else if (!is_over) {
    progress.success();
  }
  while (!is_over) {
    loop.run();
  }
  output.finish(kLastOutput);
  client.leave();
  return result;
}

}  // namespace

std::vector<Command> dump_commands() {
  return {{
      .name = "dump",
      .purpose =
          "Prints copies of what comes to ports of the target, as text where it is text, "
          "else in hex. The target keeps its traffic. Runs until it is interrupted (Ctrl+C).",
      .usages = {"[FLAGS] -t TARGET [-p PORT]…"},
      .flags = {{"Ports", kOwnFlags}, {"Flags", session_flags()}},
      .examples = {{"mirrord dump -t deployment/shop -p 80", "what clients send to the shop"}},
      .notes = "With `feature.network.incoming.http_filter` only requests that match are "
               "printed. A reader that is too slow misses records; a line says how many.",
  }};
}

int dump_main(int argc, char** argv) {
  const auto line = read_command_line(dump_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  auto ports = parse_ports(*line);
  if (!ports)
    return report_error(ports.error());
  auto config = load_for(*line);
  if (!config)
    return report_errors(config.error());
  if (const Status checked = check_target(config->target); !checked)
    return report_error(checked.error());
  config->network.incoming.mode = config::IncomingMode::kMirror;  // never takes anything away
  Progress progress(progress_mode_from_environment(), "mirrord dump");
  const Status done = run(std::move(*ports), *config, progress);
  if (!done) {
    progress.failure();
    return report_error(done.error());
  }
  return 0;
}

}  // namespace mirrord
