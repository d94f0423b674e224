// tests/unit/agent/resolve_test.cpp — no path leaves the root, by openat2 or by walking.
#include "applets/agent/resolve.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>
#include <string>

namespace mirrord::agent {
namespace {

namespace fs = std::filesystem;

enum class Way { kKernel, kWalk };

// /outside (a file with a secret) and the root beside it, with links of every kind that point there.
class Resolve : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/mirrord-resolve-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    base_ = pattern;
    fs::create_directories(base_ / "root/dir/sub");
    write(base_ / "outside", "secret");
    write(base_ / "root/inside", "inside");
    write(base_ / "root/outside", "decoy");
    write(base_ / "root/dir/file", "file");
    fs::create_symlink("../outside", base_ / "root/up");
    fs::create_symlink("../../../../../../../../outside", base_ / "root/dir/far_up");
    fs::create_symlink((base_ / "outside").string(), base_ / "root/absolute");
    fs::create_symlink("/inside", base_ / "root/dir/to_inside");
    fs::create_symlink("dir/to_inside", base_ / "root/chain");
    fs::create_symlink("/dir/..", base_ / "root/dots");
    fs::create_symlink("loop", base_ / "root/loop");
    fs::create_symlink("missing", base_ / "root/dangling");
    fs::create_symlink("dir", base_ / "root/dir_link");
    root_ = Fd(::open((base_ / "root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  void TearDown() override { fs::remove_all(base_); }

  static void write(const fs::path& path, std::string_view text) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    ASSERT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  Fd open(const char* path, int flags) {
    return GetParam() == Way::kKernel ? open_inside(root_.get(), path, flags, 0644)
                                      : open_inside_by_walking(root_.get(), path, flags, 0644);
  }
  std::string content(const char* path) {
    const Fd fd = open(path, O_RDONLY);
    if (!fd)
      return "errno " + std::to_string(errno);
    char buffer[64];
    const ssize_t size = ::read(fd.get(), buffer, sizeof buffer);
    return {buffer, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
  }
  static std::string error(int number) { return "errno " + std::to_string(number); }

  fs::path base_;
  Fd root_;
};

TEST_P(Resolve, LinksAndDotsEndAtTheRoot) {
  EXPECT_EQ(content("/outside"), "decoy");
  EXPECT_EQ(content("/../outside"), "decoy");
  EXPECT_EQ(content("/../../../../outside"), "decoy");
  EXPECT_EQ(content("/dir/../../outside"), "decoy");
  EXPECT_EQ(content("/up"), "decoy");
  EXPECT_EQ(content("/dir/far_up"), "decoy");
  EXPECT_EQ(content("/dots/../outside"), "decoy");
  EXPECT_EQ(content("/absolute"), error(ENOENT));
}

TEST_P(Resolve, FollowsLinksInside) {
  EXPECT_EQ(content("/inside"), "inside");
  EXPECT_EQ(content("/chain"), "inside");
  EXPECT_EQ(content("/dir/to_inside"), "inside");
  EXPECT_EQ(content("/dir_link/file"), "file");
  EXPECT_EQ(content("//dir///./file"), "file");
  EXPECT_EQ(content("/dots/inside"), "inside");
}

TEST_P(Resolve, GivesTheKernelsErrors) {
  EXPECT_EQ(content("/missing"), error(ENOENT));
  EXPECT_EQ(content("/dangling"), error(ENOENT));
  EXPECT_EQ(content("/loop"), error(ELOOP));
  EXPECT_EQ(content("/inside/x"), error(ENOTDIR));
  EXPECT_EQ(content("/inside/"), error(ENOTDIR));
  EXPECT_EQ(content(""), error(ENOENT));
  EXPECT_EQ(content(("/" + std::string(300, 'x')).c_str()), error(ENAMETOOLONG));
  std::string longest = "/inside";
  while (longest.size() < PATH_MAX)
    longest.insert(0, "/.");
  EXPECT_EQ(content(longest.c_str()), error(ENAMETOOLONG));
  EXPECT_EQ(content(longest.substr(longest.size() - 4095).c_str()), "inside");
  EXPECT_FALSE(open("/dir_link", O_RDONLY | O_NOFOLLOW));
  EXPECT_EQ(errno, ELOOP);
}

TEST_P(Resolve, NamesALinkItselfOnDemand) {
  const Fd link = open("/dangling", O_PATH | O_NOFOLLOW);
  ASSERT_TRUE(link);
  struct stat info {};
  ASSERT_EQ(::fstat(link.get(), &info), 0);
  EXPECT_TRUE(S_ISLNK(info.st_mode));
}

TEST_P(Resolve, CreatesInsideOnly) {
  EXPECT_TRUE(open("/dir/new", O_WRONLY | O_CREAT | O_EXCL));
  EXPECT_TRUE(fs::exists(base_ / "root/dir/new"));
  EXPECT_FALSE(open("/dir/new", O_WRONLY | O_CREAT | O_EXCL));
  EXPECT_EQ(errno, EEXIST);
  EXPECT_FALSE(open("/dangling", O_WRONLY | O_CREAT | O_EXCL));
  EXPECT_EQ(errno, EEXIST);
  EXPECT_TRUE(open("/../fresh", O_WRONLY | O_CREAT));
  EXPECT_FALSE(fs::exists(base_ / "fresh"));
  EXPECT_TRUE(fs::exists(base_ / "root/fresh"));
  EXPECT_TRUE(open("/dangling", O_WRONLY | O_CREAT));
  EXPECT_TRUE(fs::exists(base_ / "root/missing"));
}

INSTANTIATE_TEST_SUITE_P(BothWays, Resolve, testing::Values(Way::kKernel, Way::kWalk),
                         [](const auto& way) {
                           return way.param == Way::kKernel ? "Kernel" : "Walk";
                         });

class ResolveAt : public Resolve {
 protected:
  Fd open_at(const char* directory, const char* path, int flags = O_PATH) {
    const Fd dir(open_inside(root_.get(), directory, O_RDONLY | O_DIRECTORY));
    return open_inside_at(root_.get(), dir.get(), path, flags);
  }
  bool is(const Fd& fd, const fs::path& path) {
    struct stat a {};
    struct stat b {};
    return fd && ::fstat(fd.get(), &a) == 0 && ::stat(path.c_str(), &b) == 0 &&
           a.st_ino == b.st_ino;
  }
};

TEST_P(ResolveAt, StaysInTheRootNotInTheDirectory) {
  EXPECT_TRUE(is(open_at("/dir", "file"), base_ / "root/dir/file"));
  EXPECT_TRUE(is(open_at("/dir", "../inside"), base_ / "root/inside"));
  EXPECT_TRUE(is(open_at("/dir", "to_inside"), base_ / "root/inside"));
  EXPECT_TRUE(is(open_at("/dir", "/inside"), base_ / "root/inside"));
  EXPECT_TRUE(is(open_at("/dir", "far_up"), base_ / "root/outside"));
  EXPECT_TRUE(is(open_at("/dir/sub", "../../../../outside"), base_ / "root/outside"));
}

TEST_P(ResolveAt, ADirectoryMayMoveWhileItIsOpen) {
  const Fd dir(open_inside(root_.get(), "/dir", O_RDONLY | O_DIRECTORY));
  fs::rename(base_ / "root/dir", base_ / "root/moved");
  EXPECT_TRUE(
      is(open_inside_at(root_.get(), dir.get(), "file", O_PATH), base_ / "root/moved/file"));
  EXPECT_TRUE(
      is(open_inside_at(root_.get(), dir.get(), "../inside", O_PATH), base_ / "root/inside"));
}

TEST_P(ResolveAt, ParentsAreSplitWithoutFollowingTheLastName) {
  const Place link = open_parent(root_.get(), "/dir/to_inside");
  EXPECT_TRUE(is(link.parent, base_ / "root/dir"));
  EXPECT_EQ(link.name, "to_inside");
  EXPECT_EQ(open_parent(root_.get(), "/dir/sub//").name, "sub//");
  EXPECT_EQ(open_parent(root_.get(), "/").name, ".");
  EXPECT_TRUE(is(open_parent(root_.get(), "/x").parent, base_ / "root"));
  const Fd dir(open_inside(root_.get(), "/dir", O_RDONLY | O_DIRECTORY));
  EXPECT_TRUE(is(open_parent_at(root_.get(), dir.get(), "x").parent, base_ / "root/dir"));
  EXPECT_FALSE(open_parent(root_.get(), "").parent);
}

INSTANTIATE_TEST_SUITE_P(Relative, ResolveAt, testing::Values(Way::kKernel));

}  // namespace
}  // namespace mirrord::agent
