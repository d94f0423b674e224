// k8s/yaml.cpp — turns the values of a YAML text into JSON values.
#include "k8s/yaml.h"

#include <utility>

namespace mirrord::k8s {

Json to_json(const net::YamlNode& node) {
  using Type = net::YamlNode::Type;
  switch (node.type) {
    case Type::kNull:
      return {};
    case Type::kBool:
      return Json(node.boolean);
    case Type::kNumber: {
      auto number = Json::parse(node.text, "a number");
      return number ? std::move(*number) : Json(node.text);
    }
    case Type::kString:
      return Json(node.text);
    case Type::kSequence: {
      Json list = Json::array();
      for (const net::YamlNode& item : node.items) {
        list.push(to_json(item));
      }
      return list;
    }
    case Type::kMapping: {
      Json object = Json::object();
      for (const net::YamlNode::Member& member : node.members) {
        object.add(member.key, to_json(member.value));
      }
      return object;
    }
  }
  return {};
}

Result<std::vector<Json>> parse_yaml_documents(std::string_view text, std::string_view what) {
  MIRRORD_TRY(documents, net::parse_yaml(text, what));
  std::vector<Json> values;
  for (const net::YamlNode& document : documents) {
    values.push_back(to_json(document));
  }
  return values;
}

}  // namespace mirrord::k8s
