// applets/port_forward.cpp — `mirrord port-forward`: local ports that lead to what the target can reach, and
// ports of the target that lead here.
#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/exec.h"
#include "applets/intproxy/forwarder.h"
#include "applets/intproxy/reverse_forwarder.h"
#include "applets/port_mapping.h"
#include "applets/progress.h"
#include "applets/session_flags.h"
#include "net/ending_signals.h"
#include "net/leave.h"

namespace mirrord {
namespace {

constexpr std::array kOwnFlags = {
    Flag{"port-mapping", 'L', Takes::kValue, "[LOCAL_PORT:]HOST:PORT", "", "",
         "listen on 127.0.0.1:LOCAL_PORT (the same as PORT if it is left out); HOST is an address, "
         "or a name that "
         "the target looks up for each connection. May be repeated",
         "", "port-mappings"},
    Flag{"reverse-port-mapping", 'R', Takes::kValue, "[REMOTE_PORT:]LOCAL_PORT", "", "",
         "connections to the target's REMOTE_PORT (the same as LOCAL_PORT if it is left out) come "
         "to "
         "127.0.0.1:LOCAL_PORT: copies of them, or with `feature.network.incoming.mode` \"steal\" "
         "they themselves. "
         "May be repeated",
         "", "reverse-port-mappings"},
};

struct Arguments {
  std::vector<PortMapping> mappings;
  intproxy::ReverseForwarder::Ports reverse;
};

std::unexpected<Error> usage(std::string what) {
  return usage_error(port_forward_commands().front(), std::move(what));
}

Result<Arguments> parse_mappings(const CommandLine& line) {
  Arguments arguments;
  for (const std::string& value : line.all("port-mapping")) {
    MIRRORD_TRY(mapping, parse_port_mapping(value));
    arguments.mappings.push_back(std::move(mapping));
  }
  for (const std::string& value : line.all("reverse-port-mapping")) {
    MIRRORD_TRY(reverse, parse_reverse_mapping(value));
    if (!arguments.reverse.emplace(reverse.remote_port, reverse.local_port).second)
      return usage("the target's port " + std::to_string(reverse.remote_port) + " is mapped twice");
  }
  return arguments;
}

Status check(const Arguments& arguments) {
  if (arguments.mappings.empty() && arguments.reverse.empty()) {
    return usage("no port mapping was given");
  }
  std::set<std::uint16_t> seen;
  for (const PortMapping& mapping : arguments.mappings) {
    if (!seen.insert(mapping.local_port).second) {
      return usage("the local port " + std::to_string(mapping.local_port) + " is mapped twice");
    }
  }
  return {};
}

Status listen_all(intproxy::Forwarder& forwarder, const std::vector<PortMapping>& mappings) {
  for (const PortMapping& mapping : mappings) {
    const net::Endpoint local{net::IpAddress::v4(127, 0, 0, 1), mapping.local_port};
    MIRRORD_TRY(bound, forwarder.forward(local, mapping.host, mapping.remote_port));
    const bool is_v6 = mapping.host.find(':') != std::string::npos;
    const std::string host = is_v6 ? "[" + mapping.host + "]" : mapping.host;
    std::printf("%s -> %s:%u\n", bound.to_string().c_str(), host.c_str(),
                unsigned{mapping.remote_port});
  }
  std::fflush(stdout);
  return {};
}

// Runs the loop until the ports are subscribed, or until it is stopped.
Status subscribe_all(net::Loop& loop, const bool& is_over, intproxy::ReverseForwarder& reverse,
                     const intproxy::ReverseForwarder::Ports& ports) {
  std::optional<Status> outcome;
  reverse.start(ports, [&](Status status) {
    outcome = std::move(status);
    loop.stop();
  });
  while (!outcome && !is_over) {
    loop.run();
  }
  if (!outcome || !*outcome) {
    return outcome.value_or(Status());
  }
  for (const auto& [remote, local] : ports) {
    std::printf("port %u of the target -> 127.0.0.1:%u\n", unsigned{remote}, unsigned{local});
  }
  std::fflush(stdout);
  return {};
}

Status check_incoming(const Arguments& arguments, const config::IncomingRules& rules) {
  if (arguments.reverse.empty()) {
    return {};
  }
  if (rules.mode == config::IncomingMode::kOff) {
    return fail(ErrorCode::kConfig, "-R: `feature.network.incoming.mode` is \"off\"",
                "Set it to \"steal\" or \"mirror\", or leave -R out.");
  }
  return {};
}

Status run(const Arguments& arguments, const config::ResolvedConfig& config, Progress& progress) {
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
  AgentClient client(loop);
  std::unique_ptr<intproxy::Forwarder> forwarder;
  std::unique_ptr<intproxy::ReverseForwarder> reverse;
  MIRRORD_TRY(log, open_command_log("port-forward"));
  MIRRORD_CHECK_STATUS(client.open(config, progress, log,
                                   {.lost =
                                        [&](const Error& why) {
                                          is_over = true;
                                          result = std::unexpected(why);
                                          loop.stop();
                                        },
                                    .interrupted =
                                        [&](const Error& why) {
                                          print_warning(why.what + "; connecting again");
                                          if (forwarder) {
                                            forwarder->agent_interrupted();
                                          }
                                          if (reverse) {
                                            reverse->agent_interrupted();
                                          }
                                        },
                                    .restored =
                                        [&] {
                                          print_warning("the agent is back");
                                          if (reverse) {
                                            reverse->agent_restored();
                                          }
                                        }}));
  forwarder = std::make_unique<intproxy::Forwarder>(loop, client.link(), print_warning);
  MIRRORD_CHECK_STATUS(listen_all(*forwarder, arguments.mappings));
  if (!arguments.reverse.empty()) {
    MIRRORD_TRY(trust, intproxy::load_tls_trust(config.network.incoming.tls_delivery));
    reverse = std::make_unique<intproxy::ReverseForwarder>(
        loop, client.link(), config.network.incoming, std::move(trust), print_warning);
    MIRRORD_CHECK_STATUS(subscribe_all(loop, is_over, *reverse, arguments.reverse));
  }
  if (!is_over) {
    progress.success("Ready!");
  }
  while (!is_over) {
    loop.run();
  }
  forwarder.reset();
  reverse.reset();
  client.leave();
  return result;
}

}  // namespace

std::vector<Command> port_forward_commands() {
  return {{
      .name = "port-forward",
      .purpose = "Forwards ports of this machine to whatever the target can reach, and ports of "
                 "the target to this "
                 "machine. Runs until it is interrupted (Ctrl+C).",
      .usages = {"[FLAGS] [-L [LOCAL_PORT:]HOST:PORT]… [-R [REMOTE_PORT:]PORT]…"},
      .flags = {{"Ports", kOwnFlags}, {"Flags", session_flags()}},
      .examples = {{"mirrord port-forward -t deployment/shop -L 15432:postgres:5432",
                    "psql -h 127.0.0.1 -p 15432 reaches the database"},
                   {"mirrord port-forward -t deployment/shop -f steal.json -R 80:8080",
                    "what comes to the shop's port 80 comes to 8080 here"}},
      .notes = {},
  }};
}

int port_forward_main(int argc, char** argv) {
  const auto line = read_command_line(port_forward_commands().front(), argc, argv, report_error);
  if (!line)
    return line.error();
  const auto arguments = parse_mappings(*line);
  if (!arguments)
    return report_error(arguments.error());
  if (const Status checked = check(*arguments); !checked) {
    return report_error(checked.error());
  }
  auto config = load_for(*line);
  if (!config)
    return report_errors(config.error());
  if (const Status checked = check_incoming(*arguments, config->network.incoming); !checked) {
    return report_error(checked.error());
  }
  if (arguments->reverse.empty()) {
    config->network.incoming.mode = config::IncomingMode::kOff;  // the agent needs no right for it
  }
  Progress progress(progress_mode_from_environment(), "mirrord port-forward");
  const Status done = run(*arguments, *config, progress);
  if (!done) {
    progress.failure();
    return report_error(done.error());
  }
  return 0;
}

}  // namespace mirrord
