// tests/unit/hook/address_test.cpp — socket addresses between the program's form and ours.
#include "hook/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/un.h>

#include <cstring>
#include <string>

namespace mirrord::hook {
namespace {

sockaddr_in v4(const char* text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

sockaddr_in6 v6(const char* text, uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  inet_pton(AF_INET6, text, &address.sin6_addr);
  return address;
}

template <class T>
local::Address from(const T& address, socklen_t length = sizeof(T)) {
  local::Address out;
  EXPECT_TRUE(to_local(reinterpret_cast<const sockaddr*>(&address), length, &out));
  return out;
}

TEST(Address, KeepsIpv4AddressAndPort) {
  const local::Address address = from(v4("10.1.2.3", 8080));
  EXPECT_EQ(address.family, AF_INET);
  EXPECT_EQ(address.port, 8080);
  EXPECT_EQ(address.length, 4U);
  EXPECT_EQ(address.data[3], 3);
}

TEST(Address, TurnsMappedIpv6IntoIpv4) {
  EXPECT_TRUE(is_same(from(v6("::ffff:10.1.2.3", 80)), from(v4("10.1.2.3", 80))));
}

TEST(Address, GivesIpv4BackInTheMappedFormForAnIpv6Socket) {
  sockaddr_storage storage;
  EXPECT_EQ(to_sockaddr(from(v4("10.1.2.3", 80)), AF_INET6, &storage), sizeof(sockaddr_in6));
  const sockaddr_in6 expected = v6("::ffff:10.1.2.3", 80);
  EXPECT_EQ(std::memcmp(&storage, &expected, sizeof expected), 0);
}

TEST(Address, CutsWhatDoesNotFitAndReportsTheFullLength) {
  char room[4] = {};
  socklen_t length = sizeof room;
  to_program(from(v4("10.1.2.3", 80)), AF_INET, reinterpret_cast<sockaddr*>(room), &length);
  EXPECT_EQ(length, sizeof(sockaddr_in));
  EXPECT_EQ(room[3], 80);  // low byte of the port: the first four bytes were written
}

TEST(Address, RefusesTruncatedAndForeignAddresses) {
  local::Address out;
  const sockaddr_in address = v4("10.1.2.3", 80);
  EXPECT_FALSE(to_local(reinterpret_cast<const sockaddr*>(&address), 4, &out));
  sockaddr other{};
  other.sa_family = AF_NETLINK;
  EXPECT_FALSE(to_local(&other, sizeof other, &out));
  EXPECT_FALSE(to_local(nullptr, 16, &out));
}

TEST(Address, TrimsPaddingOfUnixPathsButNotOfAbstractNames) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, "/run/x");
  EXPECT_EQ(from(address).length, 6U);
  std::memcpy(address.sun_path, "\0name\0\0", 7);
  EXPECT_EQ(from(address, offsetof(sockaddr_un, sun_path) + 7).length, 7U);
}

TEST(Address, KnowsLoopbackAndUnspecified) {
  EXPECT_TRUE(is_loopback(from(v4("127.9.9.9", 1))));
  EXPECT_TRUE(is_loopback(from(v6("::1", 1))));
  EXPECT_FALSE(is_loopback(from(v4("10.0.0.1", 1))));
  EXPECT_TRUE(is_unspecified(from(v4("0.0.0.0", 1))));
  EXPECT_TRUE(is_unspecified(from(v6("::", 1))));
  EXPECT_FALSE(is_unspecified(from(v6("::2", 1))));
}

}  // namespace
}  // namespace mirrord::hook
