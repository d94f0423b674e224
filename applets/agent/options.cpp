// applets/agent/options.cpp — parses the agent's command line and the variables that stand in for it.
#include "applets/agent/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace mirrord::agent {

const char kUsageText[] =
    "Usage: mirrord agent [OPTIONS] COMMAND\n"
    "\n"
    "Lends out the files, environment and network of a target to mirrord clients.\n"
    "\n"
    "Commands:\n"
    "  targeted -c ID [-r RUNTIME]   a container, by id; RUNTIME is docker, containerd or cri-o\n"
    "  ephemeral                     the container that this one was added to\n"
    "  targetless                    the agent's own surroundings\n"
    "  process --pid PID             a process of this machine\n"
    "  container NAME_OR_ID          a container of this machine, whatever its runtime\n"
    "\n"
    "Options:\n"
    "  -l, --communicate-port PORT          port for clients [61337]\n"
    "  -t, --communication-timeout SECONDS  how long to wait for the first client [30]\n"
    "      --stream-fd FD                   serve this connected descriptor, listen nowhere\n"
    "      --metrics ADDRESS                [env: MIRRORD_AGENT_METRICS]\n"
    "      --operator-tls-cert-pem PEM      [env: AGENT_OPERATOR_CERT_ENV]\n"
    "      --clean-iptables-on-start        [env: MIRRORD_AGENT_CLEAN_IPTABLES_ON_START]\n"
    "      --ipv6                           accepted and ignored: address families are detected\n"
    "  -h, --help                           show this text\n"
    "  -V, --version                        print the version\n"
    "\n"
    "Environment:\n"
    "  MIRRORD_AGENT_IDLE_TTL       how many seconds to stay without clients [0]\n"
    "  MIRRORD_AGENT_RECONNECT_TTL  … for a client that left without a goodbye [0]\n";

namespace {

std::unexpected<Error> usage(std::string what,
                             std::string hint = "Run 'mirrord agent --help' for the options.") {
  return fail(ErrorCode::kUsage, std::move(what), std::move(hint));
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stopped != end || text.empty())
    return std::nullopt;
  return number;
}

// What an option does; a table row per spelling.
enum class OptionId {
  kPort,
  kTimeout,
  kMetrics,
  kTestError,
  kCertificate,
  kMesh,
  kIpv6,
  kCleanIptables,
  kStreamFd,
  kHelp,
  kVersion,
  kContainerId,
  kRuntime,
  kIgnoredMesh,
  kPid,
};

struct OptionRow {
  std::string_view long_name;
  char short_name;  // 0: none
  bool takes_value;
  OptionId id;
};

// clang-format off
constexpr OptionRow kGlobalOptions[] = {
    {"communicate-port",        'l', true,  OptionId::kPort},
    {"communication-timeout",   't', true,  OptionId::kTimeout},
    {"metrics",                 0,   true,  OptionId::kMetrics},
    {"test-error",              0,   false, OptionId::kTestError},
    {"operator-tls-cert-pem",   0,   true,  OptionId::kCertificate},
    {"is-mesh",                 0,   false, OptionId::kMesh},
    {"ipv6",                    0,   false, OptionId::kIpv6},
    {"clean-iptables-on-start", 0,   false, OptionId::kCleanIptables},
    {"stream-fd",               0,   true,  OptionId::kStreamFd},
    {"help",                    'h', false, OptionId::kHelp},
    {"version",                 'V', false, OptionId::kVersion},
};
constexpr OptionRow kTargetedOptions[] = {
    {"container-id",            'c', true,  OptionId::kContainerId},
    {"container-runtime",       'r', true,  OptionId::kRuntime},
    {"mesh",                    0,   true,  OptionId::kIgnoredMesh},
    {"help",                    'h', false, OptionId::kHelp},
};
constexpr OptionRow kEphemeralOptions[] = {
    {"mesh",                    0,   true,  OptionId::kIgnoredMesh},
    {"help",                    'h', false, OptionId::kHelp},
};
constexpr OptionRow kProcessOptions[] = {
    {"pid",                     'p', true,  OptionId::kPid},
    {"stream-fd",               0,   true,  OptionId::kStreamFd},
    {"help",                    'h', false, OptionId::kHelp},
};
constexpr OptionRow kPlainOptions[] = {
    {"stream-fd",               0,   true,  OptionId::kStreamFd},
    {"help",                    'h', false, OptionId::kHelp},
};

struct CommandRow {
  std::string_view name;
  TargetKind kind;
  std::span<const OptionRow> options;
  bool takes_name;
};
constexpr CommandRow kCommands[] = {
    {"targeted",   TargetKind::kTargeted,   kTargetedOptions,  false},
    {"ephemeral",  TargetKind::kEphemeral,  kEphemeralOptions, false},
    {"targetless", TargetKind::kTargetless, kPlainOptions,     false},
    {"process",    TargetKind::kProcess,    kProcessOptions,   false},
    {"container",  TargetKind::kContainer,  kPlainOptions,     true},
};
// clang-format on

class Parser {
 public:
  explicit Parser(std::span<const char* const> arguments) : arguments_(arguments) {}

  Result<Options> run() {
    const CommandRow* command = nullptr;
    std::span<const OptionRow> rows = kGlobalOptions;
    while (next_ < arguments_.size()) {
      const std::string_view argument = arguments_[next_++];
      if (argument.size() > 1 && argument.starts_with('-')) {
        MIRRORD_CHECK_STATUS(take_option(argument, rows));
      } else if (command == nullptr) {
        const auto* found = std::ranges::find(kCommands, argument, &CommandRow::name);
        if (found == std::end(kCommands))
          return usage("unknown agent command '" + std::string(argument) + "'");
        command = found;
        options_.kind = found->kind;
        rows = found->options;
      } else if (command->takes_name && options_.container.empty()) {
        options_.container = argument;
      } else {
        return usage("unexpected argument '" + std::string(argument) + "'");
      }
      if (options_.wants_help || options_.wants_version)
        return options_;
    }
    MIRRORD_CHECK_STATUS(check_complete(command));
    return options_;
  }

 private:
  Status take_option(std::string_view argument, std::span<const OptionRow> rows) {
    std::optional<std::string_view> value;
    const OptionRow* row = nullptr;
    if (argument.starts_with("--")) {
      std::string_view name = argument.substr(2);
      if (const std::size_t equals = name.find('='); equals != std::string_view::npos) {
        value = name.substr(equals + 1);
        name = name.substr(0, equals);
      }
      row = find(rows, [&](const OptionRow& r) { return r.long_name == name; });
    } else {
      row = find(rows, [&](const OptionRow& r) { return r.short_name == argument[1]; });
      if (argument.size() > 2)
        value = argument.substr(argument[2] == '=' ? 3 : 2);
    }
    if (row == nullptr)
      return usage("unexpected option '" + std::string(argument) + "'");
    if (!row->takes_value && value)
      return usage("the option '--" + std::string(row->long_name) + "' takes no value");
    if (row->takes_value && !value) {
      if (next_ == arguments_.size())
        return usage("the option '--" + std::string(row->long_name) + "' needs a value");
      value = arguments_[next_++];
    }
    return apply(*row, value.value_or(std::string_view()));
  }

  template <class Predicate>
  static const OptionRow* find(std::span<const OptionRow> rows, Predicate predicate) {
    const auto found = std::ranges::find_if(rows, predicate);
    return found == rows.end() ? nullptr : &*found;
  }

  template <class Number>
  static Status number(const OptionRow& row, std::string_view text, Number least, Number most,
                       auto&& store) {
    const std::optional<Number> value = parse_number<Number>(text);
    if (!value || *value < least || *value > most) {
      return usage(
          "'" + std::string(text) + "' is no valid value for '--" + std::string(row.long_name) +
              "'",
          "Give a number from " + std::to_string(least) + " to " + std::to_string(most) + ".");
    }
    store(*value);
    return {};
  }

  Status apply(const OptionRow& row, std::string_view value) {
    constexpr int kMaxInt = std::numeric_limits<int>::max();
    switch (row.id) {
      case OptionId::kPort:
        return number<int>(row, value, 0, 65535,
                           [&](int n) { options_.port = static_cast<std::uint16_t>(n); });
      case OptionId::kTimeout:
        return number<int>(row, value, 0, 65535, [&](int n) {
          options_.communication_timeout = std::chrono::seconds(n);
        });
      case OptionId::kStreamFd:
        return number<int>(row, value, 0, kMaxInt, [&](int n) { options_.stream_fd = n; });
      case OptionId::kPid:
        return number<int>(row, value, 1, kMaxInt, [&](int n) { options_.pid = n; });
      case OptionId::kMetrics:
        options_.metrics_address = value;
        return {};
      case OptionId::kCertificate:
        options_.operator_certificate = value;
        return {};
      case OptionId::kContainerId:
        options_.container = value;
        return {};
      case OptionId::kRuntime:
        return take_runtime(value);
      case OptionId::kTestError:
        options_.test_error = true;
        return {};
      case OptionId::kMesh:
        options_.is_mesh = true;
        return {};
      case OptionId::kCleanIptables:
        options_.clean_iptables = true;
        return {};
      case OptionId::kHelp:
        options_.wants_help = true;
        return {};
      case OptionId::kVersion:
        options_.wants_version = true;
        return {};
      case OptionId::kIpv6:
      case OptionId::kIgnoredMesh:
        return {};
    }
    return {};
  }

  Status take_runtime(std::string_view value) {
    constexpr std::array<std::string_view, 3> kRuntimes{"docker", "containerd", "cri-o"};
    if (std::ranges::find(kRuntimes, value) == kRuntimes.end()) {
      return usage("unknown container runtime '" + std::string(value) + "'",
                   "Use docker, containerd or cri-o.");
    }
    options_.runtime = value;
    return {};
  }

  Status check_complete(const CommandRow* command) const {
    if (command == nullptr)
      return usage("no agent command was given");
    switch (command->kind) {
      case TargetKind::kTargeted:
        if (options_.container.empty())
          return usage("'targeted' needs a container id", "Add '--container-id ID'.");
        return {};
      case TargetKind::kContainer:
        if (options_.container.empty())
          return usage("'container' needs a name or id", "Add the container's name or id.");
        return {};
      case TargetKind::kProcess:
        if (options_.pid == 0)
          return usage("'process' needs a PID", "Add '--pid PID'.");
        return {};
      case TargetKind::kEphemeral:
      case TargetKind::kTargetless:
        return {};
    }
    return {};
  }

  std::span<const char* const> arguments_;
  std::size_t next_ = 0;
  Options options_;
};

// Variables fill in what the command line left open.
void apply_environment(Options& options, const EnvironmentLookup& environment) {
  const auto text = [&](const char* name) -> std::string {
    const char* value = environment(name);
    return value == nullptr ? std::string() : std::string(value);
  };
  if (options.metrics_address.empty())
    options.metrics_address = text("MIRRORD_AGENT_METRICS");
  if (options.operator_certificate.empty())
    options.operator_certificate = text("AGENT_OPERATOR_CERT_ENV");
  options.is_mesh = options.is_mesh || !is_falsy(text("MIRRORD_AGENT_IN_SERVICE_MESH"));
  options.clean_iptables =
      options.clean_iptables || !is_falsy(text("MIRRORD_AGENT_CLEAN_IPTABLES_ON_START"));
  if (options.kind == TargetKind::kEphemeral)
    options.container = text("MIRRORD_AGENT_EPHEMERAL_TARGET_CONTAINER_ID");
  // A malformed number acts as the default: a typing mistake there must not stop the agent.
  constexpr int kLongestTtl = 365 * 24 * 3600;
  const auto ttl = [&](const char* name) {
    return std::chrono::seconds(
        std::clamp(parse_number<int>(text(name)).value_or(0), 0, kLongestTtl));
  };
  options.idle_ttl = ttl("MIRRORD_AGENT_IDLE_TTL");
  options.reconnect_ttl = ttl("MIRRORD_AGENT_RECONNECT_TTL");
}

}  // namespace

bool is_falsy(std::string_view text) {
  constexpr std::array<std::string_view, 7> kFalsy{"", "0", "n", "no", "f", "false", "off"};
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::ranges::find(kFalsy, lower) != kFalsy.end();
}

Result<Options> parse_options(std::span<const char* const> arguments,
                              const EnvironmentLookup& environment) {
  MIRRORD_TRY(options, Parser(arguments).run());
  apply_environment(options, environment);
  return options;
}

}  // namespace mirrord::agent
