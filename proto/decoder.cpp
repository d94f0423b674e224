// proto/decoder.cpp — decoding of the leaf types.
#include "proto/decoder.h"

#include "proto/stream_decoder.h"

namespace mirrord::proto::detail {

bool Decoder::read_wide(u128& out, std::size_t max_width) {
  const auto marker = static_cast<u8>(*at_);
  if (marker == 0xFF)
    return fail("reserved integer marker");
  const std::size_t width = std::size_t{2} << (marker - 0xFB);
  if (width > max_width)
    return fail("integer wider than its type");
  if (static_cast<std::size_t>(end_ - at_) < 1 + width)
    return false;
  out = 0;
  std::memcpy(&out, at_ + 1, width);  // little endian, as is every machine this runs on
  at_ += 1 + width;
  return true;
}

bool Decoder::read(Ip& out) {
  const std::byte* start = at_;
  u32 tag = 0;
  if (!read(tag))
    return false;
  if (tag > 1)
    return fail("unknown variant " + std::to_string(tag) + " of an address");
  out.is_v6 = tag == 1;
  if (static_cast<std::size_t>(end_ - at_) < out.length()) {
    at_ = start;
    return false;
  }
  out.octets = {};
  std::memcpy(out.octets.data(), at_, out.length());
  at_ += out.length();
  return true;
}

bool Decoder::read(SockAddr& out) {
  const std::byte* start = at_;
  if (read(out.ip) && read(out.port))
    return true;
  if (!error_)
    at_ = start;
  return false;
}

bool Decoder::read_length() {
  u64 length = 0;
  if (!read(length))
    return false;
  if (length > kMaxLength)
    return fail("announced length of " + std::to_string(length) + " bytes is too large");
  if (!charge(length))
    return false;
  missing_ = static_cast<std::size_t>(length);
  return true;
}

bool Decoder::read(Bytes& out) {
  if (is_resuming()) {
    pop();
  } else {
    if (!read_length())
      return false;
    out.clear();
  }
  const std::size_t take = std::min(missing_, static_cast<std::size_t>(end_ - at_));
  constexpr std::size_t kStep = StreamDecoder<ClientMessage>::kGrowthStep;
  const std::size_t ahead = std::min(missing_, std::max(out.size(), kStep));
  if (take > out.spare().size())
    out.reserve(out.size() + std::max(take, ahead));
  out.append(std::span(at_, take));
  at_ += take;
  missing_ -= take;
  if (missing_ == 0)
    return true;
  unfinished_payload_ = &out;
  return push(0);
}

bool Decoder::read_text(std::string& out, Text kind) {
  if (is_resuming()) {
    pop();
  } else {
    if (!read_length())
      return false;
    out.clear();
  }
  const std::size_t take = std::min(missing_, static_cast<std::size_t>(end_ - at_));
  out.append(reinterpret_cast<const char*>(at_), take);
  at_ += take;
  missing_ -= take;
  if (missing_ > 0)
    return push(0);
  return kind == Text::kRaw || is_utf8(out) || fail("text is not UTF-8");
}

bool Decoder::read(SemVer& out) {
  if (!read_text(scratch_, Text::kUtf8))
    return false;
  auto version = SemVer::parse(scratch_);
  if (!version)
    return fail("not a semantic version");
  out = std::move(*version);
  return true;
}

bool Decoder::read(HttpMethod& out) {
  return read_text(out.text, Text::kUtf8) &&
         (is_http_token(out.text) || fail("not an HTTP method"));
}

bool Decoder::read(HttpUri& out) {
  if (!read_text(out.text, Text::kUtf8))
    return false;
  auto uri = normalize_uri(out.text);
  if (!uri)
    return fail("not a URI");
  out.text = std::move(*uri);
  return true;
}

bool Decoder::read(HttpVersion& out) {
  if (!read_text(scratch_, Text::kUtf8))
    return false;
  const auto version = parse_http_version(scratch_);
  if (!version)
    return fail("not an HTTP version");
  out = *version;
  return true;
}

bool Decoder::read(HttpStatus& out) {
  if (!read(out.code))
    return false;
  return (out.code >= 100 && out.code <= 999) || fail("not an HTTP status");
}

bool Decoder::read(HttpHeaders& out) {
  auto read_value = [this](std::string& value) { return read_text(value, Text::kRaw); };
  auto read_header = [this, read_value](HttpHeader& header) {
    const bool in_values = is_resuming() && pop() == 1;
    if (!in_values && !read_text(header.name, Text::kUtf8))
      return push(0);
    return read_list(header.values, read_value) || push(1);
  };
  if (!read_list(out.entries, read_header, kMaxHeaderNames))
    return false;
  return normalize_headers(out) || fail("invalid HTTP header");
}

}  // namespace mirrord::proto::detail
