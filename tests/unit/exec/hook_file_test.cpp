// tests/unit/exec/hook_file_test.cpp — extraction of the hook, private directories.
#include "applets/hook_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "applets/private_directory.h"
#include "hook/image.h"

namespace mirrord {
namespace {

namespace fs = std::filesystem;

class HookFile : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/mirrord-hook-XXXXXX";
    directory_ = mkdtemp(path);
    for (const char* name : {"XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "HOME", "MIRRORD_LAYER_FILE"})
      unsetenv(name);
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::size_t file_count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }
  std::string directory_;
};

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

ino_t inode(const std::string& path) {
  struct stat info {};
  stat(path.c_str(), &info);
  return info.st_ino;
}

TEST_F(HookFile, IsWrittenOnceAndReused) {
  const auto first = extract_file(bytes("content"), directory_, "x.so");
  ASSERT_TRUE(first.has_value()) << first.error().what;
  const ino_t before = inode(*first);
  EXPECT_EQ(extract_file(bytes("content"), directory_, "x.so").value_or(""), *first);
  EXPECT_EQ(inode(*first), before) << "kept";
  EXPECT_EQ(file_count(), 1U) << "no temporary file stays";
}

TEST_F(HookFile, AFileOfAnotherSizeModeOrKindIsReplaced) {
  const auto path = extract_file(bytes("content"), directory_, "x.so");
  ino_t before = inode(*path);
  EXPECT_TRUE(extract_file(bytes("longer content"), directory_, "x.so").has_value());
  EXPECT_EQ(fs::file_size(*path), 14U);
  chmod(path->c_str(), 0777);
  before = inode(*path);
  EXPECT_TRUE(extract_file(bytes("longer content"), directory_, "x.so").has_value());
  EXPECT_NE(inode(*path), before) << "others could have written to it";
  fs::remove(*path);
  fs::create_symlink("/etc/passwd", *path);
  EXPECT_TRUE(extract_file(bytes("content"), directory_, "x.so").has_value());
  EXPECT_FALSE(fs::is_symlink(*path));
}

TEST_F(HookFile, AFailedWriteLeavesNothing) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 4;
  setrlimit(RLIMIT_FSIZE, &small);
  const auto path = extract_file(bytes("content"), directory_, "x.so");
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(path.has_value());
  EXPECT_NE(path.error().what.find("extracting the hook to"), std::string::npos);
  EXPECT_EQ(file_count(), 0U);
}

TEST_F(HookFile, GoesToTheCacheDirectory) {
  setenv("XDG_CACHE_HOME", directory_.c_str(), 1);
  const auto path = provide_hook();
  ASSERT_TRUE(path.has_value()) << path.error().what;
  EXPECT_TRUE(path->starts_with(directory_ + "/mirrord/libmirrord_layer-")) << *path;
  EXPECT_EQ(fs::file_size(*path), hook_image().size());
}

TEST_F(HookFile, APathThatPreloadCannotHoldIsNotUsed) {
  setenv("XDG_CACHE_HOME", (directory_ + "/with space").c_str(), 1);
  EXPECT_EQ(hook_directory().value_or(""), "/tmp/mirrord-" + std::to_string(geteuid()));
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(hook_directory().value_or(""), "/tmp/mirrord-" + std::to_string(geteuid()));
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", directory_.c_str(), 1);
  EXPECT_EQ(hook_directory().value_or(""), directory_ + "/.cache/mirrord");
}

TEST_F(HookFile, AnotherLibraryCanBeNamed) {
  setenv("MIRRORD_LAYER_FILE", "/bin/sh", 1);
  EXPECT_EQ(provide_hook().value_or(""), "/bin/sh");
  setenv("MIRRORD_LAYER_FILE", "/nowhere.so", 1);
  EXPECT_FALSE(provide_hook().has_value());
}

TEST_F(HookFile, PrivateDirectoriesAreChecked) {
  const std::string path = directory_ + "/a/b/c";
  EXPECT_TRUE(make_private_directory(path).has_value());
  struct stat info {};
  stat(path.c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
  chmod(path.c_str(), 0777);
  EXPECT_TRUE(make_private_directory(path).has_value());
  stat(path.c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0700U) << "taken back";
  fs::create_symlink(path, directory_ + "/link");
  EXPECT_FALSE(make_private_directory(directory_ + "/link").has_value());
  if (geteuid() == 0) {
    ASSERT_EQ(chown(path.c_str(), 12345, 12345), 0);
    const auto status = make_private_directory(path);
    ASSERT_FALSE(status.has_value());
    EXPECT_NE(status.error().what.find("belongs to the user 12345"), std::string::npos);
  }
}

TEST_F(HookFile, SessionsGetDirectoriesOfTheirOwn) {
  setenv("XDG_RUNTIME_DIR", directory_.c_str(), 1);
  const auto first = make_session_directory();
  const auto second = make_session_directory();
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  EXPECT_TRUE(first->starts_with(directory_ + "/mirrord/"));
  setenv("XDG_RUNTIME_DIR", (directory_ + std::string(100, 'x')).c_str(), 1);
  const auto third = make_session_directory();
  ASSERT_TRUE(third.has_value());
  EXPECT_TRUE(third->starts_with("/tmp/mirrord-")) << "a socket's path must fit";
  rmdir(third->c_str());
}

}  // namespace
}  // namespace mirrord
