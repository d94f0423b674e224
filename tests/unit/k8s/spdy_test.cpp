// tests/unit/k8s/spdy_test.cpp — the SPDY form of a port-forward: what it sends, byte for byte, and
// what it makes of frames that come whole, in pieces, and broken.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "k8s/spdy_tunnel.h"
#include "tests/unit/k8s/frames.h"

namespace mirrord::k8s {
namespace {

using namespace std::string_literals;
using Kind = TunnelEvent::Kind;
using Carrier = SpdyTunnel::Carrier;

std::string big_endian(std::uint64_t value, int size) {
  std::string text;
  for (int i = size - 1; i >= 0; --i) {
    text += static_cast<char>(value >> (8 * i));
  }
  return text;
}

std::string control(unsigned type, unsigned flags, const std::string& body) {
  return "\x80\x03"s + big_endian(type, 2) + big_endian(flags, 1) + big_endian(body.size(), 3) +
         body;
}

std::string data(unsigned stream, const std::string& text, bool is_last = false) {
  return big_endian(stream, 4) + (is_last ? "\1"s : "\0"s) + big_endian(text.size(), 3) + text;
}

std::string reply(unsigned stream) {
  return control(2, 0, big_endian(stream, 4) + "compressed headers");
}

const std::string kOpen = reply(1) + reply(3);

struct Events {
  std::string log;  // one letter per event
  std::string data, replies, text;
};

Events feed(SpdyTunnel& tunnel, const std::string& text, std::size_t step) {
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
      const char letter = kLetters[static_cast<std::size_t>(event.kind)];
      const bool is_more_data = letter == 'D' && events.log.ends_with('D');
      if (event.kind != Kind::kNothing && !is_more_data) {
        events.log += letter;
      }
      events.data += text_of(event.data);
      events.replies += text_of(event.reply);
      if (event.kind != Kind::kPodError || !event.text.starts_with(events.text)) {
        events.text += event.text;
      } else {
        events.text = event.text;
      }
      if (event.kind == Kind::kBroken) {
        return events;
      }
    }
    kept = text_of(input);
  }
  return events;
}

// On the bare connection and in WebSocket messages that cut frames anywhere; whole and in pieces.
Events feed_all_ways(const std::string& text) {
  SpdyTunnel whole(Carrier::kConnection, 8080);
  const Events expected = feed(whole, text, 1'000'000);
  for (const std::size_t step : {1u, 3u, 8u, 1000u}) {
    SpdyTunnel tunnel(Carrier::kConnection, 8080);
    const Events events = feed(tunnel, text, step);
    EXPECT_EQ(events.log, expected.log) << step;
    EXPECT_EQ(events.data, expected.data);
    EXPECT_EQ(events.text, expected.text);
    std::string messages;
    for (std::size_t at = 0; at < text.size(); at += step) {
      messages += server_frame(2, text.substr(at, step));
    }
    SpdyTunnel inside(Carrier::kWebSocket, 8080);
    const Events wrapped = feed(inside, messages, 7);
    EXPECT_EQ(wrapped.log, expected.log) << step;
    EXPECT_EQ(wrapped.data, expected.data);
  }
  return expected;
}

TEST(SpdyTunnel, OpensTwoStreamsWithTheirHeaders) {
  SpdyTunnel tunnel(Carrier::kConnection, 8080);
  const auto headers = [](const std::string& type) {
    const auto pair = [](const std::string& name, const std::string& value) {
      return big_endian(name.size(), 4) + name + big_endian(value.size(), 4) + value;
    };
    return big_endian(3, 4) + pair("streamtype", type) + pair("port", "8080") +
           pair("requestid", "0");
  };
  const auto stored = [](const std::string& text) {
    const auto size = static_cast<unsigned>(text.size());
    const std::string little{static_cast<char>(size & 0xFF), static_cast<char>(size >> 8)};
    const std::string inverse{static_cast<char>(~size & 0xFF),
                              static_cast<char>((~size >> 8) & 0xFF)};
    return "\0"s + little + inverse + text + "\0\0\0\xFF\xFF"s;
  };
  const std::string expected =
      control(1, 0,
              big_endian(1, 4) + big_endian(0, 4) + "\0\0"s + "\x78\xBB\xE3\xC6\xA7\xC2"s +
                  stored(headers("error"))) +
      data(1, "", true) +
      control(1, 0, big_endian(3, 4) + big_endian(0, 4) + "\0\0"s + stored(headers("data")));
  EXPECT_EQ(text_of(tunnel.opening()), expected);
  SpdyTunnel inside(Carrier::kWebSocket, 8080);
  const auto frame = read_client_frame(inside.opening());
  ASSERT_TRUE(frame);
  EXPECT_EQ(*frame, (std::pair<int, std::string>(2, expected)));
}

TEST(SpdyTunnel, WrapsDataInPlaceAndEndsIt) {
  std::vector<std::byte> buffer(SpdyTunnel::kRoom + 3);
  std::byte* payload = buffer.data() + SpdyTunnel::kRoom;
  std::ranges::copy(bytes_of("abc"), payload);
  SpdyTunnel tunnel(Carrier::kConnection, 8080);
  EXPECT_EQ(text_of(tunnel.wrap(payload, 3)), data(3, "abc"));
  EXPECT_EQ(text_of(tunnel.finish()), data(3, "", true));
  EXPECT_EQ(text_of(tunnel.ping()), control(6, 0, big_endian(1, 4)));
  EXPECT_EQ(text_of(tunnel.ping()), control(6, 0, big_endian(3, 4)));
  SpdyTunnel inside(Carrier::kWebSocket, 8080);
  EXPECT_EQ(read_client_frame(inside.wrap(payload, 3))->second, data(3, "abc"));
  EXPECT_EQ(read_client_frame(inside.ping())->first, 9);
}

TEST(SpdyTunnel, OpensWithBothRepliesAndHandsDataOn) {
  const std::string big(100'000, 'b');
  const Events events =
      feed_all_ways(reply(1) + control(4, 0, "settings....") + reply(3) + data(3, "hello ") +
                    data(3, "") + data(9, "for nobody") + control(9, 0, big_endian(3, 4) + "wind") +
                    data(3, big) + control(7, 0, big_endian(0, 8)));
  EXPECT_EQ(events.log, "OD");
  EXPECT_EQ(events.data, "hello " + big);
}

TEST(SpdyTunnel, ReportsTheEndOfEachStream) {
  EXPECT_EQ(feed_all_ways(kOpen + data(3, "last", true)).log, "ODE");
  EXPECT_EQ(feed_all_ways(kOpen + data(3, "", true) + data(1, "", true)).log, "OEC");
  EXPECT_EQ(feed_all_ways(kOpen + data(1, "", true) + data(3, "last", true)).log, "ODC");
  EXPECT_EQ(feed_all_ways(kOpen + control(3, 0, big_endian(3, 4) + big_endian(5, 4))).log, "OC");
}

TEST(SpdyTunnel, ReportsTheErrorStream) {
  const Events events = feed_all_ways(kOpen + data(1, "connection refused") + data(3, "rest") +
                                      data(1, "", true) + data(3, "", true));
  EXPECT_TRUE(events.log.starts_with("OPD")) << events.log;
  EXPECT_TRUE(events.log.ends_with("C")) << events.log;
  EXPECT_TRUE(events.text.starts_with("connection refused")) << events.text;
}

TEST(SpdyTunnel, AnswersTheServersPingsOnly) {
  SpdyTunnel tunnel(Carrier::kConnection, 8080);
  const Events events =
      feed(tunnel, control(6, 0, big_endian(2, 4)) + control(6, 0, big_endian(1, 4)), 1'000'000);
  EXPECT_EQ(events.log, "R");
  EXPECT_EQ(events.replies, control(6, 0, big_endian(2, 4)));
}

TEST(SpdyTunnel, RefusesWhatIsNotSpdy) {
  for (const std::string& broken :
       {"\x80\x02\0\1\0\0\0\1x"s, "\xFFgarbage garbage"s, control(2, 0, "sh"), control(3, 0, ""),
        "\x80\x03\0\4\0\xFF\xFF\xFF"s}) {
    for (const std::size_t step : {1u, 1000u}) {
      SpdyTunnel tunnel(Carrier::kConnection, 8080);
      EXPECT_TRUE(feed(tunnel, broken, step).log.ends_with("B")) << broken;
    }
  }
}

}  // namespace
}  // namespace mirrord::k8s
