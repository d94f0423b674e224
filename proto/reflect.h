// proto/reflect.h — how wire structs and wire enums are declared, and what code can ask about them.
//
// A wire struct is an aggregate whose fields stand in wire order; fields_of() and field_names()
// list them. A wire enum derives from Enum<Self, Case<"Name", Payload>...>, cases in wire order:
//
//   struct LayerTcp : Enum<LayerTcp,
//     Case<"PortSubscribe", Port>,
//     Case<"ConnectionUnsubscribe", ConnectionId>> {};
//
//   auto message = LayerTcp::make<"PortSubscribe">(8080);
//   if (const Port* port = message.get_if<"PortSubscribe">()) …
//   switch (message.index()) {
//     case LayerTcp::index_of<"PortSubscribe">: return subscribe(message.get<"PortSubscribe">());
//     case LayerTcp::index_of<"ConnectionUnsubscribe">: …
//   }
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace mirrord::proto {

template <std::size_t N>
struct FixedString {
  char text[N]{};
  consteval FixedString(const char (&literal)[N]) { std::copy_n(literal, N, text); }
  constexpr std::string_view view() const { return {text, N - 1}; }
};

// The payload of a case that carries nothing; zero bytes on the wire.
struct Unit {
  friend bool operator==(const Unit&, const Unit&) = default;
};

// One case of a wire enum; only named in the list of Enum, never an object.
template <FixedString Name, class T = Unit>
struct Case {
  using Value = T;
  static constexpr std::string_view name = Name.view();
};

namespace detail {

template <class Self>
consteval std::size_t find_case(std::string_view name) {
  for (std::size_t i = 0; i < Self::kSize; ++i)
    if (Self::kNames[i] == name)
      return i;
  throw "this enum has no case of that name";
}

template <class Self, std::size_t Index>
struct CaseValue {
  using Type = std::variant_alternative_t<Index, typename Self::Variant>;
};

}  // namespace detail

// What can be done with every wire enum. Nothing here has the list of cases in its type: the names
// of such functions would fill tens of megabytes of symbols and debug information.
template <class Self>
struct EnumAccess {
  template <FixedString Name>
  static constexpr std::size_t index_of = detail::find_case<Self>(Name.view());

  template <FixedString Name>
  using ValueOf = typename detail::CaseValue<Self, index_of<Name>>::Type;

  // The payload is built from the arguments with braces, so a struct may be given field by field.
  template <FixedString Name, class... Args>
  static Self make(Args&&... args) {
    Self self;
    self.v.template emplace<index_of<Name>>(ValueOf<Name>{std::forward<Args>(args)...});
    return self;
  }

  std::size_t index() const { return self().v.index(); }
  std::string_view name() const { return Self::kNames[index()]; }

  template <FixedString Name>
  bool is() const {
    return index() == index_of<Name>;
  }

  template <FixedString Name>
  auto* get_if() {
    return std::get_if<index_of<Name>>(&self().v);
  }
  template <FixedString Name>
  const auto* get_if() const {
    return std::get_if<index_of<Name>>(&self().v);
  }

  // For code that knows the case, as in a switch over index(); a wrong name throws.
  template <FixedString Name>
  auto& get() {
    return std::get<index_of<Name>>(self().v);
  }
  template <FixedString Name>
  const auto& get() const {
    return std::get<index_of<Name>>(self().v);
  }

  // Calls visitor(payload) with the payload of the present case, which is name().
  template <class Visitor>
  decltype(auto) visit(Visitor&& visitor) {
    return std::visit(std::forward<Visitor>(visitor), self().v);
  }
  template <class Visitor>
  decltype(auto) visit(Visitor&& visitor) const {
    return std::visit(std::forward<Visitor>(visitor), self().v);
  }

  friend bool operator==(const Self& a, const Self& b) { return a.v == b.v; }

 private:
  Self& self() { return static_cast<Self&>(*this); }
  const Self& self() const { return static_cast<const Self&>(*this); }
};

template <class Self, class... Cases>
struct Enum : EnumAccess<Self> {
  using Variant = std::variant<typename Cases::Value...>;
  static constexpr std::size_t kSize = sizeof...(Cases);
  static constexpr std::array<std::string_view, kSize> kNames{Cases::name...};

  Variant v;
};

template <class T>
concept WireEnum = requires {
  typename T::Variant;
  T::kNames;
};

// Structs that the protocol writes as positional fields say so with this member; they differ only
// in their JSON form, an array.
template <class T>
concept Positional = requires { typename T::Positional; };

namespace detail {

// The number of fields: the longest list of empty braces that initialises the aggregate.
template <class T>
consteval std::size_t count_fields() {
  // clang-format off
  if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 17;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 16;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 15;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 14;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 13;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 12;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{}}; }) return 11;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{}}; }) return 10;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{}}; }) return 9;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{}}; }) return 8;
  else if constexpr (requires { T{{},{},{},{},{},{},{}}; }) return 7;
  else if constexpr (requires { T{{},{},{},{},{},{}}; }) return 6;
  else if constexpr (requires { T{{},{},{},{},{}}; }) return 5;
  else if constexpr (requires { T{{},{},{},{}}; }) return 4;
  else if constexpr (requires { T{{},{},{}}; }) return 3;
  else if constexpr (requires { T{{},{}}; }) return 2;
  else if constexpr (requires { T{{}}; }) return 1;
  else return 0;
  // clang-format on
}

// The visitor gets all fields as references, in order.
template <class T, class Visitor>
constexpr decltype(auto) with_fields(T& object, Visitor&& visit) {
  constexpr std::size_t n = count_fields<std::remove_const_t<T>>();
  static_assert(n >= 1 && n <= 16, "a wire struct has 1 to 16 fields");
  // clang-format off
  if constexpr (n == 1) { auto& [a] = object; return visit(a); }
  else if constexpr (n == 2) { auto& [a, b] = object; return visit(a, b); }
  else if constexpr (n == 3) { auto& [a, b, c] = object; return visit(a, b, c); }
  else if constexpr (n == 4) { auto& [a, b, c, d] = object; return visit(a, b, c, d); }
  else if constexpr (n == 5) { auto& [a, b, c, d, e] = object; return visit(a, b, c, d, e); }
  else if constexpr (n == 6) { auto& [a, b, c, d, e, f] = object; return visit(a, b, c, d, e, f); }
  else if constexpr (n == 7) { auto& [a, b, c, d, e, f, g] = object; return visit(a, b, c, d, e, f, g); }
  else if constexpr (n == 8) { auto& [a, b, c, d, e, f, g, h] = object; return visit(a, b, c, d, e, f, g, h); }
  else if constexpr (n == 9) { auto& [a, b, c, d, e, f, g, h, i] = object; return visit(a, b, c, d, e, f, g, h, i); }
  else if constexpr (n == 10) { auto& [a, b, c, d, e, f, g, h, i, j] = object; return visit(a, b, c, d, e, f, g, h, i, j); }
  else if constexpr (n == 11) { auto& [a, b, c, d, e, f, g, h, i, j, k] = object; return visit(a, b, c, d, e, f, g, h, i, j, k); }
  else if constexpr (n == 12) { auto& [a, b, c, d, e, f, g, h, i, j, k, l] = object; return visit(a, b, c, d, e, f, g, h, i, j, k, l); }
  else if constexpr (n == 13) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = object; return visit(a, b, c, d, e, f, g, h, i, j, k, l, m); }
  else if constexpr (n == 14) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o] = object; return visit(a, b, c, d, e, f, g, h, i, j, k, l, m, o); }
  else if constexpr (n == 15) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p] = object; return visit(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p); }
  else { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q] = object; return visit(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q); }
  // clang-format on
}

// An object that is never defined: only the addresses of its fields are used, as template
// arguments, so that the compiler spells them out in the name of the function.
template <class T>
struct Wrap {
  T v;
};
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wundefined-var-template"
#pragma clang diagnostic ignored "-Wundefined-internal"
#endif
template <class T>
extern const Wrap<T> fake;

// GCC prints a pointer to a field only as a plain argument, clang accepts it only inside a struct.
#if defined(__clang__)
template <class T>
struct Address {
  const T* pointer;
};
#else
template <class T>
using Address = const T*;
#endif

template <auto P>
consteval std::string_view last_name() {
  // GCC: "… [with auto P = (& fake<S>.Wrap<S>::v.S::message); …]", clang: "… [P = Address<…>{&fake.v.message}]".
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("P = "));
  text = text.substr(0, text.find(';'));
  text = text.substr(0, text.find_last_not_of(")}] ") + 1);
  return text.substr(text.find_last_of(".:") + 1);
}

template <class T>
inline constexpr auto kAddresses = with_fields(fake<T>.v, [](const auto&... field) {
  return std::tuple{Address<std::remove_cvref_t<decltype(field)>>{&field}...};
});

template <class T>
consteval auto field_names() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<std::string_view, sizeof...(I)>{last_name<std::get<I>(kAddresses<T>)>()...};
  }(std::make_index_sequence<count_fields<T>()>());
}
#if defined(__clang__)
#pragma clang diagnostic pop
#endif

template <class T>
consteval std::string_view type_name() {
  // "… [with T = mirrord::proto::LayerTcp; …]" or, by clang, "… [T = mirrord::proto::LayerTcp]".
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("T = ") + 4);
  text = text.substr(0, text.find_first_of(";]"));
  return text.substr(std::min(text.rfind(':', text.find('<')) + 1, text.size()));
}

}  // namespace detail

template <class T>
inline constexpr auto kFieldNames = detail::field_names<T>();
template <class T>
inline constexpr std::string_view kTypeName = detail::type_name<T>();

// The fields of a wire struct as a tuple of references.
template <class T>
constexpr auto fields_of(T& object) {
  return detail::with_fields(object, [](auto&... field) { return std::tie(field...); });
}

}  // namespace mirrord::proto
