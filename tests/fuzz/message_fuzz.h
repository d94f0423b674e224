// tests/fuzz/message_fuzz.h — what must hold for any bytes taken as one message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>

#include "proto/codec.h"
#include "proto/json.h"
#include "proto/stream_decoder.h"

namespace mirrord::proto {

inline void check(bool holds) {
  if (!holds)
    std::abort();
}

// What decodes also encodes, to bytes that decode to the same; a cut anywhere (here: in the
// middle) does not change what a stream gives.
template <class Message>
void check_message(std::span<const std::byte> input) {
  Message message;
  const auto taken = decode(input, message);
  StreamDecoder<Message> stream(64);
  stream.feed(input.first(input.size() / 2));
  auto first = stream.next();
  if (first && !*first) {
    stream.feed(input.subspan(input.size() / 2));
    first = stream.next();
  }
  if (!taken) {
    check(taken.error().offset <= input.size());
    check(taken.error().incomplete ? first && !*first : !first);
    check(first || first.error().offset == taken.error().offset);
    return;
  }
  check(*taken <= input.size());
  check(first && *first && stream.consumed() == *taken);

  Bytes bytes;
  check(encode(message, bytes).has_value());
  check(encoded_size(message) == bytes.size());
  Message again;
  check(decode(bytes.span(), again) == bytes.size());
  Bytes second;
  check(encode(again, second).has_value() && second == bytes);
  check(to_json(message) == to_json(**first));
  Message copy = message;
  const auto parts = encode_parts(std::move(copy));
  check(parts && parts->size() == bytes.size());
}

}  // namespace mirrord::proto
