// tests/unit/k8s/near_names_test.cpp — which names are proposed for one that does not exist.
#include "k8s/near_names.h"

#include <gtest/gtest.h>

namespace mirrord::k8s {
namespace {

using Names = std::vector<std::string>;

TEST(NearNames, ExtensionsComeBeforeTypingMistakes) {
  EXPECT_EQ(near_names("web", {"db", "wep", "web-7d9f-x2x"}), (Names{"web-7d9f-x2x", "wep"}));
  EXPECT_EQ(near_names("frontend-old", {"frontend", "backend"}), Names{"frontend"});
}

TEST(NearNames, WhatIsUnlikeIsNotProposed) {
  EXPECT_EQ(near_names("payments", {"web", "db", ""}), Names{});
  EXPECT_EQ(near_names("", {"web"}), Names{});
  EXPECT_EQ(near_names(std::string(5000, 'a'), {"aaaa"}), Names{});
}

TEST(NearNames, OnlyAFewAreProposed) {
  EXPECT_EQ(near_names("web", {"web-1", "web-2", "web-3", "web-4"}, 2), (Names{"web-1", "web-2"}));
}

}  // namespace
}  // namespace mirrord::k8s
