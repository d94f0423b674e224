// tests/unit/k8s/target_path_test.cpp — the grammar of targets, both ways.
#include "k8s/target_path.h"

#include <gtest/gtest.h>

namespace mirrord::k8s {
namespace {

std::string round_trip(std::string_view text) {
  const auto path = parse_target_path(text);
  return path ? to_text(*path) : path.error().what;
}

TEST(TargetPath, EveryKindIsReadAndWritten) {
  for (const KindInfo& kind : target_kinds()) {
    const std::string plain = std::string(kind.word) + "/a.b-c";
    EXPECT_EQ(round_trip(plain), plain);
    EXPECT_EQ(round_trip(plain + "/container/d"), plain + "/container/d");
    EXPECT_EQ(parse_target_path(plain)->kind, kind.kind);
    EXPECT_EQ(find_kind(kind.kind)->word, kind.word);
  }
  EXPECT_EQ(round_trip("deploy/x"), "deployment/x");
  EXPECT_EQ(round_trip("targetless"), "targetless");
}

TEST(TargetPath, LabelsAreSortedAndMayHaveSlashes) {
  const auto path = parse_target_path("label/b=2,a.io/x=1,c=/container/main");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->kind, TargetKind::kLabels);
  EXPECT_EQ(path->container, "main");
  EXPECT_EQ(to_text(*path), "label/a.io/x=1,b=2,c=/container/main");
}

TEST(TargetPath, WrongOnesSayWhy) {
  EXPECT_EQ(round_trip("web"),
            "invalid target `web`: there is no target kind `web`; did you mean `pod/web`?");
  EXPECT_EQ(round_trip("Pod/x"), "invalid target `Pod/x`: there is no target kind `Pod`");
  EXPECT_EQ(round_trip("pod"), "invalid target `pod`: the name after `pod/` is missing");
  EXPECT_EQ(round_trip("pod//container/c"), "invalid target `pod//container/c`: the name is empty");
  EXPECT_EQ(round_trip("pod/x/container/"),
            "invalid target `pod/x/container/`: the container's name is empty");
  EXPECT_EQ(round_trip("pod/x/c"),
            "invalid target `pod/x/c`: after the name only /container/CONTAINER may follow");
  EXPECT_EQ(round_trip("pod/x/container/c/d"),
            "invalid target `pod/x/container/c/d`: the container's name has a slash in it");
  EXPECT_EQ(round_trip("label/=1"), "invalid target `label/=1`: a label is written KEY=VALUE");
  EXPECT_EQ(round_trip("label/a=1,"), "invalid target `label/a=1,`: a label is written KEY=VALUE");
  EXPECT_EQ(round_trip("label/a=1,a=2"),
            "invalid target `label/a=1,a=2`: the label `a` stands twice");
  EXPECT_NE(parse_target_path("x").error().hint.find("statefulset"), std::string::npos);
}

}  // namespace
}  // namespace mirrord::k8s
