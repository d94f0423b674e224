// applets/exec_flags.cpp — every flag of the original's exec, and how it maps to configuration.
#include "applets/exec_flags.h"

#include <algorithm>
#include <string_view>

#include "net/spelling.h"

namespace mirrord {
namespace {

enum class Takes {
  kNothing,
  kValue,
  kOptionalValue,  // the next word, if it is no flag
  kOptionalEqual,  // only as --flag=value
};

enum class Effect { kOverride, kConfigFile, kNoOutgoing, kFileMode, kTimings, kHelp, kIgnored };

struct Flag {
  std::string_view name;
  char letter;
  Takes takes;
  Effect effect;
  std::string_view variable;  // that the flag overrides
  std::string_view fixed;     // its value if the flag takes none
  std::string_view help;
};

// clang-format off
constexpr Flag kFlags[] = {
    {"target",                       't', Takes::kValue,         Effect::kOverride,   "MIRRORD_IMPERSONATED_TARGET",       "",      "what to run inside: deployment/NAME, pod/NAME, process/PID, container/NAME, demo …"},
    {"config-file",                  'f', Takes::kOptionalValue, Effect::kConfigFile, "",                                  "",      "configuration; without a value ./.mirrord/mirrord.json; - is stdin"},
    {"agent-address",                0,   Takes::kValue,         Effect::kOverride,   "MIRRORD_CONNECT_TCP",               "",      "HOST:PORT of an agent that is already running"},
    {"fs-mode",                      0,   Takes::kValue,         Effect::kFileMode,   "MIRRORD_FILE_MODE",                 "",      "read, write, local or local-with-overrides"},
    {"override-env-vars-include",    's', Takes::kValue,         Effect::kOverride,   "MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", "",      "remote variables to take, separated by ;"},
    {"override-env-vars-exclude",    'x', Takes::kValue,         Effect::kOverride,   "MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "",      "remote variables to leave out, separated by ;"},
    {"env-file",                     0,   Takes::kValue,         Effect::kOverride,   "MIRRORD_OVERRIDE_ENV_VARS_FILE",    "",      "file of NAME=value lines over the remote variables"},
    {"no-remote-dns",                0,   Takes::kNothing,       Effect::kOverride,   "MIRRORD_REMOTE_DNS",                "false", "look names up on this machine"},
    {"no-outgoing",                  0,   Takes::kNothing,       Effect::kNoOutgoing, "",                                  "false", "connections leave from this machine"},
    {"no-tcp-outgoing",              0,   Takes::kNothing,       Effect::kOverride,   "MIRRORD_TCP_OUTGOING",              "false", "TCP connections leave from this machine"},
    {"no-udp-outgoing",              0,   Takes::kNothing,       Effect::kOverride,   "MIRRORD_UDP_OUTGOING",              "false", "UDP packets leave from this machine"},
    {"steal",                        0,   Takes::kNothing,       Effect::kOverride,   "MIRRORD_AGENT_TCP_STEAL_TRAFFIC",   "true",  "take incoming traffic away from the target"},
    {"skip-processes",               0,   Takes::kValue,         Effect::kOverride,   "MIRRORD_SKIP_PROCESSES",            "",      "programs to leave alone, separated by ;"},
    {"key",                          'k', Takes::kValue,         Effect::kOverride,   "MIRRORD_KEY",                       "",      "name of this session"},
    {"timings",                      0,   Takes::kNothing,       Effect::kTimings,    "",                                  "",      "print how long each step of the start took"},
    {"target-namespace",             'n', Takes::kValue,         Effect::kOverride,   "MIRRORD_TARGET_NAMESPACE",          "",      "Kubernetes namespace of the target"},
    {"agent-namespace",              'a', Takes::kValue,         Effect::kOverride,   "MIRRORD_AGENT_NAMESPACE",           "",      "Kubernetes namespace for the agent"},
    {"agent-log-level",              'l', Takes::kValue,         Effect::kOverride,   "MIRRORD_AGENT_RUST_LOG",            "",      "what the agent logs"},
    {"agent-image",                  'i', Takes::kValue,         Effect::kOverride,   "MIRRORD_AGENT_IMAGE",               "",      "image of the agent"},
    {"agent-ttl",                    0,   Takes::kValue,         Effect::kOverride,   "MIRRORD_AGENT_TTL",                 "",      "seconds that the agent's job stays after its end"},
    {"agent-startup-timeout",        0,   Takes::kValue,         Effect::kOverride,   "MIRRORD_AGENT_STARTUP_TIMEOUT",     "",      "seconds that the agent may take to start"},
    {"ephemeral-container",          'e', Takes::kNothing,       Effect::kOverride,   "MIRRORD_EPHEMERAL_CONTAINER",       "true",  "run the agent as an ephemeral container"},
    {"accept-invalid-certificates",  'c', Takes::kOptionalEqual, Effect::kOverride,   "MIRRORD_ACCEPT_INVALID_CERTIFICATES", "true", "do not check the API server's certificate"},
    {"context",                      0,   Takes::kValue,         Effect::kOverride,   "MIRRORD_KUBE_CONTEXT",              "",      "context of the kubeconfig"},
    {"no-telemetry",                 0,   Takes::kNothing,       Effect::kOverride,   "MIRRORD_TELEMETRY",                 "false", "accepted; nothing is ever sent"},
    {"disable-version-check",        0,   Takes::kNothing,       Effect::kIgnored,    "",                                  "",      "accepted; there is no such check"},
    {"help",                         'h', Takes::kNothing,       Effect::kHelp,       "",                                  "",      "show this text"},
};
// clang-format on

constexpr char kDefaultFile[] = "./.mirrord/mirrord.json";

std::unexpected<Error> usage(std::string what, std::string hint = {}) {
  if (hint.empty())
    hint = "Run 'mirrord exec --help' for the flags.";
  return fail(ErrorCode::kUsage, std::move(what), std::move(hint));
}

class Parser {
 public:
  Parser(int argc, const char* const* argv) : words_(argv + 1, argv + std::max(argc, 1)) {}

  Result<ExecFlags> run() {
    bool has_separator = false;
    for (; at_ < words_.size(); ++at_) {
      const std::string& word = words_[at_];
      if (word == "--") {
        ++at_;
        has_separator = true;
        break;
      }
      if (word.size() < 2 || word[0] != '-')
        break;
      MIRRORD_CHECK_STATUS(word[1] == '-' ? long_flag(word) : short_flags(word));
    }
    flags_.command.assign(
        words_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, words_.size())), words_.end());
    // The original's form `exec [flags] program -- arguments`.
    if (!has_separator && flags_.command.size() > 1 && flags_.command[1] == "--")
      flags_.command.erase(flags_.command.begin() + 1);
    return std::move(flags_);
  }

 private:
  Status long_flag(const std::string& word) {
    const std::size_t equals = word.find('=');
    const std::string_view name =
        std::string_view(word).substr(2, equals == word.npos ? equals : equals - 2);
    const auto flag = std::ranges::find(kFlags, name, &Flag::name);
    if (flag == std::end(kFlags)) {
      net::Nearest nearest(name);
      for (const Flag& known : kFlags)
        nearest.offer(known.name);
      return usage(
          "unknown flag `--" + std::string(name) + "`",
          nearest.found().empty() ? "" : "Did you mean `--" + std::string(nearest.found()) + "`?");
    }
    const std::string shown = "--" + std::string(name);
    if (equals == word.npos)
      return apply(*flag, shown, nullptr);
    if (flag->takes == Takes::kNothing)
      return usage("the flag `" + shown + "` takes no value");
    const std::string value = word.substr(equals + 1);
    return apply(*flag, shown, &value);
  }

  Status short_flags(const std::string& word) {
    for (std::size_t i = 1; i < word.size(); ++i) {
      const auto flag = std::ranges::find(kFlags, word[i], &Flag::letter);
      const std::string shown = std::string("-") + word[i];
      if (flag == std::end(kFlags))
        return usage("unknown flag `" + shown + "`",
                     "Put `--` before the program if the flag is the program's.");
      std::string rest = word.substr(i + 1);
      const bool with_equal = rest.starts_with('=');
      if (flag->takes == Takes::kNothing || rest.empty() ||
          (flag->takes == Takes::kOptionalEqual && !with_equal)) {
        MIRRORD_CHECK_STATUS(apply(*flag, shown, nullptr));
        continue;
      }
      if (with_equal)
        rest.erase(0, 1);
      return apply(*flag, shown, &rest);
    }
    return {};
  }

  // `given` is the value that stood in the same word.
  Status apply(const Flag& flag, const std::string& shown, const std::string* given) {
    std::string value(flag.fixed);
    bool has_value = given != nullptr;
    if (given != nullptr) {
      value = *given;
    } else if (flag.takes == Takes::kValue || flag.takes == Takes::kOptionalValue) {
      const bool is_next_flag =
          at_ + 1 < words_.size() && words_[at_ + 1].size() > 1 && words_[at_ + 1][0] == '-';
      has_value = at_ + 1 < words_.size() &&
                  (flag.takes == Takes::kValue ? words_[at_ + 1] != "--" : !is_next_flag);
      if (has_value)
        value = words_[++at_];
      else if (flag.takes == Takes::kValue)
        return usage("the flag `" + shown + "` needs a value");
    }
    const auto override_with = [&](std::string_view variable) {
      flags_.overrides[std::string(variable)] = {value, shown};
    };
    switch (flag.effect) {
      case Effect::kFileMode:
        if (value != "read" && value != "write" && value != "local" &&
            value != "local-with-overrides")
          return usage("invalid --fs-mode value `" + value + "`",
                       "Use read, write, local or local-with-overrides.");
        override_with(flag.variable);
        break;
      case Effect::kOverride:
        override_with(flag.variable);
        break;
      case Effect::kNoOutgoing:
        override_with("MIRRORD_TCP_OUTGOING");
        override_with("MIRRORD_UDP_OUTGOING");
        break;
      case Effect::kConfigFile:
        flags_.config_file = has_value ? value : kDefaultFile;
        break;
      case Effect::kTimings:
        flags_.timings = true;
        break;
      case Effect::kHelp:
        flags_.wants_help = true;
        break;
      case Effect::kIgnored:
        break;
    }
    return {};
  }

  std::vector<std::string> words_;
  std::size_t at_ = 0;
  ExecFlags flags_;
};

}  // namespace

Result<ExecFlags> parse_exec_flags(int argc, const char* const* argv) {
  return Parser(argc, argv).run();
}

std::string exec_help() {
  std::string text =
      "Runs a program as if it ran in a target: with its files, environment, names and network.\n"
      "\n"
      "Usage: mirrord exec [FLAGS] [--] PROGRAM [ARGUMENTS]\n"
      "\n"
      "Flags:\n";
  for (const Flag& flag : kFlags) {
    std::string left = flag.letter != 0 ? std::string("  -") + flag.letter + ", " : "      ";
    left.append("--").append(flag.name);
    left.append(flag.takes == Takes::kValue           ? " VALUE"
                : flag.takes == Takes::kOptionalValue ? " [FILE]"
                : flag.takes == Takes::kOptionalEqual ? "[=BOOL]"
                                                      : "");
    left.resize(std::max<std::size_t>(left.size() + 2, 42), ' ');
    text.append(left).append(flag.help).append("\n");
  }
  return text +
         "\n"
         "A flag wins over its environment variable, that over the configuration file.\n"
         "`mirrord config keys` lists all keys with their variables.\n";
}

}  // namespace mirrord
