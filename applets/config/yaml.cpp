// applets/config/yaml.cpp — turns the values of a YAML text into those of a configuration file.
#include "applets/config/yaml.h"

#include <utility>

#include "net/yaml.h"

namespace mirrord::config {
namespace {

using net::YamlNode;

Node::Type type_of(YamlNode::Type type) {
  switch (type) {
    case YamlNode::Type::kBool:
      return Node::Type::kBool;
    case YamlNode::Type::kNumber:
      return Node::Type::kNumber;
    case YamlNode::Type::kString:
      return Node::Type::kString;
    case YamlNode::Type::kSequence:
      return Node::Type::kArray;
    case YamlNode::Type::kMapping:
      return Node::Type::kObject;
    default:
      return Node::Type::kNull;
  }
}

Node converted(YamlNode from) {
  Node node;
  node.type = type_of(from.type);
  node.boolean = from.boolean;
  node.text = std::move(from.text);
  node.offset = from.offset;
  for (YamlNode& item : from.items) {
    node.items.push_back(converted(std::move(item)));
  }
  for (YamlNode::Member& member : from.members) {
    node.members.push_back(
        {std::move(member.key), member.offset, converted(std::move(member.value))});
  }
  return node;
}

}  // namespace

Result<Node> parse_yaml(std::string_view text, std::string_view name) {
  MIRRORD_TRY(documents, net::parse_yaml(text, name));
  if (documents.size() > 1)
    return fail(ErrorCode::kConfig,
                std::string(name) + ":" + position_text(text, documents[1].offset) +
                    ": a configuration is one document, and here a second one begins");
  Node root;
  if (!documents.empty())
    root = converted(std::move(documents.front()));
  if (root.type == Node::Type::kNull)
    root.type = Node::Type::kObject;
  return root;
}

}  // namespace mirrord::config
