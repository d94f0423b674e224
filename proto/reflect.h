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
#include <new>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

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
  using Type = std::tuple_element_t<Index, typename Self::Values>;
};

}  // namespace detail

// Construction and destruction of the payload of a wire enum. Defined outside the class, so that
// the large enums can be instantiated in one file for all (proto/messages.cpp): code that merely
// passes messages on then compiles in a tenth of the time.
template <class Self>
struct EnumLife {
  static void construct(void* to, std::size_t index);  // value-initialised
  static void destroy(void* payload, std::size_t index);
  static void copy(void* to, const void* from, std::size_t index);
  static void move(void* to, void* from, std::size_t index);
};

// Space for the payload of one of the cases T, and which one it is. Not std::variant, because that
// costs every file that moves a message ten seconds and 25 MB of debug information.
template <class Self, class... T>
class Choice {
  using Life = EnumLife<Self>;

 public:
  Choice() { Life::construct(space_, 0); }
  Choice(const Choice& other) : index_(other.index_) { Life::copy(space_, other.space_, index_); }
  Choice(Choice&& other) noexcept : index_(other.index_) {
    Life::move(space_, other.space_, index_);
  }
  Choice& operator=(const Choice& other) { return *this = Choice(other); }
  Choice& operator=(Choice&& other) noexcept {
    Choice taken(std::move(other));  // it may lie inside what is destroyed now
    Life::destroy(space_, index_);
    index_ = taken.index_;
    Life::move(space_, taken.space_, index_);
    return *this;
  }
  ~Choice() { Life::destroy(space_, index_); }

  std::size_t index() const { return index_; }

  template <std::size_t I, class Value>
  Value& emplace(Value value) {
    static_assert(std::is_nothrow_move_constructible_v<Value>);
    Life::destroy(space_, index_);
    index_ = I;
    return *::new (space_) Value(std::move(value));
  }

  void reset_to(std::size_t index) {
    Life::destroy(space_, index_);
    index_ = static_cast<std::uint8_t>(index);
    Life::construct(space_, index_);
  }

  void* payload() { return space_; }
  const void* payload() const { return space_; }

 private:
  alignas(T...) std::byte space_[std::max({sizeof(T)...})];
  std::uint8_t index_ = 0;
};

// What can be done with every wire enum. Nothing here has the list of cases in its type: the names
// of such functions would fill tens of megabytes of symbols and debug information.
template <class Self>
struct EnumAccess {
  template <FixedString Name>
  static constexpr std::size_t index_of = detail::find_case<Self>(Name.view());

  template <std::size_t Index>
  using ValueAt = typename detail::CaseValue<Self, Index>::Type;
  template <FixedString Name>
  using ValueOf = ValueAt<index_of<Name>>;

  // The payload is built from the arguments with braces, so a struct may be given field by field.
  template <FixedString Name, class... Args>
  static Self make(Args&&... args) {
    Self made;
    made.template emplace<Name>(std::forward<Args>(args)...);
    return made;
  }
  template <FixedString Name, class... Args>
  auto& emplace(Args&&... args) {
    using Value = ValueOf<Name>;
    return self().choice.template emplace<index_of<Name>>(Value{std::forward<Args>(args)...});
  }

  std::size_t index() const { return self().choice.index(); }
  std::string_view name() const { return Self::kNames[index()]; }

  template <FixedString Name>
  bool is() const {
    return index() == index_of<Name>;
  }

  template <FixedString Name>
  auto* get_if() {
    return is<Name>() ? &get_at<index_of<Name>>() : nullptr;
  }
  template <FixedString Name>
  const auto* get_if() const {
    return is<Name>() ? &get_at<index_of<Name>>() : nullptr;
  }

  // For code that knows the case, as in a switch over index(). A wrong name throws.
  template <FixedString Name>
  auto& get() {
    require(index_of<Name>);
    return get_at<index_of<Name>>();
  }
  template <FixedString Name>
  const auto& get() const {
    require(index_of<Name>);
    return get_at<index_of<Name>>();
  }

  // Calls visitor(payload) with the payload of the present case, which is name(). The result of
  // the visitor, if any, must be of one type that can be made from nothing.
  template <class Visitor>
  auto visit(Visitor&& visitor) {
    return visit_in(self(), visitor, std::make_index_sequence<Self::kSize>());
  }
  template <class Visitor>
  auto visit(Visitor&& visitor) const {
    return visit_in(self(), visitor, std::make_index_sequence<Self::kSize>());
  }

  // By position instead of name, unchecked; for the codec.
  template <std::size_t Index>
  auto& get_at() {
    return *std::launder(static_cast<ValueAt<Index>*>(self().choice.payload()));
  }
  template <std::size_t Index>
  const auto& get_at() const {
    return *std::launder(static_cast<const ValueAt<Index>*>(self().choice.payload()));
  }
  // An empty payload of the case with this index.
  void reset_to(std::size_t index) { self().choice.reset_to(index); }

  friend bool operator==(const Self& a, const Self& b) {
    return a.index() == b.index() && [&]<std::size_t... I>(std::index_sequence<I...>) {
      return ((I == a.index() && a.template get_at<I>() == b.template get_at<I>()) || ...);
    }(std::make_index_sequence<Self::kSize>());
  }

 private:
  Self& self() { return static_cast<Self&>(*this); }
  const Self& self() const { return static_cast<const Self&>(*this); }
  void require(std::size_t index) const {
    if (index != this->index())
      throw std::logic_error("the message is another case than the code takes it for");
  }
  template <class Object, class Visitor, std::size_t... I>
  static auto visit_in(Object& object, Visitor& visitor, std::index_sequence<I...>) {
    const std::size_t index = object.index();
    using Result = decltype(visitor(object.template get_at<0>()));
    if constexpr (std::is_void_v<Result>) {
      static_cast<void>(((I == index && (visitor(object.template get_at<I>()), true)) || ...));
    } else {
      Result result{};
      static_cast<void>(
          ((I == index && (result = visitor(object.template get_at<I>()), true)) || ...));
      return result;
    }
  }
};

template <class Self, class... Cases>
struct Enum : EnumAccess<Self> {
  using Values = std::tuple<typename Cases::Value...>;
  static constexpr std::size_t kSize = sizeof...(Cases);
  static constexpr std::array<std::string_view, kSize> kNames{Cases::name...};

  Choice<Self, typename Cases::Value...> choice;
};

template <class T>
concept WireEnum = requires {
  typename T::Values;
  T::kNames;
};

namespace detail {

template <class T>
void construct_as(void* to) {
  ::new (to) T{};
}
template <class T>
void destroy_as(void* payload) {
  static_cast<T*>(payload)->~T();
}
template <class T>
void copy_as(void* to, const void* from) {
  ::new (to) T(*static_cast<const T*>(from));
}
template <class T>
void move_as(void* to, void* from) {
  ::new (to) T(std::move(*static_cast<T*>(from)));
}

// A table with one function per case; Make<T>::value is the one for the payload T.
template <class Function, template <class> class Make, class... T>
constexpr std::array<Function, sizeof...(T)> table_for(std::type_identity<std::tuple<T...>>) {
  return {Make<T>::value...};
}
template <class T>
struct ConstructAs {
  static constexpr void (*value)(void*) = construct_as<T>;
};
template <class T>
struct DestroyAs {
  static constexpr void (*value)(void*) = destroy_as<T>;
};
template <class T>
struct CopyAs {
  static constexpr void (*value)(void*, const void*) = copy_as<T>;
};
template <class T>
struct MoveAs {
  static constexpr void (*value)(void*, void*) = move_as<T>;
};

}  // namespace detail

template <class Self>
void EnumLife<Self>::construct(void* to, std::size_t index) {
  static constexpr auto kTable = detail::table_for<void (*)(void*), detail::ConstructAs>(
      std::type_identity<typename Self::Values>());
  kTable[index](to);
}

template <class Self>
void EnumLife<Self>::destroy(void* payload, std::size_t index) {
  static constexpr auto kTable = detail::table_for<void (*)(void*), detail::DestroyAs>(
      std::type_identity<typename Self::Values>());
  kTable[index](payload);
}

template <class Self>
void EnumLife<Self>::copy(void* to, const void* from, std::size_t index) {
  static constexpr auto kTable = detail::table_for<void (*)(void*, const void*), detail::CopyAs>(
      std::type_identity<typename Self::Values>());
  kTable[index](to, from);
}

template <class Self>
void EnumLife<Self>::move(void* to, void* from, std::size_t index) {
  static constexpr auto kTable = detail::table_for<void (*)(void*, void*), detail::MoveAs>(
      std::type_identity<typename Self::Values>());
  kTable[index](to, from);
}

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

// The name alone: a view into the function's signature would keep all of that in the executable.
template <auto P>
inline constexpr auto kLastName = [] {
  std::array<char, last_name<P>().size()> name{};
  std::ranges::copy(last_name<P>(), name.begin());
  return name;
}();

template <class T>
inline constexpr auto kAddresses = with_fields(fake<T>.v, [](const auto&... field) {
  return std::tuple{Address<std::remove_cvref_t<decltype(field)>>{&field}...};
});

template <class T>
consteval auto field_names() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<std::string_view, sizeof...(I)>{
        std::string_view(kLastName<std::get<I>(kAddresses<T>)>.data(),
                         kLastName<std::get<I>(kAddresses<T>)>.size())...};
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

template <class T>
inline constexpr auto kTypeText = [] {
  std::array<char, type_name<T>().size()> name{};
  std::ranges::copy(type_name<T>(), name.begin());
  return name;
}();

}  // namespace detail

template <class T>
inline constexpr auto kFieldNames = detail::field_names<T>();
template <class T>
inline constexpr std::string_view kTypeName{detail::kTypeText<T>.data(),
                                            detail::kTypeText<T>.size()};

// The fields of a wire struct as a tuple of references.
template <class T>
constexpr auto fields_of(T& object) {
  return detail::with_fields(object, [](auto&... field) { return std::tie(field...); });
}

}  // namespace mirrord::proto
