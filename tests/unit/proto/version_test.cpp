// tests/unit/proto/version_test.cpp — semantic versions, the handshake's settlement and the gates.
#include "proto/version.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace mirrord::proto {
namespace {

SemVer version(std::string_view text) {
  return SemVer::parse(text).value();
}

TEST(Version, ParsesStrictSemVerOnly) {
  for (const std::string_view text : {"1.2.3", "0.0.0", "1.2.3-rc.1+b.7", "1.2.3-0", "1.2.3-01a",
                                      "1.2.3--", "1.2.3+001", "18446744073709551615.0.0"})
    EXPECT_EQ(version(text).to_string(), text);
  for (const std::string_view text :
       {"", "1", "1.2", "1.2.3.4", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-a..b", "1.2.3-01",
        "1.2.3+a+b", " 1.2.3", "1.2.3 ", "1.-2.3", "+1.2.3", "1..3", "1.2.3-é",
        "18446744073709551616.0.0"})
    EXPECT_FALSE(SemVer::parse(text)) << text;
}

TEST(Version, ComparesByPrecedence) {
  // The example of the SemVer specification, then numbers of different length.
  const std::string_view ascending[] = {"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
                                        "1.0.0-beta",  "1.0.0-beta.2",  "1.0.0-beta.11",
                                        "1.0.0-rc.1",  "1.0.0",         "1.2.2",
                                        "1.9.0",       "1.10.0",        "1.29.0",
                                        "2.0.0"};
  for (const auto& a : ascending)
    for (const auto& b : ascending)
      EXPECT_EQ(compare(version(a), version(b)) < 0, &a < &b) << a << " " << b;
  EXPECT_TRUE(compare(version("1.0.0+a"), version("1.0.0+b")) == 0);
}

TEST(Version, SettlesOnTheLowerAndEchoesFlightOnly) {
  const SemVer own = own_version();
  EXPECT_EQ(settle(own, version("1.20.0")).to_string(), "1.20.0");
  EXPECT_EQ(settle(own, version("1.30.1")).to_string(), "1.29.0");
  EXPECT_EQ(settle(own, version("1.29.0")).to_string(), "1.29.0");
  EXPECT_EQ(settle(own, client_version()).to_string(), "1.29.0+flight");
  EXPECT_EQ(settle(own, version("1.30.0+flight")).to_string(), "1.29.0+flight");
  EXPECT_EQ(settle(own, version("1.20.0+other")).to_string(), "1.20.0");
  EXPECT_TRUE(speaks_flight(settle(own, client_version())));
  EXPECT_FALSE(speaks_flight(own));
}

TEST(Version, AClientsKeyIsItsOwnBusiness) {
  const SemVer client = client_version("5f0c");
  EXPECT_EQ(client.to_string(), "1.29.0+flight.5f0c");
  EXPECT_EQ(client_key(client), "5f0c");
  EXPECT_EQ(client_key(*SemVer::parse(client.to_string())), "5f0c");
  EXPECT_TRUE(speaks_flight(client));
  EXPECT_EQ(settle(own_version(), client).to_string(), "1.29.0+flight");
  EXPECT_EQ(client_key(client_version()), "");
  EXPECT_EQ(client_key(version("1.29.0+other.5f0c")), "");
  EXPECT_FALSE(speaks_flight(version("1.29.0+flights")));
}

TEST(Version, OwnVersionPassesEveryGateAndTheOldestNone) {
  const SemVer oldest = version(kVersionWithoutHandshake);
  for (const GateRow& row : kGates) {
    EXPECT_TRUE(satisfies(own_version(), row.gate)) << row.covers;
    EXPECT_TRUE(satisfies(client_version(), row.gate)) << row.covers;
    EXPECT_FALSE(satisfies(oldest, row.gate)) << row.covers;
  }
}

TEST(Version, EachGateOpensAtItsVersionExactly) {
  for (const GateRow& row : kGates) {
    SemVer at;
    at.major = row.major;
    at.minor = row.minor;
    at.patch = row.patch;
    EXPECT_TRUE(satisfies(at, row.gate)) << row.covers;
    at.build = "x";
    EXPECT_TRUE(satisfies(at, row.gate)) << row.covers;
    SemVer before = at;
    if (before.patch > 0) {
      --before.patch;
    } else {
      --before.minor;
      before.patch = 99;
    }
    EXPECT_FALSE(satisfies(before, row.gate)) << row.covers;
  }
  EXPECT_TRUE(satisfies(version("2.0.0"), Gate::kShareLink));
}

TEST(Version, PreReleasePassesNoGate) {
  for (const GateRow& row : kGates)
    EXPECT_FALSE(satisfies(version("1.30.0-rc1"), row.gate)) << row.covers;
}

}  // namespace
}  // namespace mirrord::proto
