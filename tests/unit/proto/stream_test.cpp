// tests/unit/proto/stream_test.cpp — messages out of streams cut anywhere; work and memory bounded.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "proto/random.h"
#include "proto/stream_decoder.h"
#include "tests/unit/proto/vectors.h"

namespace mirrord::proto {
namespace {

struct Outcome {
  std::vector<std::string> messages;
  std::vector<u64> boundaries;
  std::string error;  // and where
  std::string end;
  u64 examined = 0;
  u64 calls = 0;
};
bool operator==(const Outcome& a, const Outcome& b) {
  return a.messages == b.messages && a.boundaries == b.boundaries && a.error == b.error &&
         a.end == b.end;
}

// Feeds the pieces between the cuts, taking messages out after each.
template <class Message>
Outcome run(std::string_view bytes, const std::vector<std::size_t>& cuts,
            std::size_t buffer_size = 64) {
  StreamDecoder<Message> decoder(buffer_size);
  Outcome out;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= cuts.size() && out.error.empty(); ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : bytes.size();
    decoder.feed(as_bytes(bytes.substr(start, end - start)));
    start = end;
    while (true) {
      auto message = decoder.next();
      ++out.calls;
      if (!message) {
        out.error = message.error().what + " at " + std::to_string(message.error().offset);
        break;
      }
      if (!*message)
        break;
      out.messages.push_back(encoded(**message));
      out.boundaries.push_back(decoder.consumed());
    }
  }
  const auto end = decoder.finish();
  out.end = end ? "" : end.error().what;
  out.examined = decoder.examined();
  return out;
}

std::vector<std::size_t> random_cuts(Random& random, std::size_t size) {
  std::vector<std::size_t> cuts;
  for (u64 n = random.below(12); n > 0; --n)
    cuts.push_back(random.below(size + 1));
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

template <class Message>
void expect_stream(const cJSON* vector, const std::string& bytes) {
  const Outcome whole = run<Message>(bytes, {});
  EXPECT_EQ(static_cast<int>(whole.messages.size()), member(vector, "complete")->valueint);
  const cJSON* boundary = member(vector, "boundaries")->child;
  for (const u64 end : whole.boundaries) {
    ASSERT_NE(boundary, nullptr);
    EXPECT_EQ(end, static_cast<u64>(boundary->valuedouble));
    boundary = boundary->next;
  }
  const u64 tail = bytes.size() - (whole.boundaries.empty() ? 0 : whole.boundaries.back());
  EXPECT_EQ(tail, static_cast<u64>(member(vector, "tail_bytes")->valuedouble));
  const bool fails = !cJSON_IsNull(member(vector, "error"));
  EXPECT_EQ(!whole.error.empty(), fails) << whole.error;
  if (!fails) {
    EXPECT_EQ(whole.end, tail > 0 ? "bytes remaining on stream" : "");
  }

  for (std::size_t cut = 0; cut <= bytes.size(); ++cut)
    ASSERT_TRUE(run<Message>(bytes, {cut}) == whole) << "cut at " << cut;
  std::vector<std::size_t> everywhere(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    everywhere[i] = i;
  ASSERT_TRUE(run<Message>(bytes, everywhere) == whole);
  Random random(bytes.size());
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(run<Message>(bytes, random_cuts(random, bytes.size())) == whole);
}

TEST(Stream, GivesTheSameMessagesHoweverTheBytesAreCut) {
  const Json vectors = load_vectors("stream.json");
  EXPECT_EQ(cJSON_GetArraySize(vectors.get()), 22);
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    SCOPED_TRACE(text_of(vector, "name"));
    const std::string bytes = bytes_of(vector);
    with_message(vector, [&](auto message) { expect_stream<decltype(message)>(vector, bytes); });
  }
}

TEST(Stream, FailsAtTheSameByteHoweverTheBytesAreCut) {
  const Json vectors = load_vectors("malformed.json");
  for (const cJSON* vector = vectors->child; vector != nullptr; vector = vector->next) {
    const std::string bytes = bytes_of(vector);
    if (bytes.size() > 1000)
      continue;
    SCOPED_TRACE(text_of(vector, "name"));
    with_message(vector, [&](auto message) {
      using Message = decltype(message);
      const Outcome whole = run<Message>(bytes, {});
      for (std::size_t cut = 0; cut <= bytes.size(); ++cut)
        ASSERT_TRUE(run<Message>(bytes, {cut}) == whole) << "cut at " << cut;
    });
  }
}

TEST(Stream, RandomMessagesArriveUnchanged) {
  Random random(3);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    std::vector<std::string> expected;
    for (int i = 0; i < 5; ++i) {
      expected.push_back(encoded(random.daemon_message()));
      bytes += expected.back();
    }
    const Outcome out = run<DaemonMessage>(bytes, random_cuts(random, bytes.size()), 4096);
    ASSERT_EQ(out.error, "");
    ASSERT_EQ(out.end, "");
    ASSERT_TRUE(out.messages == expected);
  }
}

// Reads of `step` bytes into whatever writable() offers, as from a socket.
template <class Message>
u64 drain(StreamDecoder<Message>& decoder, std::string_view bytes, std::size_t step, u64& calls) {
  u64 messages = 0;
  while (!bytes.empty()) {
    const auto space = decoder.writable();
    const std::size_t count = std::min({space.size(), bytes.size(), step});
    std::memcpy(space.data(), bytes.data(), count);
    decoder.commit(count);
    bytes.remove_prefix(count);
    while (true) {
      auto message = decoder.next();
      ++calls;
      if (!message || !*message)
        break;
      ++messages;
    }
  }
  return messages;
}

// The same as readv(2) fills the parts that writable_parts() offers.
template <class Message>
std::vector<std::string> drain_parts(StreamDecoder<Message>& decoder, std::string_view bytes,
                                     Random& random) {
  std::vector<std::string> messages;
  while (!bytes.empty()) {
    const auto parts = decoder.writable_parts();
    const std::size_t step = 1 + random.below(200'000);
    std::size_t count = 0;
    for (const std::span<std::byte> space : {parts.first, parts.second}) {
      const std::size_t some = std::min({space.size(), bytes.size(), step - count});
      std::memcpy(space.data(), bytes.data(), some);
      bytes.remove_prefix(some);
      count += some;
    }
    decoder.commit(count);
    while (true) {
      auto message = decoder.next();
      if (!message || !*message)
        break;
      messages.push_back(encoded(**message));
    }
  }
  return messages;
}

std::string data_message(std::size_t size, char first) {
  std::string text(size, first);
  for (std::size_t i = 0; i < size; ++i)
    text[i] = static_cast<char>(text[i] + i * 7);
  return encoded(DaemonMessage::make<"TcpOutgoing">(
      DaemonTcpOutgoing::make<"Read">(DaemonRead{7, Bytes(std::string_view(text))})));
}

TEST(Stream, TakesThePayloadAndWhatFollowsItFromOneRead) {
  Random random(7);
  std::string bytes;
  std::vector<std::string> expected;
  for (int i = 0; i < 200; ++i) {
    const std::size_t size = i % 3 == 0 ? random.below(100) : random.below(300'000);
    expected.push_back(data_message(size, static_cast<char>(i)));
    bytes += expected.back();
  }
  for (const std::size_t limit : {SIZE_MAX, std::size_t{10'000}}) {
    DaemonStreamDecoder decoder;
    decoder.limit_payload_reads(limit);
    EXPECT_TRUE(drain_parts(decoder, bytes, random) == expected);
    EXPECT_TRUE(decoder.finish());
  }
}

TEST(Stream, LetsPartsOfAPayloadBeTakenOutBeforeItsEnd) {
  const std::string bytes = data_message(500'000, 'a');
  DaemonStreamDecoder decoder;
  std::string taken;
  std::string_view rest = bytes;
  std::optional<DaemonMessage> complete;
  while (!complete) {
    const auto parts = decoder.writable_parts();
    const std::size_t count = std::min({parts.first.size(), rest.size(), std::size_t{30'000}});
    std::memcpy(parts.first.data(), rest.data(), count);
    decoder.commit(count);
    rest.remove_prefix(count);
    auto message = decoder.next();
    ASSERT_TRUE(message);
    complete = std::move(*message);
    if (const auto unfinished = decoder.unfinished(); !complete && unfinished.payload != nullptr) {
      EXPECT_TRUE(unfinished.message->is<"TcpOutgoing">());
      taken += unfinished.payload->text();
      unfinished.payload->clear();
    }
  }
  EXPECT_TRUE(rest.empty());
  EXPECT_GT(taken.size(), 400'000u);
  taken += complete->get<"TcpOutgoing">().get<"Read">()->bytes.text();
  EXPECT_EQ(data_message(0, 'x').size() + 4 + taken.size(), bytes.size());
  EXPECT_TRUE(bytes.ends_with(taken));
}

TEST(Stream, EncodesAMessageAroundAPayloadThatIsElsewhere) {
  for (const std::size_t size : {1u, 250u, 251u, 70'000u}) {
    const std::string text(size, 'p');
    const auto whole = DaemonMessage::make<"File">(
        FileResponse::make<"ReadLimited">(ReadFileResponse{Bytes(std::string_view(text)), size}));
    auto empty =
        DaemonMessage::make<"File">(FileResponse::make<"ReadLimited">(ReadFileResponse{{}, size}));
    const Bytes& place = empty.get<"File">().get<"ReadLimited">()->bytes;
    const auto parts = encode_around(empty, place, size);
    ASSERT_TRUE(parts);
    const auto text_of = [](std::span<const std::byte> span) {
      return std::string(reinterpret_cast<const char*>(span.data()), span.size());
    };
    EXPECT_EQ(text_of(parts->head()) + text + text_of(parts->tail()), encoded(whole));
  }
}

std::string directory_listing(std::size_t entries) {
  ReadDirBatchResponse listing{1, {}};
  for (std::size_t i = 0; i < entries; ++i)
    listing.dir_entries.push_back({i, i, "entry-" + std::to_string(i), 8});
  return encoded(DaemonMessage::make<"File">(FileResponse::make<"ReadDirBatch">(listing)));
}

// A long list of small elements is the worst case for decoders that start over.
TEST(Stream, LooksAtEveryByteOnceApartFromCutIntegers) {
  const std::string bytes = directory_listing(100'000);
  for (const std::size_t step : {1u, 7u, 100u, 8192u, 1'000'000u}) {
    DaemonStreamDecoder decoder;
    u64 calls = 0;
    EXPECT_EQ(drain(decoder, bytes, step, calls), 1u);
    EXPECT_LE(decoder.examined(), bytes.size() + 24 * calls);
    EXPECT_GE(decoder.examined(), bytes.size());
  }
}

TEST(Stream, ReadsALargePayloadStraightIntoItsOwnMemory) {
  const std::size_t size = 900'000;
  std::string bytes = encoded(DaemonMessage::make<"TcpOutgoing">(
      DaemonTcpOutgoing::make<"Read">(DaemonRead{7, Bytes(std::string(size, 'x'))})));
  DaemonStreamDecoder decoder;
  const std::size_t first = 10;
  decoder.feed(as_bytes(bytes).first(first));
  ASSERT_FALSE(*decoder.next());
  const std::byte* begin = nullptr;
  std::string_view rest = std::string_view(bytes).substr(first);
  while (!rest.empty()) {
    const auto space = decoder.writable();
    const std::size_t count = std::min({space.size(), rest.size(), std::size_t{30'000}});
    if (begin == nullptr)
      begin = space.data();
    std::memcpy(space.data(), rest.data(), count);
    decoder.commit(count);
    rest.remove_prefix(count);
    if (!rest.empty()) {
      ASSERT_FALSE(*decoder.next());
    }
  }
  auto message = decoder.next();
  ASSERT_TRUE(message && *message);
  const auto& read = *(*message)->get<"TcpOutgoing">().get<"Read">();
  EXPECT_EQ(read.bytes.size(), size);
  EXPECT_EQ(read.bytes.text(), std::string(size, 'x'));
  // The payload starts a few bytes before the first space that was handed out: no copy was made.
  EXPECT_EQ(read.bytes.data() + (first - (bytes.size() - size)), begin);
}

TEST(Stream, GrowsAPayloadOnlyAsItArrives) {
  std::string bytes = encoded(ClientMessage::make<"TcpOutgoing">(
      LayerTcpOutgoing::make<"Write">(LayerWrite{7, Bytes(std::string(300, 'x'))})));
  bytes = bytes.substr(0, 3);
  bytes += std::string("\xFC\x00\x00\x00\x04", 5);  // 64 MiB announced
  bytes += std::string(100, 'x');
  ClientStreamDecoder decoder;
  decoder.feed(as_bytes(bytes));
  ASSERT_FALSE(*decoder.next());
  EXPECT_LE(decoder.writable().size(), ClientStreamDecoder::kGrowthStep);
}

TEST(Stream, DeliversWhatCameBeforeAnErrorAndThenStaysFailed) {
  ClientStreamDecoder decoder;
  decoder.feed(as_bytes("\x07\x0B\xFF"));
  EXPECT_TRUE((*decoder.next())->is<"Ping">());
  EXPECT_TRUE((*decoder.next())->is<"ReadyForLogs">());
  EXPECT_EQ(decoder.next().error().offset, 2u);
  decoder.feed(as_bytes("\x07"));
  EXPECT_FALSE(decoder.next());
  EXPECT_FALSE(decoder.finish());
}

TEST(Stream, KeepsItsPlaceWhenMoved) {
  const std::string bytes = directory_listing(10);
  DaemonStreamDecoder first;
  first.feed(as_bytes(bytes).first(20));
  ASSERT_FALSE(*first.next());
  DaemonStreamDecoder second = std::move(first);
  second.feed(as_bytes(bytes).subspan(20));
  EXPECT_TRUE(*second.next());
  EXPECT_TRUE(second.finish());
}

TEST(Stream, BoundsTheMemoryOfOneMessage) {
  // A request whose header "l" announces 128 Mi values: each may be short, together they may not.
  const std::string bytes = parse_hex("020403474554012f01016cfc00000008").value();
  DaemonStreamDecoder decoder;
  decoder.feed(as_bytes(bytes));
  const auto message = decoder.next();
  ASSERT_FALSE(message);
  EXPECT_NE(message.error().what.find("too l"), std::string::npos) << message.error().what;
}

}  // namespace
}  // namespace mirrord::proto
