// tests/unit/proto/random_test.cpp — random messages survive bytes, parts and JSON unchanged.
#include "proto/random.h"

#include <gtest/gtest.h>

#include <string>

#include "applets/wire_json.h"
#include "tests/unit/proto/vectors.h"

namespace mirrord::proto {
namespace {

template <class Message>
void expect_round_trip(Message message) {
  const std::string bytes = encoded(message);
  ASSERT_FALSE(bytes.starts_with("error: ")) << bytes << to_json(message);
  ASSERT_EQ(encoded_size(message).value(), bytes.size());

  Message decoded;
  const auto taken = decode(as_bytes(bytes), decoded);
  ASSERT_TRUE(taken) << taken.error().what << to_json(message);
  ASSERT_EQ(*taken, bytes.size());
  const std::string json = to_json(message);
  ASSERT_EQ(to_json(decoded), json);
  ASSERT_TRUE(encoded(decoded) == bytes) << json;

  Message read;
  const auto parsed = parse_json(json);
  ASSERT_TRUE(parsed) << parsed.error() << json;
  const auto done = from_json(*parsed, read);
  ASSERT_TRUE(done) << done.error() << json;
  ASSERT_EQ(to_json(read), json);
  ASSERT_TRUE(encoded(read) == bytes) << json;

  Message copy = message;
  const auto parts = encode_parts(std::move(copy));
  ASSERT_TRUE(parts);
  Bytes joined(parts->head());
  joined.append(parts->payload.span());
  joined.append(parts->tail());
  ASSERT_TRUE(joined.text() == bytes) << json;
  ASSERT_EQ(parts->size(), bytes.size());
}

TEST(RandomMessages, SurviveBytesPartsAndJson) {
  Random random(1);
  for (int i = 0; i < 40000; ++i) {
    expect_round_trip(random.client_message());
    expect_round_trip(random.daemon_message());
    if (HasFatalFailure())
      return;
  }
  EXPECT_EQ(random.coverage.size(), 37u);
  for (const auto& [type, coverage] : random.coverage)
    EXPECT_EQ(coverage.seen.size(), coverage.size) << type;
}

TEST(RandomMessages, AreTheSameForTheSameSeed) {
  EXPECT_EQ(to_json(Random(7).daemon_message()), to_json(Random(7).daemon_message()));
}

// The encodings of a message's own elements cut short anywhere are incomplete, never refused.
TEST(RandomMessages, CutShortAreIncomplete) {
  Random random(2);
  for (int i = 0; i < 300; ++i) {
    const std::string bytes = encoded(random.daemon_message());
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      DaemonMessage out;
      const auto taken = decode(as_bytes(bytes).first(length), out);
      ASSERT_FALSE(taken);
      ASSERT_TRUE(taken.error().incomplete) << taken.error().what;
    }
  }
}

}  // namespace
}  // namespace mirrord::proto
