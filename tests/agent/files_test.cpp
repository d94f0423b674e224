// tests/agent/files_test.cpp — every file request against a target with a root of its own.
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <thread>

#include "tests/agent/fixture.h"

namespace mirrord::test {
namespace {

class Files : public AgentTest {
 protected:
  void fill_root() override {
    fs::create_directories(root("/dir"));
    write_file(root("/hello"), "hello world");
    fs::create_symlink("hello", root("/link"));
    ::mkfifo(root("/fifo").c_str(), 0666);
  }
  auto access(const std::string& path, std::uint8_t mode) {
    return client_->file<"Access">(
        FileRequest::make<"Access">(proto::AccessFileRequest{path, mode}));
  }
  auto seek(std::uint64_t fd, proto::SeekFromInternal from) {
    return client_->file<"Seek">(
        FileRequest::make<"Seek">(proto::SeekFileRequest{fd, std::move(from)}));
  }
  auto unlink(const std::string& path) {
    return client_->file<"Unlink">(FileRequest::make<"Unlink">(proto::UnlinkRequest{path}));
  }
  auto rename(const std::string& from, const std::string& to) {
    return client_->file<"Rename">(FileRequest::make<"Rename">(proto::RenameRequest{from, to}));
  }
  auto make_dir(const std::string& path, std::uint32_t mode = 0755) {
    return client_->file<"MakeDir">(
        FileRequest::make<"MakeDir">(proto::MakeDirRequest{path, mode}));
  }
  auto remove_dir(const std::string& path) {
    return client_->file<"RemoveDir">(
        FileRequest::make<"RemoveDir">(proto::RemoveDirRequest{path}));
  }
};

TEST_F(Files, ReadsMoveThePosition) {
  const auto fd = open("/hello")->fd;
  EXPECT_EQ(read(fd, 5)->bytes.text(), "hello");
  EXPECT_EQ(read(fd, 100)->bytes.text(), " world");
  const auto end = read(fd, 100);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->read_amount, 0u);
  EXPECT_EQ(read_at(fd, 5, 6)->bytes.text(), "world");
  EXPECT_EQ(read(fd, 5)->read_amount, 0u) << "a read at an offset leaves the position";
  EXPECT_EQ(seek(fd, proto::SeekFromInternal::make<"Start">(6u))->result_offset, 6u);
  EXPECT_EQ(read(fd, 100)->bytes.text(), "world");
  EXPECT_EQ(seek(fd, proto::SeekFromInternal::make<"End">(-5))->result_offset, 6u);
  EXPECT_EQ(seek(fd, proto::SeekFromInternal::make<"Current">(-6))->result_offset, 0u);
  EXPECT_EQ(error_of(seek(fd, proto::SeekFromInternal::make<"Current">(-1))), EINVAL);
}

TEST_F(Files, OneReadReturnsAtMostOneMiBAndNothingIsAllocatedForMore) {
  write_file(root("/big"), std::string(3 << 20, 'x'));
  const auto fd = open("/big")->fd;
  const auto answer = read(fd, ~std::uint64_t{0});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->read_amount, 1u << 20);
  EXPECT_EQ(answer->bytes.size(), 1u << 20);
  EXPECT_EQ(error_of(read_at(fd, 10, ~std::uint64_t{0})), EINVAL);
}

TEST_F(Files, ALargeFileArrivesWhole) {
  std::string big(5'000'000, '\0');
  for (std::size_t i = 0; i < big.size(); ++i)
    big[i] = static_cast<char>(i * 2654435761u >> 13);
  for (const char* place : {"/big", "/mem/big"}) {
    const auto target = open(place, kCreate)->fd;
    for (std::size_t at = 0; at < big.size(); at += 65536)
      client_->send_file(FileRequest::make<"Write">(proto::WriteFileRequest{
          target, proto::Payload(std::string_view(big).substr(at, 65536))}));
    for (std::size_t at = 0; at < big.size(); at += 65536)
      ASSERT_EQ(client_->receive_file<"Write">()->written_amount,
                std::min<std::size_t>(65536, big.size() - at));
    const auto fd = open(place)->fd;
    constexpr int kRequests = 80;
    for (int i = 0; i < kRequests; ++i)
      client_->send_file(FileRequest::make<"Read">(proto::ReadFileRequest{fd, 65536}));
    std::string got;
    for (int i = 0; i < kRequests; ++i)
      got += client_->receive_file<"Read">()->bytes.text();
    EXPECT_EQ(got, big) << place;
  }
}

// Large reads of what lies in the page cache take another way than small ones.
TEST_F(Files, LargeReadsAreExactAtAnyOffset) {
  std::string big(3'000'123, '\0');
  for (std::size_t i = 0; i < big.size(); ++i)
    big[i] = static_cast<char>(i * 2654435761u >> 13);
  for (const char* place : {"/big", "/mem/big"}) {
    const auto target = open(place, kCreate)->fd;
    for (std::size_t at = 0; at < big.size(); at += 1 << 20)
      ASSERT_TRUE(write(target, std::string_view(big).substr(at, 1 << 20)));
    const auto fd = open(place)->fd;
    for (const std::uint64_t from : {0u, 1u, 4095u, 4096u, 1'048'577u, 2'900'000u, 2'990'000u}) {
      for (const std::uint64_t size : {131'072u, 200'001u, 1u << 20}) {
        const auto answer = read_at(fd, size, from);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->read_amount, std::min<std::uint64_t>(size, big.size() - from));
        EXPECT_TRUE(answer->bytes.text() == std::string_view(big).substr(from, size))
            << place << " " << size << " from " << from;
      }
    }
    std::string got;
    for (std::size_t step = 1; step > 0;) {
      const auto answer = read(fd, got.empty() ? 1000 : 1 << 20);
      ASSERT_TRUE(answer);
      step = answer->bytes.size();
      got += answer->bytes.text();
    }
    EXPECT_TRUE(got == big) << place;
  }
}

TEST_F(Files, ALargeReadEndsWhereTheFileEndsNow) {
  write_file(root("/shrinks"), std::string(900'000, 'a'));
  const auto fd = open("/shrinks")->fd;
  EXPECT_EQ(read_at(fd, 1 << 20, 0)->read_amount, 900'000u);
  fs::resize_file(root("/shrinks"), 300'000);
  EXPECT_EQ(read_at(fd, 1 << 20, 0)->read_amount, 300'000u);
  EXPECT_EQ(read_at(fd, 1 << 20, 300'000)->read_amount, 0u);
  fs::resize_file(root("/shrinks"), 950'001);
  EXPECT_EQ(read_at(fd, 1 << 20, 0)->read_amount, 950'001u);
}

// The end that was seen when it was opened is not believed for longer than it is true.
TEST_F(Files, ASmallReadSeesWhatHasBeenAppendedSince) {
  write_file(root("/grows"), "first");
  const auto fd = open("/grows")->fd;
  EXPECT_EQ(read(fd, 100)->bytes.text(), "first");
  write_file(root("/grows"), "first and second");
  EXPECT_EQ(read(fd, 100)->bytes.text(), " and second");
  EXPECT_EQ(read_at(fd, 100, 0)->bytes.text(), "first and second");
}

TEST_F(Files, WritesAppendsAndPositionedWrites) {
  const auto fd = open("/new", kCreate)->fd;
  EXPECT_EQ(write(fd, "abcdef")->written_amount, 6u);
  EXPECT_EQ(write_at(fd, "XY", 2)->written_amount, 2u);
  EXPECT_EQ(write(fd, "g")->written_amount, 1u);
  EXPECT_EQ(read_file(root("/new")), "abXYefg");
  const auto appending = open("/new", kAppend)->fd;
  EXPECT_EQ(write(appending, "++")->written_amount, 2u);
  EXPECT_EQ(read_file(root("/new")), "abXYefg++");
  EXPECT_EQ(error_of(read(appending, 1)), EBADF);
  EXPECT_EQ(error_of(write(open("/hello")->fd, "x")), EBADF);
  EXPECT_EQ(write(fd, "")->written_amount, 0u);
}

TEST_F(Files, OpenOptionsBehaveLikeTheOriginals) {
  EXPECT_EQ(error_of(open("/hello", {})), EINVAL);
  EXPECT_EQ(error_of(open("/hello", {.read = true, .truncate = true})), EINVAL);
  EXPECT_EQ(error_of(open("/hello", {.read = true, .create = true})), EINVAL);
  EXPECT_EQ(error_of(open("/hello", {.append = true, .truncate = true})), EINVAL);
  EXPECT_EQ(error_of(open("/hello", kCreateNew)), EEXIST);
  EXPECT_EQ(error_of(open("/missing", kWrite)), ENOENT);
  EXPECT_EQ(error_of(open("/dir", kWrite)), EISDIR);
  EXPECT_TRUE(open("/fresh", kCreateNew));
  EXPECT_TRUE(open("/hello", kReadWrite));
  EXPECT_TRUE(open("/hello", {.read = true, .append = true}));
  struct stat info {};
  ASSERT_EQ(::stat(root("/fresh").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0111, 0u);
}

TEST_F(Files, RelativePathsGetAnErrorAndTheSessionGoesOn) {
  EXPECT_TRUE(open("hello").error().is<"StripPrefix">());
  EXPECT_TRUE(access("hello", 0).error().is<"StripPrefix">());
  EXPECT_TRUE(
      client_->file<"ReadLink">(FileRequest::make<"ReadLink">(proto::ReadLinkFileRequest{"link"}))
          .error()
          .is<"StripPrefix">());
  EXPECT_EQ(error_of(stat("hello")), EINVAL);
  EXPECT_EQ(error_of(open("")), -1);
  EXPECT_EQ(content("/hello"), "hello world");
}

TEST_F(Files, PathsOfEveryLengthGetTheKernelsAnswer) {
  std::string path = "/hello";
  while (path.size() < 4094)
    path.insert(0, "/.");
  EXPECT_EQ(content(path), "hello world");
  while (path.size() < 4096)
    path.insert(0, "/");
  EXPECT_EQ(content(path), error(ENAMETOOLONG));
  EXPECT_EQ(content("/" + std::string(100'000, 'a')), error(ENAMETOOLONG));
  EXPECT_EQ(content("/" + std::string(256, 'a')), error(ENAMETOOLONG));
  EXPECT_EQ(content(std::string("/hello\0x", 8)), error(EINVAL));
}

TEST_F(Files, StatHasFullNanosecondTimes) {
  const timespec times[2] = {{1'234'567'890, 123'456'789}, {-5, 999'999'999}};
  ASSERT_EQ(::utimensat(AT_FDCWD, root("/hello").c_str(), times, 0), 0);
  const auto answer = stat("/hello");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->metadata.access_time, 1'234'567'890'123'456'789);
  EXPECT_EQ(answer->metadata.modification_time, -4'000'000'001);
  struct stat info {};
  ASSERT_EQ(::stat(root("/hello").c_str(), &info), 0);
  EXPECT_EQ(answer->metadata.creation_time,
            info.st_ctim.tv_sec * 1'000'000'000 + info.st_ctim.tv_nsec);
  EXPECT_EQ(answer->metadata.inode, info.st_ino);
  EXPECT_EQ(answer->metadata.device_id, info.st_dev);
  EXPECT_EQ(answer->metadata.mode, info.st_mode);
  EXPECT_EQ(answer->metadata.size, 11u);
  EXPECT_EQ(answer->metadata.hard_links, 1u);
  EXPECT_EQ(answer->metadata.block_size, static_cast<std::uint64_t>(info.st_blksize));
  EXPECT_EQ(answer->metadata.blocks, static_cast<std::uint64_t>(info.st_blocks));
}

TEST_F(Files, StatComesInAllForms) {
  EXPECT_TRUE(S_ISREG(stat("/link")->metadata.mode));
  EXPECT_TRUE(S_ISLNK(stat("/link", false)->metadata.mode));
  const auto dir = open("/dir")->fd;
  EXPECT_TRUE(S_ISDIR(stat_fd(dir)->metadata.mode));
  EXPECT_EQ(stat_at(dir, "../hello")->metadata.size, 11u);
  EXPECT_TRUE(S_ISLNK(stat_at(dir, "../link", false)->metadata.mode));
  EXPECT_EQ(stat_at(dir, "/hello")->metadata.size, 11u);
  const auto file = open("/hello")->fd;
  EXPECT_EQ(stat_fd(file)->metadata.size, 11u);
  EXPECT_EQ(stat_at(file, "x").error().get<"NotDirectory">(), file);
  EXPECT_EQ(stat_fd(777).error().get<"NotFound">(), 777u);
  const auto neither = client_->file<"Xstat">(
      FileRequest::make<"Xstat">(proto::XstatRequest{std::nullopt, std::nullopt, true}));
  ASSERT_FALSE(neither);
  EXPECT_TRUE(neither.error().get<"RemoteIO">().kind.is<"InvalidInput">());
  EXPECT_EQ(error_of(stat("/missing")), ENOENT);
  EXPECT_EQ(error_of(stat("/hello/")), ENOTDIR);
}

TEST_F(Files, FileSystemsInBothForms) {
  const auto fd = open("/hello")->fd;
  struct statfs info {};
  ASSERT_EQ(::statfs(root("/hello").c_str(), &info), 0);
  const auto by_path =
      client_->file<"XstatFsV2">(FileRequest::make<"StatFsV2">(proto::StatFsRequestV2{"/hello"}));
  const auto by_fd =
      client_->file<"XstatFsV2">(FileRequest::make<"XstatFsV2">(proto::XstatFsRequestV2{fd}));
  for (const auto& answer : {by_path, by_fd}) {
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->metadata.filesystem_type, info.f_type);
    EXPECT_EQ(answer->metadata.name_len, info.f_namelen);
    EXPECT_EQ(answer->metadata.blocks, info.f_blocks);
    EXPECT_EQ(answer->metadata.fragment_size, info.f_frsize);
  }
  EXPECT_EQ(client_->file<"XstatFs">(FileRequest::make<"StatFs">(proto::StatFsRequest{"/mem"}))
                ->metadata.filesystem_type,
            0x01021994);
  EXPECT_EQ(client_->file<"XstatFs">(FileRequest::make<"XstatFs">(proto::XstatFsRequest{fd}))
                ->metadata.blocks,
            info.f_blocks);
}

TEST_F(Files, AccessChecksExistenceAndRights) {
  EXPECT_EQ(error_of(access("/hello", 0)), 0);
  EXPECT_EQ(error_of(access("/hello", R_OK | W_OK)), 0);
  EXPECT_EQ(error_of(access("/hello", X_OK)), EACCES);
  EXPECT_EQ(error_of(access("/missing", 0)), ENOENT);
  EXPECT_EQ(error_of(access("/link", R_OK)), 0);
}

TEST_F(Files, DirectoriesAreMadeAndRemoved) {
  EXPECT_EQ(error_of(make_dir("/made", 0700)), 0);
  EXPECT_EQ(stat("/made")->metadata.mode & 07777, 0700u);
  EXPECT_EQ(error_of(make_dir("/made")), EEXIST);
  EXPECT_EQ(error_of(make_dir("/")), EEXIST);
  EXPECT_EQ(error_of(make_dir("/a/b")), ENOENT);
  EXPECT_EQ(error_of(make_dir("/trailing/")), 0);
  EXPECT_EQ(error_of(make_dir("/mem/made")), 0);
  const auto dir = open("/made")->fd;
  const auto at = client_->file<"MakeDir">(
      FileRequest::make<"MakeDirAt">(proto::MakeDirAtRequest{dir, "inner", 0755}));
  EXPECT_EQ(error_of(at), 0);
  EXPECT_TRUE(fs::is_directory(root("/made/inner")));
  EXPECT_EQ(error_of(remove_dir("/made")), ENOTEMPTY);
  EXPECT_EQ(error_of(remove_dir("/made/inner")), 0);
  EXPECT_EQ(error_of(remove_dir("/made/")), 0);
  EXPECT_EQ(error_of(remove_dir("/hello")), ENOTDIR);
  EXPECT_EQ(client_
                ->file<"MakeDir">(FileRequest::make<"MakeDirAt">(
                    proto::MakeDirAtRequest{open("/hello")->fd, "x", 0755}))
                .error()
                .name(),
            "NotDirectory");
}

TEST_F(Files, UnlinkRemovesTheLinkItself) {
  EXPECT_EQ(error_of(unlink("/link")), 0);
  EXPECT_FALSE(fs::exists(fs::symlink_status(root("/link"))));
  EXPECT_EQ(content("/hello"), "hello world");
  EXPECT_EQ(error_of(unlink("/dir")), EISDIR);
  EXPECT_EQ(error_of(unlink("/missing")), ENOENT);
  const auto root_fd = open("/")->fd;
  const auto unlink_at = [&](std::optional<std::uint64_t> fd, const char* path,
                             std::uint32_t flags) {
    return error_of(client_->file<"Unlink">(
        FileRequest::make<"UnlinkAt">(proto::UnlinkAtRequest{fd, path, flags})));
  };
  EXPECT_EQ(unlink_at(root_fd, "dir", 0), EISDIR);
  EXPECT_EQ(unlink_at(root_fd, "dir", AT_REMOVEDIR), 0);
  EXPECT_EQ(unlink_at(root_fd, "hello", 1), EINVAL);
  EXPECT_EQ(unlink_at(std::nullopt, "/hello", 0), 0);
  EXPECT_FALSE(fs::exists(root("/hello")));
}

TEST_F(Files, RenameMovesTheLinkItself) {
  EXPECT_EQ(error_of(rename("/link", "/dir/moved")), 0);
  EXPECT_TRUE(fs::is_symlink(root("/dir/moved")));
  EXPECT_EQ(error_of(rename("/missing", "/x")), ENOENT);
  EXPECT_EQ(error_of(rename("/hello", "/mem/hello")), EXDEV);
  EXPECT_EQ(error_of(rename("/dir", "/dir/inner")), EINVAL);
  EXPECT_EQ(error_of(rename("/hello", "/renamed")), 0);
  EXPECT_EQ(content("/renamed"), "hello world");
}

TEST_F(Files, ReadLinkReturnsTheText) {
  const auto read_link = [&](const char* path) {
    return client_->file<"ReadLink">(
        FileRequest::make<"ReadLink">(proto::ReadLinkFileRequest{path}));
  };
  EXPECT_EQ(read_link("/link")->path.value, "hello");
  EXPECT_EQ(error_of(read_link("/hello")), EINVAL);
  EXPECT_EQ(error_of(read_link("/missing")), ENOENT);
  fs::create_symlink("caf\xe9", root("/latin"));
  EXPECT_EQ(error_of(read_link("/latin")), EILSEQ);
}

TEST_F(Files, AttributesOfOpenFiles) {
  const auto fd = open("/hello", kReadWrite)->fd;
  EXPECT_EQ(error_of(client_->file<"Ftruncate">(
                FileRequest::make<"Ftruncate">(proto::FtruncateRequest{fd, 5}))),
            0);
  EXPECT_EQ(read_file(root("/hello")), "hello");
  EXPECT_EQ(error_of(client_->file<"Ftruncate">(
                FileRequest::make<"Ftruncate">(proto::FtruncateRequest{fd, -1}))),
            EINVAL);
  EXPECT_EQ(error_of(client_->file<"Fchmod">(
                FileRequest::make<"Fchmod">(proto::FchmodRequest{fd, 0640}))),
            0);
  EXPECT_EQ(stat_fd(fd)->metadata.mode & 07777, 0640u);
  const auto set_times = [&](std::optional<std::array<proto::Timespec, 2>> times) {
    return error_of(client_->file<"Futimens">(
        FileRequest::make<"Futimens">(proto::FutimensRequest{fd, times})));
  };
  EXPECT_EQ(set_times(std::array<proto::Timespec, 2>{{{10, 20}, {30, 40}}}), 0);
  EXPECT_EQ(stat_fd(fd)->metadata.access_time, 10'000'000'020);
  EXPECT_EQ(stat_fd(fd)->metadata.modification_time, 30'000'000'040);
  EXPECT_EQ(set_times(std::array<proto::Timespec, 2>{{{0, UTIME_OMIT}, {50, 0}}}), 0);
  EXPECT_EQ(stat_fd(fd)->metadata.access_time, 10'000'000'020);
  EXPECT_EQ(stat_fd(fd)->metadata.modification_time, 50'000'000'000);
  EXPECT_EQ(set_times(std::array<proto::Timespec, 2>{{{0, 2'000'000'000}, {0, 0}}}), EINVAL);
  EXPECT_EQ(set_times(std::nullopt), 0);
  EXPECT_GT(stat_fd(fd)->metadata.modification_time, 1'600'000'000'000'000'000);
  EXPECT_EQ(error_of(client_->file<"Fchown">(
                FileRequest::make<"Fchown">(proto::FchownRequest{fd, 0xFFFFFFFF, 0xFFFFFFFF}))),
            0);
}

TEST_F(Files, DescriptorsThatAreNotWhatIsAskedFor) {
  const auto dir = open("/dir")->fd;
  const auto file = open("/hello")->fd;
  EXPECT_EQ(read(dir, 10).error().get<"NotFile">(), dir);
  EXPECT_EQ(read(99, 10).error().get<"NotFound">(), 99u);
  EXPECT_EQ(write(dir, "x").error().name(), "NotFile");
  EXPECT_EQ(open_at(file, "x").error().get<"NotDirectory">(), file);
  EXPECT_EQ(open_at(99, "x").error().get<"NotFound">(), 99u);
  close(file);
  EXPECT_EQ(read(file, 10).error().get<"NotFound">(), file);
}

TEST_F(Files, NumbersAreCountedPerSuccessForAForeignClient) {
  EXPECT_EQ(client_->switch_version("1.29.0"), "1.29.0");
  EXPECT_EQ(open("/hello")->fd, 0u);
  EXPECT_FALSE(open("/missing"));
  EXPECT_EQ(open("/dir")->fd, 1u);
  close(0);
  EXPECT_EQ(open("/hello")->fd, 2u);
}

TEST_F(Files, AClientThatSpeaksFlightKnowsTheNumberBeforeTheAnswer) {
  EXPECT_EQ(client_->switch_version("1.29.0+flight"), "1.29.0+flight");
  client_->send_file(FileRequest::make<"Open">(proto::OpenFileRequest{"/missing", kRead}));
  client_->send_file(FileRequest::make<"Open">(proto::OpenFileRequest{"/hello", kRead}));
  client_->send_file(FileRequest::make<"Xstat">(proto::XstatRequest{std::nullopt, 1, true}));
  client_->send_file(FileRequest::make<"ReadLimited">(proto::ReadLimitedFileRequest{1, 100, 0}));
  client_->send_file(FileRequest::make<"FdOpenDir">(proto::FdOpenDirRequest{1}));
  client_->send_file(
      FileRequest::make<"OpenRelative">(proto::OpenRelativeFileRequest{7, "x", kRead}));
  client_->send_file(FileRequest::make<"Open">(proto::OpenFileRequest{"relative", kRead}));
  client_->send_file(FileRequest::make<"Open">(proto::OpenFileRequest{"/hello", {}}));
  client_->send_file(FileRequest::make<"Open">(proto::OpenFileRequest{"/dir", kRead}));
  EXPECT_EQ(error_of(client_->receive_file<"Open">()), ENOENT);
  EXPECT_EQ(client_->receive_file<"Open">()->fd, 1u);
  EXPECT_EQ(client_->receive_file<"Xstat">()->metadata.size, 11u);
  EXPECT_EQ(client_->receive_file<"ReadLimited">()->bytes.text(), "hello world");
  EXPECT_FALSE(client_->receive_file<"OpenDir">());
  EXPECT_FALSE(client_->receive_file<"Open">());
  EXPECT_FALSE(client_->receive_file<"Open">());
  EXPECT_FALSE(client_->receive_file<"Open">());
  EXPECT_EQ(client_->receive_file<"Open">()->fd, 6u);
}

TEST_F(Files, FifosDoNotBlockTheAgent) {
  const auto reader = open("/fifo");
  ASSERT_TRUE(reader);
  EXPECT_EQ(read(reader->fd, 10)->read_amount, 0u) << "no writer: end of file";
  const auto writer = open("/fifo", kWrite);
  ASSERT_TRUE(writer);
  EXPECT_EQ(error_of(read(reader->fd, 10)), EAGAIN) << "after a bounded wait";
  EXPECT_EQ(write(writer->fd, "through")->written_amount, 7u);
  EXPECT_EQ(read(reader->fd, 10)->bytes.text(), "through");
  close(reader->fd);
  close(writer->fd);
  EXPECT_EQ(error_of(open("/fifo", kWrite)), ENXIO) << "no reader";
}

TEST_F(Files, PingsAreAnsweredWhileAFileRequestWaits) {
  const auto reader = open("/fifo")->fd;
  const auto writer = open("/fifo", kWrite)->fd;
  client_->send_file(FileRequest::make<"Read">(proto::ReadFileRequest{reader, 10}));
  client_->send(proto::ClientMessage::make<"Ping">());
  const auto first = client_->receive();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->name(), "Pong");
  write_file(root("/dummy"), "");
  client_->send_file(FileRequest::make<"Write">(
      proto::WriteFileRequest{writer, proto::Payload(std::string_view("x"))}));
  EXPECT_EQ(error_of(client_->receive_file<"Read">()), EAGAIN);
  EXPECT_EQ(client_->receive_file<"Write">()->written_amount, 1u) << "answers keep their order";
}

TEST_F(Files, ThousandsOfOpenFiles) {
  constexpr std::uint64_t kMany = 5000;
  for (std::uint64_t i = 0; i < kMany; ++i)
    client_->send_file(FileRequest::make<"Open">(proto::OpenFileRequest{"/hello", kRead}));
  for (std::uint64_t i = 0; i < kMany; ++i)
    ASSERT_EQ(client_->receive_file<"Open">()->fd, i);
  EXPECT_EQ(read(kMany - 1, 5)->bytes.text(), "hello");
}

TEST_F(Files, ManyRequestsWithoutWaitingKeepTheirOrder) {
  const auto fd = open("/hello")->fd;
  constexpr int kMany = 5000;
  for (int i = 0; i < kMany; ++i) {
    client_->send_file(FileRequest::make<"ReadLimited">(
        proto::ReadLimitedFileRequest{fd, 1, static_cast<std::uint64_t>(i % 11)}));
    if (i % 3 == 0)
      client_->send_file(FileRequest::make<"MakeDir">(proto::MakeDirRequest{"/dir", 0755}));
  }
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(client_->receive_file<"ReadLimited">()->bytes.text(),
              std::string("hello world").substr(static_cast<std::size_t>(i % 11), 1));
    if (i % 3 == 0) {
      ASSERT_EQ(error_of(client_->receive_file<"MakeDir">()), EEXIST);
    }
  }
}

TEST_F(Files, ASlowReaderOfAnswersGetsThemAll) {
  write_file(root("/mb"), std::string(1 << 20, 'm'));
  const auto fd = open("/mb")->fd;
  constexpr int kRequests = 64;
  for (int i = 0; i < kRequests; ++i)
    client_->send_file(
        FileRequest::make<"ReadLimited">(proto::ReadLimitedFileRequest{fd, 1 << 20, 0}));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const std::string status =
      read_file("/proc/" + std::to_string(agent_->process->pid()) + "/status");
  const long resident_kib = std::atol(status.c_str() + status.find("VmRSS:") + 6);
  if (kMemoryIsTelling) {
    EXPECT_LT(resident_kib, 24 * 1024) << "answers wait in files, not in memory";
  }
  for (int i = 0; i < kRequests; ++i)
    ASSERT_EQ(client_->receive_file<"ReadLimited">()->read_amount, 1u << 20);
}

}  // namespace
}  // namespace mirrord::test
