// net/yaml_problem.cpp — the table of libyaml's messages that people meet.
#include "net/yaml_problem.h"

#include <algorithm>

namespace mirrord::net {
namespace {

struct Known {
  std::string_view problem;
  std::string_view why;
  bool is_at_context;
};
constexpr Known kKnown[] = {
    {"block sequence entries are not allowed in this context",
     "a list item cannot stand here; check the indentation", false},
    {"could not find expected ':'", "a key without its colon", true},
    {"did not find expected '-' indicator",
     "a list goes on without `-`, or with another indentation", false},
    {"did not find expected ',' or ']'",
     "a `[` is not closed, or a comma or quote is missing after it", true},
    {"did not find expected ',' or '}'",
     "a `{` is not closed, or a comma or quote is missing after it", true},
    {"did not find expected <document start>", "text after the end of the document", false},
    {"did not find expected alphabetic or numeric character",
     "`*` and `&` begin names of anchors; put a text that begins so in quotes", false},
    {"did not find expected key", "a key should stand here; check the indentation", false},
    {"did not find expected node content", "a value should stand here", false},
    {"found incompatible YAML document", "the document is of another version of YAML", false},
    {"found unexpected end of stream", "a string without its closing quote", true},
    {"found unknown escape character",
     "an unknown escape; write a backslash as \\\\, or use single quotes", false},
    {"mapping values are not allowed in this context",
     "a colon cannot stand here; check the indentation, or put the text in quotes", false},
};

}  // namespace

YamlProblem yaml_problem(std::string_view problem, std::string_view at) {
  if (problem == "found character that cannot start any token" && !at.empty()) {
    if (at.front() == '\t')
      return {"a tab in the indentation; use blanks"};
    return {std::string("a text cannot begin with `") + at.front() + "`; put it in quotes"};
  }
  if (problem.find("tab character") != std::string_view::npos)
    return {"a tab in the indentation; use blanks"};
  const auto found = std::ranges::find(kKnown, problem, &Known::problem);
  if (found == std::end(kKnown))
    return {std::string(problem)};
  return {std::string(found->why), found->is_at_context};
}

}  // namespace mirrord::net
