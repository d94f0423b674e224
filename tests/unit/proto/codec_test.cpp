// tests/unit/proto/codec_test.cpp — what the vectors do not say: limits, refusals, parts, access.
#include "proto/codec.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/proto/vectors.h"

namespace mirrord::proto {
namespace {

ClientMessage write_message(std::size_t size) {
  return ClientMessage::make<"TcpOutgoing">(
      LayerTcpOutgoing::make<"Write">(LayerWrite{300, Bytes(std::string(size, 'x'))}));
}

DaemonMessage read_reply(std::size_t size) {
  return DaemonMessage::make<"File">(FileResponse::make<"Read">(
      ReadFileResponse{Bytes(std::string(size, 'x')), static_cast<u64>(size)}));
}

TEST(Encode, DetachesALargePayloadWithoutCopyingIt) {
  auto message = read_reply(100'000);
  const std::string whole = encoded(message);
  const auto* content = message.get<"File">().get<"Read">()->bytes.data();
  const auto parts = encode_parts(std::move(message));
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->payload.data(), content);
  EXPECT_EQ(parts->payload.size(), 100'000u);
  EXPECT_EQ(parts->head().size(), 8u);
  EXPECT_EQ(parts->tail().size(), 5u);
  EXPECT_EQ(parts->size(), whole.size());
}

TEST(Encode, KeepsASmallPayloadInTheFrame) {
  const auto parts = encode_parts(write_message(kMinDetached - 1));
  ASSERT_TRUE(parts);
  EXPECT_TRUE(parts->payload.empty());
  EXPECT_TRUE(parts->tail().empty());
  EXPECT_EQ(parts->head().size(), encoded(write_message(kMinDetached - 1)).size());
}

TEST(Encode, RefusesTextThatPeersCouldNotRead) {
  const auto refused = [](const ClientMessage& message) {
    Bytes out(std::string_view("before"));
    const auto done = encode(message, out);
    EXPECT_EQ(out.text(), "before");
    EXPECT_FALSE(encoded_size(message));
    return done ? std::string() : done.error().what;
  };
  EXPECT_EQ(refused(ClientMessage::make<"FileRequest">(FileRequest::make<"ReadLink">("/caf\xE9"))),
            "path is not UTF-8");
  EXPECT_EQ(refused(ClientMessage::make<"GetAddrInfoRequest">("\xFF")), "text is not UTF-8");

  const auto respond = [](HttpStatus status, HttpHeaders headers) {
    return ClientMessage::make<"TcpSteal">(LayerTcpSteal::make<"HttpResponse">(
        HttpResponse<Payload>{80, 1, 0, {status, HttpVersion::kHttp11, std::move(headers), {}}}));
  };
  EXPECT_EQ(refused(respond({99}, {})), "not an HTTP status");
  HttpHeaders bad_name;
  bad_name.add("a b", "x");
  EXPECT_EQ(refused(respond({200}, bad_name)), "invalid HTTP header");
  HttpHeaders bad_value;
  bad_value.add("a", "x\ny");
  EXPECT_EQ(refused(respond({200}, bad_value)), "invalid HTTP header value");
}

TEST(Encode, AppendsToWhatIsThere) {
  Bytes out;
  ASSERT_TRUE(encode(ClientMessage::make<"Ping">(), out));
  ASSERT_TRUE(encode(ClientMessage::make<"ReadyForLogs">(), out));
  EXPECT_EQ(out.text(), "\x07\x0B");
}

TEST(Decode, AcceptsNestedFiltersUpToTheLimit) {
  const auto nested = [](int levels) {
    std::string bytes = "\x02" + std::string(1, '\0') + "\x02\x50";
    for (int i = 1; i < levels; ++i)
      bytes += "\x02\x01\x01";
    return bytes + std::string("\x02\x00\x00", 3);
  };
  ClientMessage message;
  EXPECT_TRUE(decode(as_bytes(nested(HttpFilter::kMaxNesting)), message));
  const auto refused = decode(as_bytes(nested(HttpFilter::kMaxNesting + 1)), message);
  ASSERT_FALSE(refused);
  EXPECT_FALSE(refused.error().incomplete);
}

TEST(Decode, LeavesTheMessageAloneWhenItFails) {
  auto message = ClientMessage::make<"GetAddrInfoRequest">("name");
  EXPECT_FALSE(decode(as_bytes("\x08\x7F"), message));
  EXPECT_EQ(message.get<"GetAddrInfoRequest">().node, "name");
}

TEST(Decode, SaysWhereTheInputIsWrong) {
  ClientMessage message;
  const auto refused = decode(as_bytes(std::string_view("\x01\x00\xFC\x00", 4)), message);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().offset, 2u);
  EXPECT_EQ(refused.error().what, "integer wider than its type");
}

TEST(Decode, AcceptsLengthsUpToTheLimitOnly) {
  ClientMessage message;
  std::string bytes = std::string("\x0C\x02\xFC\x00\x00\x00\x04", 7);  // Vpn.Packet of 64 MiB
  EXPECT_TRUE(decode(as_bytes(bytes), message).error().incomplete);
  bytes[3] = 1;
  EXPECT_FALSE(decode(as_bytes(bytes), message).error().incomplete);
}

TEST(Access, NamesTheCaseThatIsThere) {
  auto message = ClientMessage::make<"FileRequest">(FileRequest::make<"Close">(5u));
  EXPECT_EQ(message.name(), "FileRequest");
  EXPECT_EQ(message.index(), ClientMessage::index_of<"FileRequest">);
  EXPECT_TRUE(message.is<"FileRequest">());
  EXPECT_EQ(message.get_if<"Ping">(), nullptr);
  ASSERT_NE(message.get_if<"FileRequest">(), nullptr);
  EXPECT_EQ(message.get<"FileRequest">().get<"Close">().fd, 5u);
  EXPECT_THROW(message.get<"Ping">(), std::logic_error);
  EXPECT_EQ(message.visit([](const auto& payload) { return sizeof(payload); }),
            sizeof(FileRequest));
}

TEST(Access, CopiesAreIndependentAndMovesEmptyNothingElse) {
  auto message = write_message(10);
  auto copy = message;
  copy.get<"TcpOutgoing">().get<"Write">().bytes.append(std::string_view("y"));
  EXPECT_EQ(message.get<"TcpOutgoing">().get<"Write">().bytes.size(), 10u);
  message = std::move(copy);
  EXPECT_EQ(message.get<"TcpOutgoing">().get<"Write">().bytes.size(), 11u);
  message.emplace<"Ping">();
  EXPECT_TRUE(message.is<"Ping">());
}

// A part of a value may be assigned to the whole.
TEST(Access, AssignmentFromWithinItselfWorks) {
  HttpFilterComposite all{true, {}};
  all.filters.push_back(HttpFilter::make<"Path">("/a"));
  auto filter = HttpFilter::make<"Composite">(std::move(all));
  filter = std::move(filter.get<"Composite">().filters[0]);
  EXPECT_EQ(filter.get<"Path">(), "/a");
  const auto address = SocketAddress::make<"Ip">(*SockAddr::parse("[::1]:80"));
  EXPECT_TRUE(address == SocketAddress(address));
  EXPECT_FALSE(address == SocketAddress::make<"Unix">(UnixAddr::make<"Unnamed">()));
}

TEST(Bytes, GrowInPlaceAndCompareByContent) {
  Bytes bytes = Bytes::with_capacity(8);
  EXPECT_EQ(bytes.spare().size(), 8u);
  bytes.spare()[0] = std::byte{'a'};
  bytes.commit(1);
  bytes.append(std::string_view("bc"));
  EXPECT_EQ(bytes.text(), "abc");
  EXPECT_TRUE(bytes == Bytes(std::string_view("abc")));
  bytes.commit(100);  // no more than there is
  EXPECT_EQ(bytes.size(), 8u);
  bytes.truncate(2);
  EXPECT_EQ(bytes.text(), "ab");
  bytes = Bytes(bytes);
  EXPECT_EQ(bytes.text(), "ab");
}

TEST(Text, UriKeepsTheFormOfTheHttpLibrary) {
  EXPECT_EQ(normalize_uri("http://h"), "http://h/");
  EXPECT_EQ(normalize_uri("HTTP://h?q#f"), "http://h/?q");
  EXPECT_EQ(normalize_uri("http://u:p%20@[::1]:80/x"), "http://u:p%20@[::1]:80/x");
  EXPECT_EQ(normalize_uri("h:443"), "h:443");
  for (const char* bad : {"", " ", "http:///", "a/b", "h:1:2", "[::1", "u@", "/\x7F\x01", "a%b"})
    EXPECT_FALSE(normalize_uri(bad)) << bad;
}

}  // namespace
}  // namespace mirrord::proto
