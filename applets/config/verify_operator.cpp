// applets/config/verify_operator.cpp — what an operator would be asked for: queues, database branches, preview environments.
// Nothing here acts on it but on a local Redis (local_redis.cpp); what is wrong is said before anybody does.
#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "applets/config/pattern.h"
#include "applets/config/resolve.h"
#include "net/base64.h"

namespace mirrord::config {
namespace {

// One object of the file, with its path for messages.
struct Place {
  const Node* node;
  std::string path;

  [[nodiscard]] const Node* get(std::string_view key) const { return node->set_member(key); }
  [[nodiscard]] std::string text(std::string_view key) const { return node->at(key).text; }
  [[nodiscard]] std::string key(std::string_view name) const {
    return path + "." + std::string(name);
  }
};

std::optional<std::uint64_t> number_of(const std::string& text) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  return error == std::errc() && rest == end ? std::optional(number) : std::nullopt;
}

class Checks {
 public:
  explicit Checks(Values& values) : values_(values) {}

  void queues();
  void branches();
  void preview();

 private:
  void refuse(const Place& place, std::string_view key, const std::string& why, std::string hint) {
    const Node* node = place.get(key);
    values_.error_at(node == nullptr ? *place.node : *node,
                     node == nullptr ? place.path : place.key(key), why, std::move(hint));
  }
  // Two keys of which one has to go.
  void exclude(const Place& place, std::string_view one, std::string_view other) {
    if (place.get(one) != nullptr && place.get(other) != nullptr)
      refuse(place, one, "conflicts with `" + place.key(other) + "`", "Keep one of the two.");
  }
  void require(const Place& place, std::string_view key, const std::string& why) {
    if (place.get(key) == nullptr)
      refuse(place, key, "`" + std::string(key) + "` is missing" + why, "Add it.");
  }
  void queue(const Place& place);
  void branch(const Place& place);
  void migrations(const Place& branch);
  void mount(const Place& place);

  Values& values_;
};

// Objects of a list, or of a map, by their paths.
std::vector<Place> places_in(const Node* node, const std::string& path) {
  std::vector<Place> places;
  if (node == nullptr)
    return places;
  for (std::size_t i = 0; i < node->items.size(); ++i)
    places.push_back({&node->items[i], path + "[" + std::to_string(i) + "]"});
  for (const Node::Member& member : node->members)
    places.push_back({&member.value, path + "." + member.key});
  std::erase_if(places, [](const Place& place) { return place.node->type != Node::Type::kObject; });
  return places;
}

void Checks::queues() {
  const std::string path = "feature.split_queues";
  for (const Place& place : places_in(values_.node(path), path))
    queue(place);
}

void Checks::queue(const Place& place) {
  require(place, "queue_type", "");
  const std::string type = place.text("queue_type");
  if (const Node* filter = place.get("message_filter")) {
    for (const Node::Member& attribute : filter->members) {
      if (const Status checked = check_pattern(attribute.value.text); !checked)
        values_.error_at(attribute.value, place.key("message_filter." + attribute.key),
                         checked.error().what, checked.error().hint);
    }
  }
  // The operator's jq knows more than ours: only it can tell whether a program is right.
  if (type == "RMQ" && place.get("jq_filter") != nullptr)
    refuse(place, "jq_filter", "has no meaning for RMQ", "Use `message_filter`.");
  if (type == "RMQ")
    require(place, "message_filter", ", which RMQ needs");
  const Node* protobuf = place.get("payload_protobuf");
  if (protobuf == nullptr)
    return;
  const Place payload{protobuf, place.key("payload_protobuf")};
  if (type != "Kafka")
    refuse(place, "payload_protobuf", "has a meaning for Kafka only", "Remove it.");
  require(place, "jq_filter", ", which `payload_protobuf` is for");
  require(payload, "message_type", "");
  if (payload.get("descriptor_base64") == nullptr)
    require(payload, "schema_file", ", and `descriptor_base64` too");
}

void Checks::branches() {
  const std::string path = "feature.db_branches";
  std::set<std::string> variables;
  for (const Place& place : places_in(values_.node(path), path)) {
    branch(place);
    const Node* connection = place.get("connection");
    if (connection == nullptr)
      continue;
    const Node* url = connection->set_member("url");
    const Node& source = url != nullptr ? *url : connection->at("host");  // the latter of a Redis
    if (source.type == Node::Type::kString)
      variables.insert(source.text);
    for (const Node& item : source.items)
      variables.insert(item.text);
    if (const Node* variable = source.set_member("variable"))
      variables.insert(variable->text);
  }
  for (const auto& [name, value] : values_.map("feature.env.override")) {
    if (variables.contains(name))
      values_.error_of("feature.env.override", value,
                       "`" + name + "` is the connection of a database branch, which sets it",
                       "Remove one of the two.");
  }
}

void Checks::branch(const Place& place) {
  const std::string engine = place.text("type");
  const bool is_local = place.text("location") == "local";
  require(place, "type", "");
  exclude(place, "ttl_mins", "ttl_secs");
  exclude(place, "version", "image");
  if (!is_local)
    require(place, "connection", "");
  if (is_local && engine != "redis")
    refuse(place, "location", "only redis can be local", "Remove it.");
  if (engine == "generic") {
    require(place, "image", ", which a generic branch needs");
    require(place, "port", ", which a generic branch needs");
    if (place.get("version") != nullptr)
      refuse(place, "version", "has no meaning for a generic branch", "Put it into `image`.");
    const Node* connection = place.get("connection");
    if (connection != nullptr && connection->set_member("params") == nullptr)
      refuse(place, "connection", "must have `params`: this branch is generic",
             "Name host and port there.");
    if (const Node* variables = place.get("env")) {
      for (const Node::Member& variable : variables->members) {
        if (variable.key.starts_with("MIRRORD_PARAM_") || variable.key == "MIRRORD_BRANCH_ID" ||
            variable.key == "MIRRORD_DATABASE_NAME")
          values_.error_at(variable.value, place.key("env." + variable.key),
                           "the operator sets this variable", "Use another name.");
      }
    }
  }
  if (engine == "redis" && !is_local) {
    const std::string name = place.text("name");
    if (!name.empty() && number_of(name).value_or(~std::uint64_t{0}) > 0xFFFF'FFFF)
      refuse(place, "name", "expected the number of a database, found `" + name + "`", "");
  }
  constexpr std::array<std::string_view, 3> kWithoutSchema = {"dynamodb", "mongodb", "redis"};
  if (const Node* copy = place.get("copy");
      copy != nullptr && std::ranges::find(kWithoutSchema, engine) != kWithoutSchema.end()) {
    const Place copying{copy, place.key("copy")};
    if (copying.text("mode") == "schema")
      refuse(copying, "mode", engine + " has no schema", "Use empty or all.");
  }
  if (place.get("migrations") != nullptr)
    migrations(place);
}

void Checks::migrations(const Place& branch) {
  const Place place{branch.get("migrations"), branch.key("migrations")};
  require(branch, "name", ", which `migrations` needs");
  const std::string flavor = place.text("flavor");
  if (flavor == "container")
    require(place, "image", "");
  if (flavor != "flyway")
    return;
  exclude(place, "path", "locations");
  if (place.get("path") == nullptr && place.get("locations") == nullptr)
    refuse(place, "path", "neither `path` nor `locations` is there", "Add one of the two.");
  if (place.get("locations") != nullptr)
    require(place, "image", ", in which `locations` are");
}

void Checks::preview() {
  const std::string path = "feature.preview";
  const Node* node = values_.node(path);
  if (node == nullptr || node->type != Node::Type::kObject)
    return;
  const Place place{node, path};
  exclude(place, "ttl_mins", "ttl_secs");
  if (const Node* labels = place.get("labels"))
    exclude({labels, place.key("labels")}, "include", "exclude");
  if (const Node* idle = place.get("idle")) {
    const Place idling{idle, place.key("idle")};
    if (const auto sleep = number_of(idling.text("sleep_after_secs")); sleep && *sleep < 30)
      refuse(idling, "sleep_after_secs", "must not be below 30", "");
    if (number_of(idling.text("wake_timeout_secs")) == 0U)
      refuse(idling, "wake_timeout_secs", "must be above 0", "");
  }
  for (const std::string_view list : {"config_mounts", "secret_mounts"}) {
    for (const Place& one : places_in(place.get(list), place.key(list)))
      mount(one);
  }
}

void Checks::mount(const Place& place) {
  exclude(place, "payload", "from_file");
  const Node* payload = place.get("payload");
  if (payload == nullptr && place.get("from_file") == nullptr)
    refuse(place, "payload", "neither `payload` nor `from_file` is there", "Add one of the two.");
  if (payload != nullptr)
    require(place, "type", ": is `payload` text or binary?");
  if (place.get("from_file") != nullptr && place.get("type") != nullptr)
    refuse(place, "type", "has no meaning with `from_file`", "Remove it.");
  if (payload != nullptr && place.text("type") == "binary" && !net::from_base64(payload->text))
    refuse(place, "payload", "is not base64, as `binary` needs", "");
}

}  // namespace

void verify_for_operator(Values& values) {
  Checks checks(values);
  checks.queues();
  checks.branches();
  checks.preview();
}

}  // namespace mirrord::config
