// tests/unit/proto/golden_test.cpp — the codec against bytes recorded from the reference.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/proto/vectors.h"

namespace mirrord::proto {
namespace {

template <class Message>
void expect_decodes(const cJSON* vector, const std::string& bytes, const cJSON* value) {
  Message message;
  const auto taken = decode(as_bytes(bytes), message);
  ASSERT_TRUE(taken) << taken.error().what << " at " << taken.error().offset;
  EXPECT_EQ(*taken, bytes.size());
  EXPECT_TRUE(same_json(to_json(message), value)) << to_json(message).substr(0, 2000);
  EXPECT_EQ(encoded_size(message).value(), bytes.size());
  if (!cJSON_IsTrue(member(vector, "unordered"))) {
    EXPECT_EQ(hex(encoded(message)).substr(0, 2000), hex(bytes).substr(0, 2000));
    EXPECT_TRUE(encoded(message) == bytes);
  }
}

// Every vector of the file; the count guards against a file that is not read.
void expect_all_decode(const std::string& file, int count) {
  const Json vectors = load_vectors(file);
  EXPECT_EQ(cJSON_GetArraySize(vectors.get()), count);
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    SCOPED_TRACE(text_of(vector, "message") + " " + text_of(vector, "name"));
    const Json value = expand(member(vector, "value"));
    with_message(vector, [&](auto message) {
      expect_decodes<decltype(message)>(vector, bytes_of(vector), value.get());
    });
  }
}

TEST(Golden, EveryClientMessageDecodesRendersAndEncodes) {
  expect_all_decode("client.json", 385);
}

TEST(Golden, EveryDaemonMessageDecodesRendersAndEncodes) {
  expect_all_decode("daemon.json", 429);
}

TEST(Golden, LargeMessagesDecodeRenderAndEncode) {
  expect_all_decode("large.json", 11);
}

TEST(Golden, EveryProperPrefixIsIncomplete) {
  for (const char* file : {"client.json", "daemon.json"}) {
    const Json vectors = load_vectors(file);
    for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
      SCOPED_TRACE(text_of(vector, "name"));
      const std::string bytes = bytes_of(vector);
      with_message(vector, [&](auto message) {
        for (std::size_t length = 0; length < bytes.size(); ++length) {
          const auto taken = decode(as_bytes(bytes).first(length), message);
          ASSERT_FALSE(taken);
          ASSERT_TRUE(taken.error().incomplete) << taken.error().what;
        }
      });
    }
  }
}

// In the reference a repeated header entry with one value replaces what came before, here it
// appends; so these three vectors have other values than recorded.
bool is_decided_otherwise(const std::string& name) {
  return name.starts_with("http-header/duplicate-key");
}

TEST(Golden, MalformedInputGetsTheVerdictWanted) {
  const Json vectors = load_vectors("malformed.json");
  EXPECT_EQ(cJSON_GetArraySize(vectors.get()), 139);
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    const std::string name = text_of(vector, "name");
    SCOPED_TRACE(name);
    const std::string ours = text_of(vector, "ours");
    const std::string verdict = ours.empty() ? text_of(vector, "verdict") : ours;
    const std::string bytes = bytes_of(vector);
    with_message(vector, [&](auto message) {
      const auto taken = decode(as_bytes(bytes), message);
      const std::string actual =
          taken ? "accept" : (taken.error().incomplete ? "incomplete" : "reject");
      EXPECT_EQ(actual, verdict) << (taken ? to_json(message) : taken.error().what);
      if (!taken || verdict != "accept")
        return;
      EXPECT_EQ(static_cast<int>(*taken), member(vector, "consumed")->valueint);
      const cJSON* value = member(vector, "value");
      if (value != nullptr && !is_decided_otherwise(name)) {
        EXPECT_TRUE(same_json(to_json(message), value)) << to_json(message);
      }
    });
  }
}

TEST(Golden, RepeatedHeaderEntriesAreGroupedInOrder) {
  const Json vectors = load_vectors("malformed.json");
  int seen = 0;
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    if (!is_decided_otherwise(text_of(vector, "name")))
      continue;
    ++seen;
    DaemonMessage message;
    ASSERT_TRUE(decode(as_bytes(bytes_of(vector)), message));
    const auto& request = message.get<"TcpSteal">().get<"HttpRequest">();
    const auto& entries = request.internal_request.headers.entries;
    ASSERT_EQ(entries.size(), 1u);
    EXPECT_GE(entries[0].values.size(), 2u);
  }
  EXPECT_EQ(seen, 3);
}

}  // namespace
}  // namespace mirrord::proto
