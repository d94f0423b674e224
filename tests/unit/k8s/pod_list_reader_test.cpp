// tests/unit/k8s/pod_list_reader_test.cpp — lists of pods in protobuf, whole, in pieces and broken.
#include "k8s/pod_list_reader.h"

#include <gtest/gtest.h>

namespace mirrord::k8s {
namespace {

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value > 127; value >>= 7)
    bytes += static_cast<char>(0x80 | (value & 127));
  return bytes + static_cast<char>(value);
}

std::string field(unsigned number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string pod(const std::string& name, const std::vector<std::string>& containers, bool ready) {
  std::string spec = field(1, "a volume");
  for (const std::string& container : containers)
    spec += field(2, field(2, "image") + field(1, container));
  const std::string condition = field(1, "Ready") + field(2, ready ? "True" : "False");
  // A number, a fixed64 and a fixed32 that are of no interest stand between.
  return field(1, field(3, "namespace") + field(1, name)) + varint(9 << 3) + varint(300) +
         field(2, spec) + varint(10 << 3 | 1) + std::string(8, 'x') + varint(11 << 3 | 5) + "1234" +
         field(3, field(1, "Running") + field(2, field(1, "Other")) + field(2, condition));
}

std::string list(const std::string& items, const std::string& next = "") {
  const std::string metadata = field(2, "17") + (next.empty() ? "" : field(3, next));
  return std::string("k8s\0", 4) + field(1, field(1, "v1") + field(2, "PodList")) +
         field(2, field(1, metadata) + items) + field(3, "") + field(4, "");
}

struct Reading {
  std::string text;  // "name:container,…+" per pod; "+" when ready
  bool is_well_formed = true;
  bool is_complete = false;
  std::string next;
};

Reading read(const std::string& bytes, std::size_t piece) {
  Reading reading;
  PodListReader reader([&reading](const ListedPod& found) {
    reading.text += found.name + ":";
    for (const std::string& container : found.containers)
      reading.text += container + ",";
    reading.text += found.is_ready ? "+ " : " ";
  });
  for (std::size_t at = 0; at < bytes.size() && reading.is_well_formed; at += piece)
    reading.is_well_formed = reader.feed(std::string_view(bytes).substr(at, piece)).has_value();
  reading.is_complete = reader.is_complete();
  reading.next = reader.continue_token();
  return reading;
}

TEST(PodListReader, ReadsWholeAndInPieces) {
  const std::string bytes = list(
      field(2, pod("a", {"x"}, true)) + field(2, pod("b", {"y", std::string(300, 'z')}, false)),
      "token");
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, bytes.size()}) {
    const Reading reading = read(bytes, piece);
    EXPECT_TRUE(reading.is_well_formed);
    EXPECT_TRUE(reading.is_complete);
    EXPECT_EQ(reading.text, "a:x,+ b:y," + std::string(300, 'z') + ", ");
    EXPECT_EQ(reading.next, "token");
  }
  EXPECT_TRUE(read(list(""), 3).is_complete);
}

TEST(PodListReader, ACutListIsNotComplete) {
  const std::string bytes = list(field(2, pod("a", {"x"}, true)) + field(2, pod("b", {}, true)));
  const std::size_t tail = field(3, "").size() + field(4, "").size();
  for (std::size_t size = 0; size + tail < bytes.size(); ++size) {
    const Reading reading = read(bytes.substr(0, size), 16);
    EXPECT_TRUE(reading.is_well_formed) << size;
    EXPECT_FALSE(reading.is_complete) << size;
  }
}

TEST(PodListReader, OtherBytesAreRefused) {
  EXPECT_FALSE(read("{\"kind\":\"PodList\"}", 64).is_well_formed);
  EXPECT_FALSE(read(std::string("k8s\0", 4) + std::string(64, '\xff'), 64).is_well_formed);
  // A pod larger than the list around it, and one larger than any.
  const std::string start = std::string("k8s\0", 4) + varint(2 << 3 | 2);
  EXPECT_FALSE(read(start + varint(10) + varint(2 << 3 | 2) + varint(100), 64).is_well_formed);
  EXPECT_FALSE(
      read(start + varint(1U << 30) + varint(2 << 3 | 2) + varint(1U << 29), 64).is_well_formed);
}

TEST(PodListReader, ChangedBytesNeverHarm) {
  const std::string bytes = list(field(2, pod("a", {"x"}, true)) + field(2, pod("b", {"y"}, true)));
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const int change : {1, 0x80, 0xff}) {
      std::string broken = bytes;
      broken[at] = static_cast<char>(broken[at] ^ change);
      EXPECT_LE(read(broken, 5).text.size(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace mirrord::k8s
