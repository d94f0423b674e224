// tests/unit/k8s/websocket_test.cpp — WebSocket frames and the channel protocol on top of them,
// whole, in pieces, and broken.
#include "k8s/websocket.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "k8s/channel_tunnel.h"
#include "tests/unit/k8s/frames.h"

namespace mirrord::k8s {
namespace {

using Bytes = std::vector<std::byte>;
using Kind = TunnelEvent::Kind;

TEST(WebSocketKey, IsAcceptedAsTheStandardsExampleSays) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(make_websocket_key().size(), 24u);
  EXPECT_NE(make_websocket_key(), make_websocket_key());
}

TEST(WebSocketWriter, MasksAndMeasuresPayloadsOfEverySize) {
  WsWriter writer;
  for (const std::size_t size : {0u, 1u, 7u, 125u, 126u, 127u, 65535u, 65536u, 200'001u}) {
    std::string payload(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
      payload[i] = static_cast<char>(i * 31);
    }
    const Bytes frame = writer.frame(bytes_of(payload), WsOpcode::kBinary);
    const auto seen = read_client_frame(frame);
    ASSERT_TRUE(seen) << size;
    EXPECT_EQ(seen->first, 2);
    EXPECT_EQ(seen->second, payload);
  }
}

TEST(WebSocketWriter, UsesAnotherMaskForEachFrame) {
  WsWriter writer;
  const Bytes first = writer.frame(bytes_of("same"), WsOpcode::kBinary);
  const Bytes second = writer.frame(bytes_of("same"), WsOpcode::kBinary);
  EXPECT_NE(first, second);
}

// What a reader says of some bytes that come in pieces of a given size.
struct Seen {
  std::string data, controls, error;
  int messages_begun = 0, messages_ended = 0;
};

Seen read_all(const std::string& text, std::size_t step) {
  WsReader reader;
  Seen seen;
  std::string kept;
  for (std::size_t at = 0; at < text.size(); at += step) {
    kept += text.substr(at, step);
    std::span<const std::byte> input = bytes_of(kept);
    while (true) {
      const WsReader::Event event = reader.next(input);
      if (event.kind == WsReader::Event::Kind::kNeedMore) {
        break;
      }
      if (event.kind == WsReader::Event::Kind::kBroken) {
        seen.error = event.error;
        return seen;
      }
      if (event.kind == WsReader::Event::Kind::kControl) {
        seen.controls += std::to_string(static_cast<int>(event.opcode)) + text_of(event.payload);
        continue;
      }
      seen.data += text_of(event.payload);
      seen.messages_begun += event.begins_message ? 1 : 0;
      seen.messages_ended += event.ends_message ? 1 : 0;
    }
    kept = text_of(input);
  }
  return seen;
}

TEST(WebSocketReader, PutsFragmentsTogetherWithControlFramesBetween) {
  const std::string big(70'000, 'b');
  const std::string text = server_frame(2, "one ", false) + server_frame(9, "are you there") +
                           server_frame(0, "", false) + server_frame(0, "two", true) +
                           server_frame(2, "") + server_frame(2, big) + server_frame(10, "");
  for (const std::size_t step : {1u, 2u, 3u, 1000u, 1'000'000u}) {
    const Seen seen = read_all(text, step);
    EXPECT_EQ(seen.error, "");
    EXPECT_EQ(seen.data, "one two" + big) << step;
    EXPECT_EQ(seen.controls, "9are you there10");
    EXPECT_EQ(seen.messages_begun, 3);
    EXPECT_EQ(seen.messages_ended, 3);
  }
}

TEST(WebSocketReader, RefusesWhatIsNotWebSocket) {
  using namespace std::string_literals;
  const std::string broken[] = {
      "HTTP/1.1 200 OK\r\n\r\n",  // reserved bits
      "\x82\x81zzzzq"s,           // masked
      "\x83\x01q"s,               // unknown opcodes
      "\x8B\x01q"s,
      server_frame(0, "q"),  // continues nothing
      server_frame(2, "a", false) + server_frame(2, "b"),
      "\x09\x01q"s,                                 // a control frame in fragments
      "\x89\x7E\x01\x00"s,                          // a long one
      "\x82\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s,  // 2^64 - 1 bytes
      "\x82\x7F\x00\x00\x00\x00\x08\x00\x00\x00"s,
  };
  for (const std::string& text : broken) {
    EXPECT_NE(read_all(text, 1).error, "") << text;
    EXPECT_NE(read_all(text, 1000).error, "") << text;
  }
}

TEST(WebSocketReader, DescribesACloseFrame) {
  using namespace std::string_literals;
  EXPECT_EQ(describe_close(bytes_of("")), "no reason given");
  EXPECT_EQ(describe_close(bytes_of("\x03\xE8"s)), "1000");
  EXPECT_EQ(describe_close(bytes_of("\x03\xF3went\naway"s)), "1011: went away");
}

// ---- channels

struct Events {
  std::string log;  // one letter per event
  std::string data, replies, text;
};

Events feed(ChannelTunnel& tunnel, const std::string& text, std::size_t step = 1'000'000) {
  Events events;
  std::string kept;
  for (std::size_t at = 0; at < text.size(); at += step) {
    kept += text.substr(at, step);
    std::span<const std::byte> input = bytes_of(kept);
    while (true) {
      const TunnelEvent event = tunnel.next(input);
      if (event.kind == Kind::kNeedMore) {
        break;
      }
      static constexpr std::string_view kLetters = "?.ODERPCB";
      if (event.kind != Kind::kNothing) {
        events.log += kLetters[static_cast<std::size_t>(event.kind)];
      }
      events.data += text_of(event.data);
      events.replies += text_of(event.reply);
      events.text += event.text;
      if (event.kind == Kind::kBroken) {
        return events;
      }
    }
    kept = text_of(input);
  }
  return events;
}

std::string channel(char number, const std::string& text) {
  return server_frame(2, number + text);
}

const std::string kGreeting = channel(0, "\x90\x1F") + channel(1, "\x90\x1F");  // port 8080

TEST(ChannelTunnel, OpensWhenBothChannelsHaveNamedThePort) {
  for (const std::size_t step : {1u, 5u, 1000u}) {
    ChannelTunnel tunnel(8080);
    const Events events = feed(tunnel, kGreeting + channel(0, "hello"), step);
    EXPECT_EQ(events.log.substr(0, 2), "OD");
    EXPECT_EQ(events.data, "hello");
  }
}

TEST(ChannelTunnel, TakesAGreetingInFragments) {
  ChannelTunnel tunnel(8080);
  const std::string zero(1, '\0');
  const Events events = feed(tunnel, server_frame(2, zero, false) + server_frame(0, "\x90", false) +
                                         server_frame(0, "\x1F", true) + channel(1, "\x90\x1F"));
  EXPECT_EQ(events.log, "O");
}

TEST(ChannelTunnel, RefusesAnotherPortAnotherChannelAndNoPort) {
  const std::string broken[] = {channel(0, "\x91\x1F"),     channel(0, "\x90"),
                                channel(0, "\x90\x1F\x01"), channel(0, ""),
                                channel(2, "\x90\x1F"),     channel(1, "some error text")};
  for (const std::string& text : broken) {
    ChannelTunnel tunnel(8080);
    const Events events = feed(tunnel, text);
    EXPECT_EQ(events.log, "B");
    EXPECT_NE(events.text, "");
  }
}

TEST(ChannelTunnel, ReportsTheErrorChannelAndIgnoresWhatSaysNothing) {
  ChannelTunnel tunnel(8080);
  const Events events =
      feed(tunnel, kGreeting + server_frame(1, "text") + channel(1, "") + channel(0, "") +
                       server_frame(2, "") + server_frame(2, "\x01refu", false) +
                       server_frame(0, "sed", true) + channel(0, "after"));
  EXPECT_EQ(events.log, "OPD");
  EXPECT_EQ(events.text, "refused");
  EXPECT_EQ(events.data, "after");
}

TEST(ChannelTunnel, AnswersPingsAndReportsTheClose) {
  ChannelTunnel tunnel(8080);
  const Events events = feed(tunnel, kGreeting + server_frame(9, "12345") + server_frame(10, "") +
                                         server_frame(8, "\x03\xE8"));
  EXPECT_EQ(events.log, "ORC");
  EXPECT_EQ(events.text, "the API server closed the connection (1000)");
  const auto pong = read_client_frame(bytes_of(events.replies));
  ASSERT_TRUE(pong);
  EXPECT_EQ(*pong, (std::pair<int, std::string>(10, "12345")));
}

TEST(ChannelTunnel, WrapsDataInPlace) {
  ChannelTunnel tunnel(8080);
  Bytes buffer(ChannelTunnel::kRoom + 3);
  std::ranges::copy(bytes_of("abc"), buffer.begin() + ChannelTunnel::kRoom);
  const auto frame = read_client_frame(tunnel.wrap(buffer.data() + ChannelTunnel::kRoom, 3));
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->second, std::string("\0abc", 4));
  EXPECT_EQ(read_client_frame(tunnel.ping())->first, 9);
  EXPECT_EQ(read_client_frame(tunnel.finish())->first, 8);
}

}  // namespace
}  // namespace mirrord::k8s
