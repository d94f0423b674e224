// applets/config_commands.cpp — commands about the configuration: `config keys`, `config show`,
// `config schema`, `config reference`, `config explain-path`, `config explain-address`; and `extract`, which writes the hook out.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "applets/applet.h"
#include "applets/config/filters.h"
#include "applets/config/keys.h"
#include "applets/config/load.h"
#include "applets/config/path_mapping.h"
#include "applets/config/path_rules.h"
#include "applets/config/schema.h"
#include "applets/config/show.h"
#include "applets/exec.h"
#include "applets/exec_flags.h"
#include "applets/hook_file.h"
#include "applets/json_text.h"
#include "hook/image.h"

namespace mirrord {
namespace {

using config::RuleGroup;

int report_all(const std::vector<Error>& errors) {
  int code = 1;
  for (const Error& error : errors)
    code = report_error(error);
  return code;
}

// --- config explain-path ---

constexpr std::string_view kGroupNames[config::kGroupCount] = {
    "feature.fs.not_found", "feature.fs.read_write",   "feature.fs.read_only",
    "feature.fs.local",     "built-in not-found list", "built-in remote list",
    "built-in local list",  "feature.fs.mapping",
};

std::string_view decision_name(local::Decision decision) {
  switch (decision) {
    case local::Decision::kLocal:
      return "local";
    case local::Decision::kRemote:
      return "remote";
    case local::Decision::kNotFound:
      return "not found";
  }
  return "";
}

std::string_view mode_name(config::FileMode mode) {
  switch (mode) {
    case config::FileMode::kLocal:
      return "local";
    case config::FileMode::kLocalWithOverrides:
      return "localwithoverrides";
    case config::FileMode::kRead:
      return "read";
    case config::FileMode::kWrite:
      return "write";
  }
  return "";
}

bool rule_matches(const config::PathRule& rule, const std::string& path) {
  const std::vector<config::PathRule> one = {{rule.pattern, RuleGroup::kReadWrite}};
  const auto table =
      config::compile_paths(one, config::FileMode::kLocalWithOverrides, config::LetterCase::kFold);
  return table && config::evaluate_path(*table, path) != 0;
}

void explain_rules(const std::vector<config::PathRule>& rules, const std::string& path) {
  for (unsigned group = 0; group < config::kGroupCount; ++group) {
    for (const config::PathRule& rule : rules) {
      if (rule.group == static_cast<RuleGroup>(group) && rule_matches(rule, path))
        std::printf("  matches %s: %s\n", kGroupNames[group].data(), rule.pattern.c_str());
    }
  }
}

Status explain_path(const config::ResolvedConfig& config, const std::string& path) {
  const auto rules =
      config::path_rules(config.files, config::path_context(config::process_environment, {}));
  MIRRORD_TRY(table, config::compile_paths(rules, config.files.mode, config::LetterCase::kFold));
  MIRRORD_TRY(mapping, config::PathMapping::create(config.files.mapping));
  const std::string mapped =
      path.starts_with('/') ? mapping.map(path).value_or(path) : std::string(path);
  if (mapped != path)
    std::printf("mapped to: %s\n", mapped.c_str());
  const uint8_t outcome = config::evaluate_path(table, mapped);
  const bool is_relative = !path.starts_with('/');
  const auto shown = [&](local::Decision decision) {
    const bool stays = is_relative && decision == local::Decision::kRemote;
    return std::string(decision_name(stays ? local::Decision::kLocal : decision));
  };
  std::printf("reading: %s\nwriting: %s\nfile mode: %s%s\n",
              shown(local::read_decision(outcome)).c_str(),
              shown(local::write_decision(outcome)).c_str(), mode_name(config.files.mode).data(),
              is_relative ? "; a relative path is never remote" : "");
  explain_rules(rules, mapped);
  return {};
}

// --- config explain-address ---

std::string decide_filter(const config::AddressFilter& filter, config::FilterGrammar grammar,
                          const config::Destination& to) {
  for (const std::string& text : filter.entries) {
    const auto entry = config::parse_filter(text, grammar);
    if (entry && config::filter_matches(*entry, to))
      return (filter.side == config::FilterSide::kRemote ? "remote" : "local") +
             (" (matches `" + text + "`)");
  }
  if (filter.side == config::FilterSide::kRemote)
    return "local (not in the filter's remote list)";
  return filter.side == config::FilterSide::kLocal ? "remote (not in the filter's local list)"
                                                   : "remote";
}

Status explain_address(const config::ResolvedConfig& config, const std::string& text) {
  MIRRORD_TRY(entry, config::parse_filter(text, config::FilterGrammar::kOutgoing));
  config::Destination to;
  to.protocol = entry.rule.protocol;
  to.name = entry.name;
  to.family = entry.rule.family;
  std::copy(std::begin(entry.rule.address), std::end(entry.rule.address), to.address);
  to.port = entry.rule.port;
  const config::NetworkRules& network = config.network;
  if (!to.name.empty())
    std::printf("look-up: %s\n",
                network.dns
                    ? decide_filter(network.dns_filter, config::FilterGrammar::kDns, to).c_str()
                    : "local (DNS is switched off)");
  const auto connection = [&](local::FilterProtocol protocol, bool is_on) {
    to.protocol = protocol;
    return is_on ? decide_filter(network.outgoing_filter, config::FilterGrammar::kOutgoing, to)
                 : std::string("local (switched off)");
  };
  if (entry.rule.protocol != local::FilterProtocol::kUdp)
    std::printf("TCP: %s\n", connection(local::FilterProtocol::kTcp, network.outgoing_tcp).c_str());
  if (entry.rule.protocol != local::FilterProtocol::kTcp)
    std::printf("UDP: %s\n", connection(local::FilterProtocol::kUdp, network.outgoing_udp).c_str());
  if (network.ignore_localhost)
    std::puts("loopback addresses: local (feature.network.outgoing.ignore_localhost)");
  return {};
}

void print_keys() {
  for (const config::Key& key : config::all_keys()) {
    if ((key.marks & (config::kOperator | config::kDeprecated)) != 0)
      continue;
    std::string line = std::string(key.path) + "  (" + std::string(key.type) + ")";
    for (const auto& [label, value] :
         {std::pair{"default", key.default_text}, std::pair{"env", key.environment},
          std::pair{"flag", key.flag}, std::pair{"one of", key.words}})
      if (!value.empty())
        line += std::string("  ") + label + " " + std::string(value);
    if (!key.meaning.empty())
      line += "\n    " + std::string(key.meaning);
    std::puts(line.c_str());
  }
}

// --- config show ---

void print_shown(const std::vector<config::ShownValue>& values, bool shows_defaults) {
  std::size_t width = 0;
  for (const config::ShownValue& value : values) {
    if (!value.is_default || shows_defaults)
      width = std::max(width, value.path.size() + value.value.size() + 3);
  }
  constexpr std::size_t kWidest = 72;
  for (const config::ShownValue& value : values) {
    if (value.is_default && !shows_defaults)
      continue;
    const std::string line = std::string(value.path) + " = " + value.value;
    std::printf("%-*s  # %s\n", static_cast<int>(std::min(width, kWidest)), line.c_str(),
                value.source.c_str());
  }
}

void print_shown_json(const std::vector<config::ShownValue>& values, bool shows_defaults) {
  const char* separator = "[\n";
  for (const config::ShownValue& value : values) {
    if (value.is_default && !shows_defaults)
      continue;
    std::printf("%s  {\"key\":%s,\"value\":%s,\"source\":%s}", separator,
                json_quoted(value.path).c_str(), value.value.c_str(),
                json_quoted(value.source).c_str());
    separator = ",\n";
  }
  std::puts(*separator == '[' ? "[]" : "\n]");
}

constexpr char kConfigHelp[] =
    "Explains the configuration.\n"
    "\n"
    "Usage: mirrord config keys                          list all keys\n"
    "       mirrord config schema                        a JSON schema of them, for editors\n"
    "       mirrord config reference                     the same as Markdown\n"
    "       mirrord config show [--all] [--json] [FLAGS]  each value and where it comes from\n"
    "       mirrord config explain-path [FLAGS] PATH...  remote or local, and by which rule\n"
    "       mirrord config explain-address [FLAGS] [tcp://|udp://]HOST[:PORT]...\n"
    "\n"
    "FLAGS are those of mirrord exec; -f FILE names the configuration.\n";

int explain(int argc, char** argv) {
  const std::string_view what = argv[0];
  auto flags = parse_exec_flags(argc, argv);
  if (!flags)
    return report_error(flags.error());
  if (flags->wants_help || flags->command.empty()) {
    std::fputs(kConfigHelp, flags->wants_help ? stdout : stderr);
    return flags->wants_help ? 0 : 2;
  }
  const auto config = config::load({.file = flags->config_file, .overrides = flags->overrides});
  if (!config)
    return report_all(config.error());
  for (const std::string& word : flags->command) {
    const Status status =
        what == "explain-path" ? explain_path(*config, word) : explain_address(*config, word);
    if (!status)
      return report_error(status.error());
  }
  return 0;
}

int show(int argc, char** argv) {
  bool shows_defaults = false;
  bool is_json = false;
  std::vector<const char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--all")
      shows_defaults = true;
    else if (word == "--json")
      is_json = true;
    else
      rest.push_back(argv[i]);
  }
  auto flags = parse_exec_flags(static_cast<int>(rest.size()), rest.data());
  if (!flags)
    return report_error(flags.error());
  if (flags->wants_help || !flags->command.empty()) {
    std::fputs(kConfigHelp, flags->wants_help ? stdout : stderr);
    return flags->wants_help ? 0 : 2;
  }
  config::LoadRequest request{.file = flags->config_file, .overrides = flags->overrides};
  request.is_target_final = false;
  const auto values = config::show(request);
  if (!values)
    return report_all(values.error());
  (is_json ? print_shown_json : print_shown)(*values, shows_defaults);
  return 0;
}

}  // namespace

int config_main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "keys") {
    print_keys();
    return 0;
  }
  if (what == "schema" || what == "reference") {
    std::fputs((what == "schema" ? config::json_schema() : config::key_reference()).c_str(),
               stdout);
    return 0;
  }
  if (what == "show")
    return show(argc - 1, argv + 1);
  if (what == "explain-path" || what == "explain-address")
    return explain(argc - 1, argv + 1);
  const bool wants_help = what == "--help" || what == "-h";
  std::fputs(kConfigHelp, wants_help ? stdout : stderr);
  return wants_help ? 0 : 2;
}

int extract_main(int argc, char** argv) {
  if (argc != 2)
    return report_error(
        {ErrorCode::kUsage, "one directory is expected", "Usage: mirrord extract DIRECTORY"});
  const auto path = extract_file(hook_image(), argv[1], "libmirrord_layer.so");
  if (!path)
    return report_error(path.error());
  std::printf("%s\n", path->c_str());
  return 0;
}

}  // namespace mirrord
