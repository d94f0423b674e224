// k8s/selector.cpp — selectors of workloads as the text that list requests take.
#include "k8s/resolve_target.h"

namespace mirrord::k8s {
namespace {

std::string expression_text(JsonView expression) {
  const std::string key(expression["key"].text());
  const std::string_view kind = expression["operator"].text();
  if (kind == "Exists")
    return key;
  if (kind == "DoesNotExist")
    return "!" + key;
  std::string values;
  for (const JsonView value : expression["values"])
    values += (values.empty() ? "" : ",") + std::string(value.text());
  if (kind == "In")
    return key + " in (" + values + ")";
  if (kind == "NotIn")
    return key + " notin (" + values + ")";
  return {};
}

}  // namespace

std::string label_map_text(JsonView labels) {
  std::string text;
  for (const JsonView label : labels)
    text += (text.empty() ? "" : ",") + std::string(label.key()) + "=" + std::string(label.text());
  return text;
}

std::string selector_text(JsonView selector) {
  std::string text = label_map_text(selector["matchLabels"]);
  for (const JsonView expression : selector["matchExpressions"]) {
    if (const std::string part = expression_text(expression); !part.empty())
      text += (text.empty() ? "" : ",") + part;
  }
  return text;
}

}  // namespace mirrord::k8s
