// net/query/jq.h — jq programs: the part of the language that asks questions about one value.
//
// There: paths (.a, .["a"], .[0], .[1:2], .[], .., ?), literals, string interpolation, @base64,
// @base64d, @json, @text, @uri; | , // and or not == != < <= > >= + - * / %; arrays and objects;
// if/elif/else/end, try/catch, `as $x |`; and the functions of the table in jq_functions.cpp. Not
// there, and refused by name: def, reduce, foreach, label, assignments, modules, input, paths, dates,
// and functions that rewrite text by regular expressions (sub, capture, scan, …).
//
// libjq would be the library for this. It has no bound on time and memory, and ends the process when
// memory is short; an agent serves several sessions at once.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "net/error.h"
#include "net/query/effort.h"
#include "net/query/json.h"

namespace mirrord::net {

// Not for several threads at once.
class JqProgram {
 public:
  static constexpr std::size_t kLongest = 16 * 1024;

  // The error says at which character something is wrong or not there.
  static Result<JqProgram> compile(std::string_view program);
  JqProgram(JqProgram&&) noexcept;
  JqProgram& operator=(JqProgram&&) noexcept;
  ~JqProgram();

  // Calls `output` with each result until it returns false, the program ends or fails (an error that
  // it does not catch) or the effort is spent.
  void run(const JsonValue& input, Effort& effort,
           const std::function<bool(const JsonValue&)>& output) const;

  struct Node;

 private:
  explicit JqProgram(std::unique_ptr<Node> root);
  std::unique_ptr<Node> root_;
};

}  // namespace mirrord::net
