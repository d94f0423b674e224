// applets/port_forward.cpp — `mirrord port-forward`: local ports that lead to what the target can reach, and
// ports of the target that lead here.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/exec_flags.h"
#include "applets/intproxy/forwarder.h"
#include "applets/intproxy/reverse_forwarder.h"
#include "applets/port_mapping.h"
#include "applets/progress.h"
#include "net/leave.h"

namespace mirrord {
namespace {

constexpr char kHelp[] =
    "Forwards ports of this machine to whatever the target can reach, and ports of the target to\n"
    "this machine.\n"
    "\n"
    "Usage: mirrord port-forward [FLAGS] [-L [LOCAL_PORT:]HOST:PORT]… [-R [REMOTE_PORT:]PORT]…\n"
    "\n"
    "Flags:\n"
    "  -L, --port-mapping [LOCAL_PORT:]HOST:PORT\n"
    "                          listen on 127.0.0.1:LOCAL_PORT (the same as PORT if it is left "
    "out);\n"
    "                          HOST is an address, or a name that the target looks up for each\n"
    "                          connection. May be repeated\n"
    "  -R, --reverse-port-mapping [REMOTE_PORT:]LOCAL_PORT\n"
    "                          connections to the target's REMOTE_PORT (the same as LOCAL_PORT if "
    "it\n"
    "                          is left out) come to 127.0.0.1:LOCAL_PORT: copies of them, or with\n"
    "                          `feature.network.incoming.mode` \"steal\" they themselves. May be\n"
    "                          repeated\n"
    "  -t, --target, -f, --config-file, --agent-address and the other flags of `mirrord exec` say\n"
    "                          whose network it is\n"
    "  -h, --help              show this text\n"
    "\n"
    "Runs until it is interrupted (Ctrl+C).\n"
    "\n"
    "Examples: mirrord port-forward -t deployment/shop -L 15432:postgres:5432\n"
    "          mirrord port-forward -t deployment/shop -f steal.json -R 80:8080\n";

struct Arguments {
  std::vector<PortMapping> mappings;
  intproxy::ReverseForwarder::Ports reverse;
  ExecFlags flags;
};

std::unexpected<Error> usage(std::string what) {
  return fail(ErrorCode::kUsage, std::move(what), "Run 'mirrord port-forward --help'.");
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> names) {
  return std::ranges::find(names, word) != names.end();
}

// Takes the mappings out; what is left are flags of exec.
Result<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  std::vector<const char*> rest{"port-forward"};
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    std::string value;
    bool has_value = false;
    if (const std::size_t equals = word.find('='); word.starts_with("--") && equals != word.npos) {
      value = word.substr(equals + 1);
      word.resize(equals);
      has_value = true;
    } else if ((word.starts_with("-L") || word.starts_with("-R")) && word.size() > 2) {
      value = word.substr(word[2] == '=' ? 3 : 2);
      word.resize(2);
      has_value = true;
    }
    const bool is_forward = is_one_of(word, {"-L", "--port-mapping", "--port-mappings"});
    const bool is_reverse =
        is_one_of(word, {"-R", "--reverse-port-mapping", "--reverse-port-mappings"});
    if (!is_forward && !is_reverse) {
      rest.push_back(argv[i]);
      continue;
    }
    if (!has_value && i + 1 == argc) {
      return usage("the flag `" + word + "` needs a value");
    }
    if (!has_value) {
      value = argv[++i];
    }
    if (is_reverse) {
      MIRRORD_TRY(reverse, parse_reverse_mapping(value));
      if (!arguments.reverse.emplace(reverse.remote_port, reverse.local_port).second) {
        return usage("the target's port " + std::to_string(reverse.remote_port) +
                     " is mapped twice");
      }
      continue;
    }
    MIRRORD_TRY(mapping, parse_port_mapping(value));
    arguments.mappings.push_back(std::move(mapping));
  }
  MIRRORD_TRY(flags, parse_exec_flags(static_cast<int>(rest.size()), rest.data()));
  arguments.flags = std::move(flags);
  if (!arguments.flags.command.empty()) {
    return usage("unexpected argument `" + arguments.flags.command.front() + "`");
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

void warn(const std::string& line) {
  std::fputs(("mirrord: warning: " + line + "\n").c_str(), stderr);
}

Status run(const Arguments& arguments, const config::ResolvedConfig& config, Progress& progress) {
  net::Loop loop;
  bool is_over = false;
  Status result;
  // The first signal ends in good order, also during a start that takes long; the next one at once.
  const auto stop = [&] {
    if (is_over) {
      leave(1);
    }
    is_over = true;
    loop.stop();
  };
  const net::SignalWatcher interrupt(loop, SIGINT, stop);
  const net::SignalWatcher terminate(loop, SIGTERM, stop);
  const net::SignalWatcher hang_up(loop, SIGHUP, stop);
  AgentClient client(loop);
  std::unique_ptr<intproxy::Forwarder> forwarder;
  std::unique_ptr<intproxy::ReverseForwarder> reverse;
  MIRRORD_CHECK_STATUS(client.open(config, progress,
                                   {.lost =
                                        [&](const Error& why) {
                                          is_over = true;
                                          result = std::unexpected(why);
                                          loop.stop();
                                        },
                                    .interrupted =
                                        [&](const Error& why) {
                                          warn(why.what + "; connecting again");
                                          if (forwarder) {
                                            forwarder->agent_interrupted();
                                          }
                                          if (reverse) {
                                            reverse->agent_interrupted();
                                          }
                                        },
                                    .restored =
                                        [&] {
                                          warn("the agent is back");
                                          if (reverse) {
                                            reverse->agent_restored();
                                          }
                                        }}));
  forwarder = std::make_unique<intproxy::Forwarder>(loop, client.link(), warn);
  MIRRORD_CHECK_STATUS(listen_all(*forwarder, arguments.mappings));
  if (!arguments.reverse.empty()) {
    MIRRORD_TRY(trust, intproxy::load_tls_trust(config.network.incoming.tls_delivery));
    reverse = std::make_unique<intproxy::ReverseForwarder>(
        loop, client.link(), config.network.incoming, std::move(trust), warn);
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

int port_forward_main(int argc, char** argv) {
  const auto arguments = parse(argc, argv);
  if (!arguments) {
    return report_error(arguments.error());
  }
  if (arguments->flags.wants_help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (const Status checked = check(*arguments); !checked) {
    return report_error(checked.error());
  }
  auto config = load_for(arguments->flags);
  if (!config) {
    int code = 1;
    for (const Error& error : config.error()) {
      code = report_error(error);
    }
    return code;
  }
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
