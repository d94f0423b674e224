// net/http/body_reader.cpp — see the header; chunks are read by a small state machine.
#include "net/http/body_reader.h"

#include <algorithm>
#include <optional>

namespace mirrord::net::http {

namespace {

// What the transfer codings say: nothing, one "chunked", or something that is refused.
std::expected<bool, Refusal> is_chunked(const Headers& headers, Version version) {
  std::size_t fields = 0, codings = 0, chunked = 0;
  for (const Header header : headers) {
    if (!equals_ignoring_case(header.name, "transfer-encoding"))
      continue;
    ++fields;
    for_each_token(header.value, [&](std::string_view coding) {
      ++codings;
      chunked += equals_ignoring_case(coding, "chunked") ? 1 : 0;
    });
  }
  if (fields == 0)
    return false;
  if (version == Version::kHttp10)
    return std::unexpected(Refusal{400, "HTTP/1.0 has no transfer codings"});
  if (codings != 1 || chunked != 1)
    return std::unexpected(Refusal{501, "the transfer coding is not one \"chunked\""});
  if (headers.contains("content-length"))
    return std::unexpected(Refusal{400, "the message has a length and a transfer coding"});
  return true;
}

// The framing that the fields give; `otherwise` where they give none.
std::expected<Framing, Refusal> framing_of_fields(const Headers& headers, Version version,
                                                  Framing::Kind otherwise) {
  const auto chunked = is_chunked(headers, version);
  if (!chunked)
    return std::unexpected(chunked.error());
  if (*chunked)
    return Framing{Framing::Kind::kChunked};
  if (!headers.contains("content-length"))
    return Framing{otherwise};
  const auto length = content_length(headers);
  if (!length)
    return std::unexpected(length.error());
  return Framing{Framing::Kind::kLength, *length};
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  const char letter = static_cast<char>(c | 0x20);
  return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

}  // namespace

std::expected<std::uint64_t, Refusal> content_length(const Headers& headers) {
  constexpr std::size_t kMostDigits = 18;
  std::optional<std::string_view> digits;
  for (const Header header : headers) {
    if (!equals_ignoring_case(header.name, "content-length"))
      continue;
    if (header.value.empty() || header.value.size() > kMostDigits ||
        header.value.find_first_not_of("0123456789") != std::string_view::npos)
      return std::unexpected(Refusal{400, "Content-Length is not a number"});
    if (digits && *digits != header.value)
      return std::unexpected(Refusal{400, "the message has two lengths that differ"});
    digits = header.value;
  }
  std::uint64_t length = 0;
  for (const char digit : digits.value_or(""))
    length = length * 10 + static_cast<std::uint64_t>(digit - '0');
  return length;
}

std::expected<Framing, Refusal> framing_of(const RequestHead& head) {
  const auto hosts = std::count_if(head.headers.begin(), head.headers.end(), [](Header header) {
    return equals_ignoring_case(header.name, "host");
  });
  if (hosts > 1)
    return std::unexpected(Refusal{400, "the request has more than one Host"});
  auto framing = framing_of_fields(head.headers, head.version, Framing::Kind::kNone);
  if (framing && head.method == "CONNECT")
    return Framing{};  // RFC 9110 §9.3.6: what follows belongs to the tunnel
  return framing;
}

std::expected<Framing, Refusal> framing_of(const ResponseHead& head, std::string_view method) {
  if (is_bodiless(method, head.status))
    return Framing{};
  auto framing = framing_of_fields(head.headers, head.version, Framing::Kind::kUntilClose);
  if (!framing)
    framing.error().status = 502;
  return framing;
}

void BodyReader::start(const Framing& framing) {
  framing_ = framing;
  left_ = framing.kind == Framing::Kind::kLength ? framing.length : 0;
  chunk_state_ = ChunkState::kSize;
  chunk_line_ = digits_ = 0;
  if (framing.kind == Framing::Kind::kChunked) {
    trailers_.restart(HeadParser::Kind::kTrailers);
    partial_trailer_.clear();
  }
}

BodyReader::Event BodyReader::next(std::span<const std::byte>& bytes,
                                   std::span<const std::byte>& data) {
  switch (framing_.kind) {
    case Framing::Kind::kNone:
      return Event::kEnd;
    case Framing::Kind::kLength:
      return left_ == 0 ? Event::kEnd : take_data(bytes, data);
    case Framing::Kind::kUntilClose:
      left_ = bytes.size();
      return take_data(bytes, data);
    case Framing::Kind::kChunked:
      break;
  }
  while (chunk_state_ != ChunkState::kData && chunk_state_ != ChunkState::kTrailers) {
    const Event event = take_chunk_line(bytes);
    if (event != Event::kData)
      return event;
  }
  if (chunk_state_ == ChunkState::kTrailers)
    return take_trailers_from(bytes);
  const Event event = take_data(bytes, data);
  if (left_ == 0)
    chunk_state_ = ChunkState::kDataCr;
  return event;
}

BodyReader::Event BodyReader::take_data(std::span<const std::byte>& bytes,
                                        std::span<const std::byte>& data) {
  if (bytes.empty())
    return Event::kNeedsMore;
  data = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
  bytes = bytes.subspan(data.size());
  left_ -= data.size();
  return Event::kData;
}

// Up to the end of a chunk's line, or of the line end behind its data; kData means "go on".
BodyReader::Event BodyReader::take_chunk_line(std::span<const std::byte>& bytes) {
  while (!bytes.empty()) {
    const char byte = static_cast<char>(bytes.front());
    bytes = bytes.subspan(1);
    if (!take_chunk_byte(byte))
      return Event::kBad;
    if (chunk_state_ == ChunkState::kData || chunk_state_ == ChunkState::kTrailers)
      return Event::kData;
  }
  return Event::kNeedsMore;
}

// One byte of "SIZE[;EXTENSION] CR LF", or of the CR LF behind a chunk. False: refused.
bool BodyReader::take_chunk_byte(char byte) {
  constexpr std::size_t kMostDigits = 15;  // 2^60: nothing overflows
  const auto refused = [this](std::string_view why) {
    error_ = why;
    return false;
  };
  switch (chunk_state_) {
    case ChunkState::kSize:
      if (const int digit = hex_digit(byte); digit >= 0) {
        left_ = left_ * 16 + static_cast<std::uint64_t>(digit);
        return ++digits_ <= kMostDigits || refused("a chunk is too large");
      }
      if (digits_ == 0 || (byte != ';' && byte != '\r'))
        return refused("a chunk's size is not a hexadecimal number");
      chunk_line_ = digits_;
      chunk_state_ = byte == ';' ? ChunkState::kExtension : ChunkState::kSizeEnd;
      return true;
    case ChunkState::kExtension:
      if (++chunk_line_ > limits_->chunk_line_bytes)
        return refused("a chunk's extensions are too long");
      if (byte == '\r')
        chunk_state_ = ChunkState::kSizeEnd;
      else if (!is_field_value({&byte, 1}))
        return refused("a chunk's extension has a control character");
      return true;
    case ChunkState::kSizeEnd:
      chunk_state_ = left_ == 0 ? ChunkState::kTrailers : ChunkState::kData;
      digits_ = 0;
      return byte == '\n' || refused("a chunk's line ends without a line feed");
    case ChunkState::kDataCr:
      chunk_state_ = ChunkState::kDataLf;
      return byte == '\r' || refused("a chunk is longer than its size");
    case ChunkState::kDataLf:
      chunk_state_ = ChunkState::kSize;
      return byte == '\n' || refused("a chunk is longer than its size");
    case ChunkState::kData:
    case ChunkState::kTrailers:
      break;
  }
  return true;
}

BodyReader::Event BodyReader::take_trailers_from(std::span<const std::byte>& bytes) {
  if (bytes.empty())
    return Event::kNeedsMore;
  // A line may come in pieces: its beginning is kept, at most as much as a head may have.
  if (partial_trailer_.empty()) {
    bytes = bytes.subspan(trailers_.parse(bytes));
  } else {
    const std::string_view text = as_text(bytes);
    const std::size_t line = std::min(text.find('\n'), text.size() - 1) + 1;
    partial_trailer_.append(text.substr(0, line));
    bytes = bytes.subspan(line);
    partial_trailer_.erase(0, trailers_.parse(as_bytes(partial_trailer_)));
    if (trailers_.state() == HeadParser::State::kNeedsMore && !bytes.empty())
      return take_trailers_from(bytes);
  }
  switch (trailers_.state()) {
    case HeadParser::State::kNeedsMore:
      partial_trailer_.append(as_text(bytes));
      bytes = {};
      return Event::kNeedsMore;
    case HeadParser::State::kDone:
      return Event::kEnd;
    case HeadParser::State::kBad:
      break;
  }
  return refuse(trailers_.error());
}

BodyReader::Event BodyReader::refuse(std::string_view why) {
  error_ = why;
  return Event::kBad;
}

Headers BodyReader::take_trailers() {
  if (framing_.kind != Framing::Kind::kChunked)
    return {};
  Headers trailers = trailers_.take_trailers();
  // RFC 9110 §6.5.1: fields that frame or route a message mean nothing, or harm, behind it.
  for (const std::string_view name : {"content-length", "transfer-encoding", "host"})
    trailers.remove(name);
  return trailers;
}

}  // namespace mirrord::net::http
