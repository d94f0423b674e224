// applets/list.cpp — `mirrord ls`: the targets of a namespace, as JSON for people and editors.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "applets/applet.h"
#include "applets/config/load.h"
#include "applets/exec.h"
#include "applets/json_error.h"
#include "applets/json_text.h"
#include "k8s/list_targets.h"
#include "net/loop.h"

namespace mirrord {
namespace {

using k8s::TargetKind;

std::string help_text() {
  std::string words;
  for (const k8s::KindInfo& kind : k8s::target_kinds())
    words += (words.empty() ? "" : ", ") + std::string(kind.word);
  return "Lists the targets of a namespace as a JSON array.\n"
         "\n"
         "Usage: mirrord ls [FLAGS]\n"
         "\n"
         "Flags:\n"
         "  -n, --namespace NAME    the namespace; else target.namespace, else the context's\n"
         "  -t, --target-type KIND  only this kind; may be repeated. Without it pods, deployments\n"
         "                          and rollouts, as far as they are ready\n"
         "  -f, --config-file FILE  configuration, for kubeconfig, kube_context and the like\n"
         "      --context NAME      context of the kubeconfig\n"
         "  -o, --output json       accepted; there is no other form\n"
         "  -h, --help              show this text\n"
         "\n"
         "Kinds: " +
         words +
         ".\n"
         "MIRRORD_LS_TARGET_TYPES holds a JSON array of kinds; MIRRORD_LS_RICH_OUTPUT=true adds "
         "the\n"
         "cluster's namespaces to the output.\n";
}

struct Flags {
  config::LoadRequest load;
  std::optional<std::vector<std::string>> types;
  bool wants_help = false;
};

std::unexpected<Error> usage(std::string what) {
  return fail(ErrorCode::kUsage, std::move(what), "Run 'mirrord ls --help' for the flags.");
}

struct FlagRow {
  std::string_view name, letter, variable;
};
constexpr FlagRow kValueFlags[] = {
    {"--namespace", "-n", "MIRRORD_TARGET_NAMESPACE"},
    {"--context", "", "MIRRORD_KUBE_CONTEXT"},
    {"--config-file", "-f", ""},
    {"--target-type", "-t", ""},
    {"--output", "-o", ""},
};

Status apply(Flags& flags, const FlagRow& row, const std::string& value) {
  if (!row.variable.empty())
    flags.load.overrides[std::string(row.variable)] = {value, std::string(row.name)};
  else if (row.letter == "-f")
    flags.load.file = value;
  else if (row.letter == "-t") {
    if (!flags.types)
      flags.types.emplace();
    flags.types->push_back(value);
  } else if (value != "json")
    return usage("unknown output form `" + value + "`; there is json only");
  return {};
}

Result<Flags> parse_flags(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    if (word == "--help" || word == "-h") {
      flags.wants_help = true;
      return flags;
    }
    std::optional<std::string> value;
    if (const std::size_t equals = word.find('='); word.starts_with("--") && equals != word.npos) {
      value = word.substr(equals + 1);
      word.resize(equals);
    } else if (word.starts_with('-') && !word.starts_with("--") && word.size() > 2) {
      value = word.substr(word[2] == '=' ? 3 : 2);
      word.resize(2);
    }
    const auto row = std::ranges::find_if(kValueFlags, [&](const FlagRow& flag) {
      return flag.name == word || (!flag.letter.empty() && flag.letter == word);
    });
    if (row == std::end(kValueFlags))
      return usage("unexpected argument `" + word + "`");
    if (!value && i + 1 == argc)
      return usage("the flag `" + word + "` needs a value");
    MIRRORD_CHECK_STATUS(apply(flags, *row, value ? *value : std::string(argv[++i])));
  }
  return flags;
}

Result<std::vector<std::string>> types_from_environment(const std::string& text) {
  const auto wrong = [] {
    return fail(ErrorCode::kUsage, "MIRRORD_LS_TARGET_TYPES is no JSON array of target kinds",
                R"(Write it as ["deployment","pod"].)");
  };
  const auto list = k8s::Json::parse(text, "MIRRORD_LS_TARGET_TYPES");
  if (!list || !list->view().is_array())
    return wrong();
  std::vector<std::string> words;
  for (const k8s::JsonView item : list->view()) {
    if (!item.is_string())
      return wrong();
    words.emplace_back(item.text());
  }
  return words;
}

Result<std::vector<TargetKind>> kinds_to_list(const Flags& flags) {
  std::optional<std::vector<std::string>> words = flags.types;
  if (const auto text = config::process_environment("MIRRORD_LS_TARGET_TYPES"); !words && text) {
    MIRRORD_TRY(given, types_from_environment(*text));
    words = std::move(given);
  }
  if (!words || words->empty())
    return std::vector{TargetKind::kPod, TargetKind::kDeployment, TargetKind::kRollout};
  std::vector<TargetKind> kinds;
  for (const std::string& word : *words) {
    const k8s::KindInfo* kind = k8s::find_kind_word(word);
    if (kind == nullptr)
      return usage("`" + word + "` is no kind of target that can be listed");
    if (std::ranges::find(kinds, kind->kind) == kinds.end())
      kinds.push_back(kind->kind);
  }
  return kinds;
}

std::string json_list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts)
    out.append(out.size() > 1 ? "," : "").append(json_quoted(text));
  return out + "]";
}

std::string rich_output(const k8s::TargetList& list, const std::string& current) {
  std::string targets = "[";
  for (const std::string& target : list.targets)
    targets.append(targets.size() > 1 ? "," : "")
        .append("{\"path\":" + json_quoted(target) + ",\"available\":true}");
  return "{\"targets\":" + targets + "],\"current_namespace\":" + json_quoted(current) +
         ",\"namespaces\":" + json_list(list.namespaces) + "}";
}

Result<std::string> list(const Flags& flags) {
  MIRRORD_TRY(kinds, kinds_to_list(flags));
  auto config = config::load(flags.load);
  if (!config)
    return std::unexpected(config_error(config.error()));
  MIRRORD_TRY(access, k8s::load_client_config(config->cluster));
  const std::string current =
      config->target.name_space.empty() ? access.name_space : config->target.name_space;
  net::Loop loop;
  k8s::ApiClient client(loop, std::move(access));
  k8s::ListRequest request{.name_space = current, .kinds = std::move(kinds)};
  request.wants_namespaces =
      config::process_environment("MIRRORD_LS_RICH_OUTPUT").value_or("") == "true";
  MIRRORD_TRY(found, k8s::list_targets(client, request));
  // Editors take whatever stands on standard error for the error.
  const bool is_for_editor =
      config::process_environment("MIRRORD_PROGRESS_MODE").value_or("") == "json";
  for (const Error& failure : found.failures)
    if (!is_for_editor)
      std::fputs(("Warning: " + failure.what + "\n").c_str(), stderr);
  if (!request.wants_namespaces)
    return json_list(found.targets);
  if (found.namespaces.empty())
    found.namespaces.push_back(current);
  return rich_output(found, current);
}

}  // namespace

int list_main(int argc, char** argv) {
  auto flags = parse_flags(argc, argv);
  if (!flags)
    return report_error_to_editor(flags.error());
  if (flags->wants_help) {
    std::fputs(help_text().c_str(), stdout);
    return 0;
  }
  flags->load.is_target_final = false;
  if (flags->load.file.empty())
    flags->load.file = config::process_environment("MIRRORD_CONFIG_FILE").value_or("");
  const auto output = list(*flags);
  if (!output)
    return report_error_to_editor(output.error());
  std::puts(output->c_str());
  return 0;
}

}  // namespace mirrord
