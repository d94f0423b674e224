// tests/agent/escape_test.cpp — no request leaves the target's root: not by links, not by dots, not
// by absolute paths relative to a directory.
#include "tests/agent/fixture.h"

namespace mirrord::test {
namespace {

class Escape : public AgentTest {
 protected:
  void fill_root() override {
    fs::create_directories(root("/dir/sub"));
    fs::create_directories(base_ / "victim");
    write_file(root("/dir/file"), "file");
    write_file(root("/outside"), "decoy");
    // Where the secret lies as the agent sees it, absolutely and by climbing.
    outside_ = base_ / "outside";
    fs::create_symlink(outside_, root("/absolute"));
    fs::create_symlink(climb_ + outside_.substr(1), root("/climbing"));
    fs::create_symlink(base_.path(), root("/folder"));
    fs::create_symlink("folder/outside", root("/chain"));
  }
  std::uint64_t open_dir() { return open("/dir")->fd; }

  const std::string climb_ = "../../../../../../../../../../";
  std::string outside_;
};

TEST_F(Escape, OpenStaysInside) {
  EXPECT_EQ(content("/absolute"), error(ENOENT));
  EXPECT_EQ(content("/climbing"), error(ENOENT));
  EXPECT_EQ(content("/chain"), error(ENOENT));
  EXPECT_EQ(content("/folder/outside"), error(ENOENT));
  EXPECT_EQ(content("/" + climb_ + outside_), error(ENOENT));
  EXPECT_EQ(content("/dir/../../outside"), "decoy");
}

TEST_F(Escape, OpenRelativeStaysInside) {
  const auto dir = open_dir();
  EXPECT_EQ(error_of(open_at(dir, outside_)), ENOENT);
  EXPECT_EQ(error_of(open_at(dir, climb_ + outside_.substr(1))), ENOENT);
  EXPECT_EQ(error_of(open_at(dir, "../absolute")), ENOENT);
  const auto decoy = open_at(dir, "../../../outside");
  ASSERT_TRUE(decoy);
  EXPECT_EQ(read(decoy->fd, 100)->bytes.text(), "decoy");
}

TEST_F(Escape, NothingIsCreatedOrTruncatedOutside) {
  EXPECT_EQ(error_of(open("/absolute", kCreate)), ENOENT);
  EXPECT_EQ(error_of(open("/climbing", kCreate)), ENOENT);
  EXPECT_EQ(error_of(open_at(open_dir(), outside_, kWrite)), ENOENT);
  EXPECT_EQ(read_file(outside_), "secret");
}

TEST_F(Escape, AccessStatAndStatFsStayInside) {
  const auto access = [&](const std::string& path) {
    return error_of(
        client_->file<"Access">(FileRequest::make<"Access">(proto::AccessFileRequest{path, 0})));
  };
  EXPECT_EQ(access("/absolute"), ENOENT);
  EXPECT_EQ(access("/folder/outside"), ENOENT);
  EXPECT_EQ(error_of(stat("/climbing")), ENOENT);
  EXPECT_EQ(error_of(stat("/folder/outside", false)), ENOENT);
  EXPECT_EQ(error_of(stat_at(open_dir(), outside_)), ENOENT);
  EXPECT_EQ(error_of(stat_at(open_dir(), "../absolute")), ENOENT);
  EXPECT_EQ(error_of(client_->file<"XstatFs">(
                FileRequest::make<"StatFs">(proto::StatFsRequest{"/absolute"}))),
            ENOENT);
  EXPECT_EQ(error_of(client_->file<"XstatFsV2">(
                FileRequest::make<"StatFsV2">(proto::StatFsRequestV2{"/climbing"}))),
            ENOENT);
  // The root's own parent is the root.
  EXPECT_EQ(stat("/..")->metadata.inode, stat("/")->metadata.inode);
}

TEST_F(Escape, ReadLinkStaysInside) {
  const auto read_link = [&](const std::string& path) {
    return client_->file<"ReadLink">(
        FileRequest::make<"ReadLink">(proto::ReadLinkFileRequest{path}));
  };
  fs::create_symlink("x", base_ / "secret_link");
  EXPECT_EQ(read_link("/absolute")->path.value, outside_);
  EXPECT_EQ(error_of(read_link("/folder/secret_link")), ENOENT);
  EXPECT_EQ(error_of(read_link("/" + climb_ + (base_ / "secret_link"))), ENOENT);
}

TEST_F(Escape, DirectoriesAreMadeAndRemovedInsideOnly) {
  const auto dir = open_dir();
  const std::string victim = base_ / "victim";
  const auto make = [&](const std::string& path) {
    return error_of(
        client_->file<"MakeDir">(FileRequest::make<"MakeDir">(proto::MakeDirRequest{path, 0755})));
  };
  const auto make_at = [&](const std::string& path) {
    return error_of(client_->file<"MakeDir">(
        FileRequest::make<"MakeDirAt">(proto::MakeDirAtRequest{dir, path, 0755})));
  };
  EXPECT_EQ(make("/folder/made"), ENOENT);
  EXPECT_EQ(make_at("../folder/made"), ENOENT);
  EXPECT_EQ(make_at(base_ / "made"), ENOENT);
  EXPECT_FALSE(fs::exists(base_ / "made"));
  EXPECT_EQ(error_of(client_->file<"RemoveDir">(
                FileRequest::make<"RemoveDir">(proto::RemoveDirRequest{"/folder/victim"}))),
            ENOENT);
  EXPECT_EQ(error_of(client_->file<"Unlink">(
                FileRequest::make<"UnlinkAt">(proto::UnlinkAtRequest{dir, victim, AT_REMOVEDIR}))),
            ENOENT);
  EXPECT_TRUE(fs::exists(victim));
}

TEST_F(Escape, UnlinkAndRenameStayInside) {
  const auto unlink = [&](const std::string& path) {
    return error_of(
        client_->file<"Unlink">(FileRequest::make<"Unlink">(proto::UnlinkRequest{path})));
  };
  const auto rename = [&](const std::string& from, const std::string& to) {
    return error_of(
        client_->file<"Rename">(FileRequest::make<"Rename">(proto::RenameRequest{from, to})));
  };
  EXPECT_EQ(unlink("/folder/outside"), ENOENT);
  EXPECT_EQ(rename("/folder/outside", "/stolen"), ENOENT);
  EXPECT_EQ(rename("/dir/file", "/folder/planted"), ENOENT);
  EXPECT_FALSE(fs::exists(base_ / "planted"));
  EXPECT_EQ(unlink("/absolute"), 0) << "the link itself goes";
  EXPECT_FALSE(fs::is_symlink(root("/absolute")));
  EXPECT_EQ(read_file(outside_), "secret");
}

TEST_F(Escape, LinksOfProcDoNotLeadOut) {
  const std::string self = "/proc/1/root";
  EXPECT_NE(content(self + outside_), "secret");
  EXPECT_NE(content("/proc/1/cwd" + outside_), "secret");
}

}  // namespace
}  // namespace mirrord::test
