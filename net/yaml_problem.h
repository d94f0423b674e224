// net/yaml_problem.h — what libyaml finds wrong with a text, in the words of its writer.
#pragma once

#include <string>
#include <string_view>

namespace mirrord::net {

struct YamlProblem {
  std::string why;
  bool is_at_context = false;  // better shown where the part began that is not finished
};

// `problem` is libyaml's text, and `at` what stands at its place.
YamlProblem yaml_problem(std::string_view problem, std::string_view at);

}  // namespace mirrord::net
