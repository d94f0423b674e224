// applets/config_commands.cpp — commands about the configuration: `config keys`, `config show`,
// `config schema`, `config reference`, `config explain-path`, `config explain-address`; and `extract`, which writes the hook out.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "applets/applet.h"
#include "applets/config/filters.h"
#include "applets/config/keys.h"
#include "applets/config/path_mapping.h"
#include "applets/config/path_rules.h"
#include "applets/config/schema.h"
#include "applets/config/show.h"
#include "applets/exec.h"
#include "applets/hook_file.h"
#include "applets/json_text.h"
#include "applets/session_flags.h"
#include "hook/image.h"

namespace mirrord {
namespace {

using config::RuleGroup;

constexpr Flag kShowFlags[] = {
    {"all", 0, Takes::kNothing, "", "", "", "also the values that are defaults"},
    {"json", 0, Takes::kNothing, "", "", "", "as a JSON array of {key, value, source}"},
};

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

int explain(const Command& command, int argc, char** argv) {
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  const bool is_path = command.name.ends_with("path");
  if (line->words.empty())
    return report_error(
        usage_error(command, is_path ? "no path is given" : "no address is given").error());
  const auto config = load_for(*line);
  if (!config)
    return report_errors(config.error());
  for (const std::string& word : line->words) {
    const Status status = is_path ? explain_path(*config, word) : explain_address(*config, word);
    if (!status)
      return report_error(status.error());
  }
  return 0;
}

int show(const Command& command, int argc, char** argv) {
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  config::LoadRequest request = load_request(*line);
  request.is_target_final = false;
  const auto values = config::show(request);
  if (!values)
    return report_errors(values.error());
  (line->has("json") ? print_shown_json : print_shown)(*values, line->has("all"));
  return 0;
}

int print(const Command& command, int argc, char** argv) {
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  if (command.name == "config keys")
    print_keys();
  else
    std::fputs(
        (command.name == "config schema" ? config::json_schema() : config::key_reference()).c_str(),
        stdout);
  return 0;
}

}  // namespace

std::vector<Command> config_commands() {
  return {
      {.name = "config explain-address",
       .purpose = "Says for each address whether a connection to it leaves from the target, and by "
                  "which rule.",
       .usages = {"[FLAGS] [tcp://|udp://]HOST[:PORT]..."},
       .flags = {{"Flags", session_flags()}},
       .examples = {{"mirrord config explain-address -f mirrord.json db.internal:5432", ""}},
       .notes = {},
       .words = Words::kAny},
      {.name = "config explain-path",
       .purpose = "Says for each path whether the file is the target's or this machine's, and by "
                  "which rule.",
       .usages = {"[FLAGS] PATH..."},
       .flags = {{"Flags", session_flags()}},
       .examples = {{"mirrord config explain-path -f mirrord.json /etc/hosts /app/data", ""}},
       .notes = {},
       .words = Words::kAny},
      {.name = "config keys",
       .purpose = "Lists all keys of the configuration, with type, default, variable and flag.",
       .usages = {""},
       .flags = {},
       .examples = {},
       .notes = {}},
      {.name = "config reference",
       .purpose = "Prints the keys as Markdown: docs/configuration.md.",
       .usages = {""},
       .flags = {},
       .examples = {},
       .notes = {}},
      {.name = "config schema",
       .purpose = "Prints a JSON schema of the configuration, for editors.",
       .usages = {""},
       .flags = {},
       .examples = {{"mirrord config schema > mirrord-schema.json", ""}},
       .notes = {}},
      {.name = "config show",
       .purpose = "Prints each value of the configuration and where it comes from.",
       .usages = {"[FLAGS]"},
       .flags = {{"Output", kShowFlags}, {"Flags", session_flags()}},
       .examples = {{"mirrord config show -f mirrord.json --steal", ""}},
       .notes = {}},
  };
}

int config_main(int argc, char** argv) {
  const std::vector<Command> commands = config_commands();
  const auto command = choose_subcommand(commands, argc, argv, report_error);
  if (!command)
    return command.error();
  const std::string_view name = (*command)->name;
  const auto run = name == "config show"                ? show
                   : name.starts_with("config explain") ? explain
                                                        : print;
  return run(**command, argc - 1, argv + 1);
}

std::vector<Command> extract_commands() {
  return {{.name = "extract",
           .purpose =
               "Writes the hook library to DIRECTORY as libmirrord_layer.so and prints its path.",
           .usages = {"DIRECTORY"},
           .flags = {},
           .examples = {},
           .notes = {},
           .words = Words::kAny}};
}

int extract_main(int argc, char** argv) {
  const Command command = extract_commands().front();
  const auto line = read_command_line(command, argc, argv, report_error);
  if (!line)
    return line.error();
  if (line->words.size() != 1)
    return report_error(usage_error(command, "one directory is expected").error());
  const auto path = extract_file(hook_image(), line->words[0], "libmirrord_layer.so");
  if (!path)
    return report_error(path.error());
  std::printf("%s\n", path->c_str());
  return 0;
}

}  // namespace mirrord
