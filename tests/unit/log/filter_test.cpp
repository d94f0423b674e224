// tests/unit/log/filter_test.cpp — which lines the directives of RUST_LOG's form let through.
#include "applets/log/filter.h"

#include <gtest/gtest.h>

namespace mirrord::log {
namespace {

TEST(LogFilter, ALevelIsForAllComponents) {
  const Filter filter = Filter::parse("info");
  EXPECT_TRUE(filter.allows(Component::kDns, Level::kInfo));
  EXPECT_TRUE(filter.allows(Component::kSession, Level::kError));
  EXPECT_FALSE(filter.allows(Component::kDns, Level::kDebug));
}

TEST(LogFilter, NothingIsWantedWithoutDirectives) {
  for (const char* text : {"", " ", ",", "off", "mirrord=off", "h2=trace", "nonsense"})
    EXPECT_FALSE(Filter::parse(text).allows(Component::kFiles, Level::kError)) << text;
  EXPECT_FALSE(Filter().allows(Component::kFiles, Level::kError));
}

TEST(LogFilter, TheMostSpecificPartWinsWhereverItStands) {
  for (const char* text : {"dns=trace,mirrord=debug,warn", "warn,mirrord=debug,dns=trace"}) {
    const Filter filter = Filter::parse(text);
    EXPECT_TRUE(filter.allows(Component::kDns, Level::kTrace)) << text;
    EXPECT_TRUE(filter.allows(Component::kFiles, Level::kDebug)) << text;
    EXPECT_FALSE(filter.allows(Component::kFiles, Level::kTrace)) << text;
  }
  const Filter quiet = Filter::parse("debug,files=off");
  EXPECT_FALSE(quiet.allows(Component::kFiles, Level::kError));
  EXPECT_TRUE(quiet.allows(Component::kDns, Level::kDebug));
}

TEST(LogFilter, TheLastOfTwoWins) {
  EXPECT_FALSE(Filter::parse("trace,info").allows(Component::kDns, Level::kDebug));
  EXPECT_TRUE(Filter::parse("dns=off,dns=debug").allows(Component::kDns, Level::kDebug));
}

TEST(LogFilter, ModulesOfTheOriginalMeanTheirComponent) {
  const Filter filter =
      Filter::parse("mirrord_intproxy::proxies::outgoing=trace,mirrord_layer=info");
  EXPECT_TRUE(filter.allows(Component::kOutgoing, Level::kTrace));
  EXPECT_TRUE(filter.allows(Component::kHook, Level::kInfo));
  EXPECT_FALSE(filter.allows(Component::kHook, Level::kDebug));
  EXPECT_FALSE(Filter::parse("hickory::dns=trace").allows(Component::kDns, Level::kError));
}

TEST(LogFilter, AComponentAloneIsWantedWhole) {
  const Filter filter = Filter::parse("incoming");
  EXPECT_TRUE(filter.allows(Component::kIncoming, Level::kTrace));
  EXPECT_FALSE(filter.allows(Component::kDns, Level::kError));
}

TEST(LogFilter, LettersAndSpacesDoNotMatter) {
  const Filter filter = Filter::parse(" WARN , Dns = Debug ");
  EXPECT_TRUE(filter.allows(Component::kDns, Level::kDebug));
  EXPECT_TRUE(filter.allows(Component::kFiles, Level::kWarn));
  EXPECT_FALSE(filter.allows(Component::kFiles, Level::kInfo));
}

}  // namespace
}  // namespace mirrord::log
