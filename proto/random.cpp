// proto/random.cpp — fills messages with random content, edge values preferred.
#include "proto/random.h"

#include <array>
#include <iterator>
#include <limits>
#include <optional>
#include <string>

#include "proto/reflect.h"

namespace mirrord::proto {

namespace {

class Filler {
 public:
  explicit Filler(Random& random) : random_(random) {}

  void fill(Unit&) {}
  void fill(bool& out) { out = random_.below(2) == 1; }
  void fill(u8& out) { out = integer<u8>(); }
  void fill(u16& out) { out = integer<u16>(); }
  void fill(u32& out) { out = integer<u32>(); }
  void fill(u64& out) { out = integer<u64>(); }
  void fill(i32& out) { out = static_cast<i32>(integer<u32>()); }
  void fill(i64& out) { out = static_cast<i64>(integer<u64>()); }
  void fill(u128& out) { out = random_.below(3) == 0 ? integer<u64>() : wide(); }

  void fill(std::string& out) {
    using namespace std::string_view_literals;
    static constexpr std::string_view kPieces[] = {
        "\0"sv, "a", "/", " ", "\"", "\\", "\n", "\x01", "*", "é", "日", "🚀", "path", "0", "."};
    const auto& texts = random_.small().texts;
    if (!texts.empty() && random_.below(8) != 0) {
      out = texts[random_.below(texts.size())];
      return;
    }
    out.clear();
    for (u64 n = length(); n > 0; --n)
      out += kPieces[random_.below(std::size(kPieces))];
  }
  void fill(Path& out) { fill(out.value); }
  void fill(Bytes& out) {
    std::string raw;
    // Some are large enough to be detached from the message when it is sent.
    const u64 size = random_.below(50) == 0 ? 4000 + random_.below(5000) : length();
    for (u64 n = 0; n < size; ++n)
      raw += static_cast<char>(random_.below(256));
    out = Bytes(raw);
  }
  void fill(Uid& out) {
    for (u8& byte : out.bytes)
      byte = static_cast<u8>(random_.next());
  }
  void fill(Ip& out) {
    out = Ip{random_.below(2) == 1, {}};
    for (std::size_t i = 0; i < out.length(); ++i)
      out.octets[i] = static_cast<u8>(random_.below(4) == 0 ? 0 : random_.next());
  }
  void fill(SockAddr& out) {
    fill(out.ip);
    fill(out.port);
    if (random_.small().port != 0 && random_.below(4) != 0) {
      out.ip = Ip{false, {127, 0, 0, 1}};
      out.port = random_.small().port;
    }
  }
  void fill(SemVer& out) {
    fill(out.major);
    fill(out.minor);
    fill(out.patch);
    out.pre = one_of("", "", "rc.1", "alpha-2.x");
    out.build = one_of("", "", "flight", "b.007");
  }
  void fill(HttpMethod& out) { out.text = one_of("GET", "POST", "get", "X-M!"); }
  void fill(HttpUri& out) { out.text = one_of("/", "/p?q=1", "*", "h:443", "http://h/p?", "/é"); }
  void fill(HttpVersion& out) { out = static_cast<HttpVersion>(random_.below(5)); }
  void fill(HttpStatus& out) { out.code = static_cast<u16>(100 + random_.below(900)); }
  void fill(HttpHeaders& out) {
    out.entries.clear();
    for (u64 n = random_.below(4); n > 0; --n)
      out.add(one_of("host", "set-cookie", "x", "x-y"), one_of("", "a b", "\t", "caf\xE9"));
  }

  template <class T>
  void fill(std::vector<T>& out) {
    // Filters nest; deeper lists are shorter so that this ends.
    out.resize(depth_ < 6 ? random_.below(4) : 0);
    ++depth_;
    for (T& element : out)
      fill(element);
    --depth_;
  }
  template <class T>
  void fill(Set<T>& out) {
    std::set<T> items;
    for (u64 n = random_.below(5); n > 0; --n) {
      T item;
      fill(item);
      items.insert(std::move(item));
    }
    out.assign(items.begin(), items.end());
  }
  template <class K, class V>
  void fill(Map<K, V>& out) {
    std::map<K, V> items;
    for (u64 n = random_.below(5); n > 0; --n) {
      K key;
      fill(key);
      fill(items[key]);
    }
    out.assign(items.begin(), items.end());
  }
  template <class T, std::size_t N>
  void fill(std::array<T, N>& out) {
    for (T& element : out)
      fill(element);
  }
  template <class T>
  void fill(std::optional<T>& out) {
    out.reset();
    if (random_.below(2) == 1)
      fill(out.emplace());
  }
  template <class T>
  void fill(Res<T>& out) {
    if (random_.below(3) > 0) {
      out = T{};
      fill(*out);
    } else {
      out = std::unexpected(ResponseError{});
      fill(out.error());
    }
  }
  template <WireEnum T>
  void fill(T& out) {
    const std::size_t index = random_.below(T::kSize);
    auto& coverage = random_.coverage[kTypeName<T>];
    coverage.size = T::kSize;
    coverage.seen.insert(index);
    out.reset_to(index);
    out.visit([this](auto& payload) { this->fill(payload); });
  }
  template <class T>
  void fill(T& out) {
    static_assert(std::is_aggregate_v<T> && !WireEnum<T>);
    detail::with_fields(out, [this](auto&... field) { (this->fill(field), ...); });
  }

 private:
  // Around the limits of the encoded forms, or of random size.
  template <class T>
  T integer() {
    constexpr u64 kEdges[] = {0,
                              1,
                              127,
                              128,
                              250,
                              251,
                              255,
                              256,
                              0x7FFF,
                              0xFFFF,
                              65536,
                              1u << 31,
                              0xFFFFFFFF,
                              u64{1} << 32,
                              (u64{1} << 53) - 1,
                              u64{1} << 53,
                              u64{1} << 63,
                              ~u64{0}};
    if (const u64 limit = random_.small().numbers_below; limit != 0 && random_.below(8) != 0)
      return static_cast<T>(random_.below(limit));
    if (random_.below(2) == 0)
      return static_cast<T>(kEdges[random_.below(std::size(kEdges))]);
    return static_cast<T>(random_.next() >> random_.below(std::numeric_limits<T>::digits));
  }
  u128 wide() { return u128{random_.next()} << 64 | random_.next(); }
  u64 length() { return random_.below(20) == 0 ? 240 + random_.below(20) : random_.below(6); }
  template <class... Text>
  std::string one_of(Text... text) {
    const std::string_view all[] = {text...};
    return std::string(all[random_.below(sizeof...(text))]);
  }

  Random& random_;
  int depth_ = 0;
};

}  // namespace

u64 Random::next() {
  state_ += 0x9E3779B97F4A7C15;
  u64 z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

u64 Random::below(u64 limit) {
  return next() % limit;
}

ClientMessage Random::client_message() {
  ClientMessage message;
  Filler(*this).fill(message);
  return message;
}

DaemonMessage Random::daemon_message() {
  DaemonMessage message;
  Filler(*this).fill(message);
  return message;
}

FileResponse Random::file_response(std::size_t index) {
  FileResponse response;
  response.reset_to(index);
  response.visit([this](auto& payload) { Filler(*this).fill(payload); });
  return response;
}

}  // namespace mirrord::proto
