// applets/config/http_filter.cpp — feature.network.incoming.http_filter: which HTTP requests.
#include "applets/http_filter.h"

#include <algorithm>
#include <array>

#include "applets/config/resolve.h"
#include "proto/text.h"

namespace mirrord::config {
namespace {

using proto::HttpFilter;

constexpr std::string_view kBase = "feature.network.incoming.http_filter";

std::string key(std::string_view name) {
  return std::string(kBase) + "." + std::string(name);
}

// A text, where it stands and what it is called in messages.
struct Text {
  std::string text;
  std::string path;
  const Node* node = nullptr;  // null: from a flag or a variable
};

class Resolver {
 public:
  explicit Resolver(Values& values) : values_(values) {}

  std::optional<HttpFilter> run() {
    std::vector<HttpFilter> found;
    std::string given;  // their names
    std::size_t count = 0;
    const auto note = [&](std::string_view name) {
      given += (count++ == 0 ? "`" : ", `") + std::string(name) + "`";
    };
    for (const auto& [name, make] : kTexts) {
      if (const auto text = text_of(name)) {
        note(name);
        add(found, checked(*text, make(*text, *this)));
      }
    }
    if (const Node* node = values_.node(key("body_filter"))) {
      note("body_filter");
      add(found, body(*node, key("body_filter")));
    }
    for (const std::string_view name : {"all_of", "any_of"}) {
      if (const Node* node = values_.node(key(name))) {
        note(name);
        add(found, composite(*node, name == "all_of", key(name)));
      }
    }
    if (count > 1) {
      values_.error(kBase, "has more than one filter: " + given,
                    R"(Keep one, or join them: "all_of": [{"header": "…"}, {"path": "…"}].)");
      return std::nullopt;
    }
    return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
  }

 private:
  using Make = std::optional<HttpFilter> (*)(const Text&, Resolver&);
  struct Kind {
    std::string_view name;
    Make make;
  };

  static std::optional<HttpFilter> header(const Text& text, Resolver&) {
    return HttpFilter::make<"Header">(text.text);
  }
  static std::optional<HttpFilter> path(const Text& text, Resolver&) {
    return HttpFilter::make<"Path">(text.text);
  }
  static std::optional<HttpFilter> jq(const Text& text, Resolver&) {
    return HttpFilter::make<"HeaderJq">(text.text);
  }
  static std::optional<HttpFilter> method(const Text& text, Resolver& self) {
    if (!text.text.empty() && !proto::is_http_token(text.text)) {
      self.error(text, "`" + text.text + "` is no HTTP method", "Write one method, such as GET.");
      return std::nullopt;
    }
    for (std::size_t i = 0; i < proto::HttpMethodFilter::kNames.size(); ++i) {
      const std::string_view name = proto::HttpMethodFilter::kNames[i];
      proto::HttpMethodFilter filter;
      if (name == "Other" || !net::http::equals_ignoring_case(name, text.text))
        continue;
      filter.reset_to(i);
      return HttpFilter::make<"Method">(std::move(filter));
    }
    return HttpFilter::make<"Method">(proto::HttpMethodFilter::make<"Other">(text.text));
  }

  static constexpr std::array<Kind, 4> kTexts{{{"header_filter", header},
                                               {"path_filter", path},
                                               {"method_filter", method},
                                               {"header_filter_jq", jq}}};

  static void add(std::vector<HttpFilter>& filters, std::optional<HttpFilter> filter) {
    if (filter)
      filters.push_back(std::move(*filter));
  }

  void error(const Text& text, const std::string& why, std::string hint = {}) {
    if (text.node != nullptr)
      values_.error_at(*text.node, text.path, why, std::move(hint));
    else
      values_.error(text.path, why, std::move(hint));
  }

  std::optional<Text> text_of(std::string_view name) {
    Text text{{}, key(name), values_.node(key(name))};
    if (const auto outside = values_.outside(text.path)) {
      text.text = outside->text;
      text.node = nullptr;
      return text;
    }
    if (text.node == nullptr)
      return std::nullopt;
    text.text = text.node->text;
    return text;
  }

  // Nothing, and an error, if the filter is empty or does not compile.
  std::optional<HttpFilter> checked(const Text& text, std::optional<HttpFilter> filter) {
    if (!filter)
      return std::nullopt;
    if (text.text.empty()) {
      error(text, "must not be empty", "Remove it, or write `.*` for an expression that fits all.");
      return std::nullopt;
    }
    if (auto compiled = CompiledHttpFilter::compile(*filter); !compiled) {
      error(text, compiled.error().what, compiled.error().hint);
      return std::nullopt;
    }
    return filter;
  }

  // {"body": "json", "query": …, "matches": …}; each part is checked where it stands.
  std::optional<HttpFilter> body(const Node& node, const std::string& path) {
    proto::HttpBodyFilterJson json{"$", ""};
    bool is_good = true;
    for (const auto& [name, target] :
         {std::pair{"query", &json.query}, std::pair{"matches", &json.matches}}) {
      const Node* part = node.set_member(name);
      if (part == nullptr) {
        values_.error_at(node, path, std::string("needs `") + name + "`",
                         R"(Write {"body": "json", "query": "$.a.b", "matches": "^x$"}.)");
        is_good = false;
        continue;
      }
      const Text text{part->text, path + "." + name, part};
      proto::HttpBodyFilterJson alone{target == &json.query ? part->text : "$",
                                      target == &json.query ? "" : part->text};
      is_good = checked(text, make_body(std::move(alone))).has_value() && is_good;
      *target = part->text;
    }
    return is_good ? std::optional(make_body(std::move(json))) : std::nullopt;
  }

  static HttpFilter make_body(proto::HttpBodyFilterJson json) {
    return HttpFilter::make<"Body">(proto::HttpBodyFilter::make<"Json">(std::move(json)));
  }

  std::optional<HttpFilter> composite(const Node& list, bool all, const std::string& path) {
    if (list.items.empty()) {
      values_.error_at(list, path, "must not be an empty list",
                       R"(Remove it, or write [{"header": "^x-user: me$"}].)");
      return std::nullopt;
    }
    proto::HttpFilterComposite composite{all, {}};
    for (std::size_t i = 0; i < list.items.size(); ++i)
      add(composite.filters, part(list.items[i], path + "[" + std::to_string(i) + "]"));
    return HttpFilter::make<"Composite">(std::move(composite));
  }

  // {"header": …}, {"path": …}, {"method": …}, {"query": …} (jq), or a body filter.
  std::optional<HttpFilter> part(const Node& node, const std::string& path_of_part) {
    if (node.set_member("body") != nullptr || node.set_member("matches") != nullptr)
      return body(node, path_of_part);
    constexpr Kind kParts[] = {
        {"header", header}, {"path", path}, {"method", method}, {"query", jq}};
    if (node.members.size() == 1) {
      for (const auto& [name, make] : kParts) {
        if (const Node* value = node.set_member(name)) {
          const Text text{value->text, path_of_part + "." + std::string(name), value};
          return checked(text, make(text, *this));
        }
      }
    }
    values_.error_at(
        node, path_of_part,
        std::string(node.members.empty() ? "is empty: it" : "has more than one condition: it") +
            " must have one of `header`, `path`, `method`, `query`",
        "A filter of bodies has `body`, `query` and `matches`; each condition is an item of its "
        "own.");
    return std::nullopt;
  }

  Values& values_;
};

}  // namespace

std::optional<proto::HttpFilter> resolve_http_filter(Values& values) {
  return Resolver(values).run();
}

}  // namespace mirrord::config
