// tests/agent/listing_test.cpp — directories by ReadDir, ReadDirBatch and GetDEnts64.
#include <dirent.h>

#include <set>

#include "tests/agent/fixture.h"

namespace mirrord::test {
namespace {

class Listings : public AgentTest {
 protected:
  void fill_root() override {
    for (int i = 0; i < kMany; ++i)
      write_file(root("/many/" + std::to_string(i)), "");
    fs::create_directories(root("/kinds/folder"));
    write_file(root("/kinds/file"), "");
    fs::create_symlink("nowhere", root("/kinds/link"));
    ::mkfifo(root("/kinds/fifo").c_str(), 0666);
    fs::create_directories(root("/empty"));
    fs::create_directories(root("/odd"));
    write_file(root("/odd/caf\xe9"), "");
    write_file(root("/odd/straße"), "");
  }
  std::uint64_t open_dir(const std::string& path) {
    const auto opened = client_->file<"OpenDir">(
        FileRequest::make<"FdOpenDir">(proto::FdOpenDirRequest{open(path)->fd}));
    EXPECT_TRUE(opened);
    return opened ? opened->fd : 0;
  }
  auto batch(std::uint64_t fd, std::uint64_t amount) {
    return client_->file<"ReadDirBatch">(
        FileRequest::make<"ReadDirBatch">(proto::ReadDirBatchRequest{fd, amount}));
  }
  auto dents(std::uint64_t fd, std::uint64_t size) {
    return client_->file<"GetDEnts64">(
        FileRequest::make<"GetDEnts64">(proto::GetDEnts64Request{fd, size}));
  }
  static constexpr int kMany = 1500;
};

TEST_F(Listings, BatchesGiveEveryEntryOnceWithoutDots) {
  for (const std::uint64_t amount : {128u, 7u, 10'000u}) {
    const auto fd = open_dir("/many");
    std::set<std::string> names;
    std::uint64_t position = 0;
    while (true) {
      const auto answer = batch(fd, amount);
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->fd, fd);
      EXPECT_LE(answer->dir_entries.size(), amount);
      if (answer->dir_entries.empty())
        break;
      for (const auto& entry : answer->dir_entries) {
        EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
        EXPECT_EQ(entry.position, position++);
        EXPECT_EQ(entry.file_type, DT_REG);
        EXPECT_NE(entry.inode, 0u);
      }
    }
    EXPECT_EQ(names.size(), static_cast<std::size_t>(kMany));
    EXPECT_FALSE(names.contains("."));
    EXPECT_TRUE(batch(fd, amount)->dir_entries.empty()) << "the end stays the end";
  }
}

TEST_F(Listings, EntriesHaveTheirTypes) {
  std::map<std::string, int> types;
  const auto fd = open_dir("/kinds");
  while (true) {
    const auto answer =
        client_->file<"ReadDir">(FileRequest::make<"ReadDir">(proto::ReadDirRequest{fd}));
    ASSERT_TRUE(answer);
    if (!answer->direntry)
      break;
    types[answer->direntry->name] = answer->direntry->file_type;
  }
  EXPECT_EQ(types, (std::map<std::string, int>{
                       {"folder", DT_DIR}, {"file", DT_REG}, {"link", DT_LNK}, {"fifo", DT_FIFO}}));
}

TEST_F(Listings, GetDEnts64BeginsWithTheDots) {
  const auto fd = open("/kinds")->fd;
  const auto first = dents(fd, 64);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->entries.size(), 2u);
  EXPECT_EQ(first->entries[0].name, ".");
  EXPECT_EQ(first->entries[0].position, 0u);
  EXPECT_EQ(first->entries[0].inode, stat("/kinds")->metadata.inode);
  EXPECT_EQ(first->entries[1].name, "..");
  EXPECT_EQ(first->entries[1].inode, stat("/")->metadata.inode);
  EXPECT_EQ(first->result_size, 48u);
  std::set<std::string> names;
  while (true) {
    const auto answer = dents(fd, 64);
    ASSERT_TRUE(answer);
    if (answer->result_size == 0)
      break;
    EXPECT_LE(answer->result_size, 64u);
    for (const auto& entry : answer->entries)
      names.insert(entry.name);
  }
  EXPECT_EQ(names, (std::set<std::string>{"folder", "file", "link", "fifo"}));
  EXPECT_EQ(dents(fd, 64)->result_size, 0u);
}

TEST_F(Listings, ABufferTooSmallForOneEntryIsAnError) {
  EXPECT_EQ(error_of(dents(open("/many")->fd, 10)), EINVAL);
}

TEST_F(Listings, TheRootIsItsOwnParent) {
  const auto answer = dents(open("/")->fd, 64);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->entries.at(0).inode, answer->entries.at(1).inode);
}

TEST_F(Listings, NamesThatAreNotUtf8AreReplacedNotFatal) {
  std::set<std::string> names;
  const auto answer = batch(open_dir("/odd"), 100);
  ASSERT_TRUE(answer);
  for (const auto& entry : answer->dir_entries)
    names.insert(entry.name);
  EXPECT_EQ(names, (std::set<std::string>{"caf\uFFFD", "straße"}));
}

TEST_F(Listings, EntriesMayVanishWhileTheyAreRead) {
  const auto fd = open_dir("/many");
  EXPECT_EQ(batch(fd, 10)->dir_entries.size(), 10u);
  fs::remove_all(root("/many"));
  while (true) {
    const auto answer = batch(fd, 128);
    ASSERT_TRUE(answer);
    if (answer->dir_entries.empty())
      break;
  }
}

TEST_F(Listings, EmptyAndMemoryDirectories) {
  EXPECT_TRUE(batch(open_dir("/empty"), 10)->dir_entries.empty());
  EXPECT_TRUE(batch(open_dir("/mem"), 10)->dir_entries.empty());
  EXPECT_TRUE(open("/mem/x", kCreate));
  EXPECT_EQ(batch(open_dir("/mem"), 10)->dir_entries.at(0).name, "x");
}

TEST_F(Listings, DescriptorsOfTheWrongKindAndClosedOnes) {
  const auto file = open("/kinds/file")->fd;
  EXPECT_EQ(client_->file<"OpenDir">(FileRequest::make<"FdOpenDir">(proto::FdOpenDirRequest{file}))
                .error()
                .get<"NotDirectory">(),
            file);
  EXPECT_EQ(batch(file, 1).error().get<"NotFound">(), file);
  EXPECT_EQ(dents(file, 100).error().get<"NotDirectory">(), file);
  const auto stream = open_dir("/kinds");
  client_->send_file(FileRequest::make<"CloseDir">(proto::CloseDirRequest{stream}));
  EXPECT_EQ(batch(stream, 1).error().get<"NotFound">(), stream);
}

TEST_F(Listings, ClosingTheListingOfADirectoryStartsItAnew) {
  const auto fd = open("/kinds")->fd;
  EXPECT_EQ(dents(fd, 4096)->entries.size(), 6u);
  EXPECT_EQ(dents(fd, 4096)->entries.size(), 0u);
  client_->send_file(FileRequest::make<"CloseDir">(proto::CloseDirRequest{fd}));
  EXPECT_EQ(dents(fd, 4096)->entries.size(), 6u);
}

}  // namespace
}  // namespace mirrord::test
