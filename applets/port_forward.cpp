// applets/port_forward.cpp — `mirrord port-forward`: local ports that lead to what the target can reach.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "applets/agent_client.h"
#include "applets/applet.h"
#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/exec_flags.h"
#include "applets/intproxy/forwarder.h"
#include "applets/port_mapping.h"
#include "applets/progress.h"
#include "net/leave.h"

namespace mirrord {
namespace {

constexpr char kHelp[] =
    "Forwards ports of this machine to whatever the target can reach.\n"
    "\n"
    "Usage: mirrord port-forward [FLAGS] -L [LOCAL_PORT:]HOST:PORT …\n"
    "\n"
    "Flags:\n"
    "  -L, --port-mapping [LOCAL_PORT:]HOST:PORT\n"
    "                          listen on 127.0.0.1:LOCAL_PORT (the same as PORT if it is left "
    "out);\n"
    "                          HOST is an address, or a name that the target looks up for each\n"
    "                          connection. May be repeated\n"
    "  -R, --reverse-port-mapping [REMOTE_PORT:]LOCAL_PORT\n"
    "                          not available in this version\n"
    "  -t, --target, -f, --config-file, --agent-address and the other flags of `mirrord exec` say\n"
    "                          whose network it is\n"
    "  -h, --help              show this text\n"
    "\n"
    "Runs until it is interrupted (Ctrl+C).\n"
    "\n"
    "Example: mirrord port-forward -t deployment/shop -L 15432:postgres:5432\n";

struct Arguments {
  std::vector<PortMapping> mappings;
  std::vector<std::string> reverse;
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
      MIRRORD_CHECK_STATUS(check_reverse_mapping(value));
      arguments.reverse.push_back(value);
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
  if (!arguments.reverse.empty()) {
    return fail(ErrorCode::kUnsupported,
                "-R " + arguments.reverse.front() +
                    ": connections that reach the target cannot be taken in this version",
                "Leave -R out; -L works.");
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
                                        },
                                    .restored = [] { warn("the agent is back"); }}));
  forwarder = std::make_unique<intproxy::Forwarder>(loop, client.link(), warn);
  MIRRORD_CHECK_STATUS(listen_all(*forwarder, arguments.mappings));
  progress.success("Ready!");
  while (!is_over) {
    loop.run();
  }
  forwarder.reset();
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
  const auto config = load_for(arguments->flags);
  if (!config) {
    int code = 1;
    for (const Error& error : config.error()) {
      code = report_error(error);
    }
    return code;
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
