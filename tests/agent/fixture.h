// tests/agent/fixture.h — a target with a root of its own and an agent that serves it to one client.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "tests/support/wire_client.h"

namespace mirrord::test {

namespace fs = std::filesystem;
using proto::FileRequest;

inline constexpr proto::OpenOptionsInternal kRead{.read = true};
inline constexpr proto::OpenOptionsInternal kWrite{.write = true};
inline constexpr proto::OpenOptionsInternal kCreate{
    .write = true, .truncate = true, .create = true};
inline constexpr proto::OpenOptionsInternal kCreateNew{.write = true, .create_new = true};
inline constexpr proto::OpenOptionsInternal kReadWrite{.read = true, .write = true};
inline constexpr proto::OpenOptionsInternal kAppend{.append = true};

// Sanitizers keep freed memory, so sizes say nothing under them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kMemoryIsTelling = false;
#else
inline constexpr bool kMemoryIsTelling = true;
#endif

// The errno an answer carries; 0 for success, -1 for an error without a number.
template <class T>
int error_of(const proto::Res<T>& answer) {
  if (answer)
    return 0;
  const auto* io = answer.error().template get_if<"RemoteIO">();
  return io != nullptr && io->raw_os_error ? *io->raw_os_error : -1;
}

// In the base folder: "outside" with a secret, and "root", the target's root directory.
class AgentTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(base_ / "root/proc");
    fs::create_directories(base_ / "root/mem");
    write_file(base_ / "outside", "secret");
    fill_root();
    target_ = std::make_unique<TargetProcess>(base_ / "root", variables_);
    if (target_->pid() == 0)
      GTEST_SKIP() << "this machine does not let us make user namespaces";
    agent_ = std::make_unique<PrivateAgent>(
        std::vector<std::string>{"process", "--pid", std::to_string(target_->pid())});
    client_ = &agent_->client;
  }
  virtual void fill_root() {}

  std::string root(const std::string& path) const { return base_ / ("root" + path); }

  auto open(const std::string& path, proto::OpenOptionsInternal options = kRead) {
    return client_->file<"Open">(FileRequest::make<"Open">(proto::OpenFileRequest{path, options}));
  }
  auto open_at(std::uint64_t fd, const std::string& path,
               proto::OpenOptionsInternal options = kRead) {
    return client_->file<"Open">(
        FileRequest::make<"OpenRelative">(proto::OpenRelativeFileRequest{fd, path, options}));
  }
  auto read(std::uint64_t fd, std::uint64_t size) {
    return client_->file<"Read">(FileRequest::make<"Read">(proto::ReadFileRequest{fd, size}));
  }
  auto read_at(std::uint64_t fd, std::uint64_t size, std::uint64_t from) {
    return client_->file<"ReadLimited">(
        FileRequest::make<"ReadLimited">(proto::ReadLimitedFileRequest{fd, size, from}));
  }
  auto write(std::uint64_t fd, std::string_view text) {
    return client_->file<"Write">(
        FileRequest::make<"Write">(proto::WriteFileRequest{fd, proto::Payload(text)}));
  }
  auto write_at(std::uint64_t fd, std::string_view text, std::uint64_t from) {
    return client_->file<"WriteLimited">(FileRequest::make<"WriteLimited">(
        proto::WriteLimitedFileRequest{fd, from, proto::Payload(text)}));
  }
  auto stat(const std::string& path, bool follow = true) {
    return client_->file<"Xstat">(
        FileRequest::make<"Xstat">(proto::XstatRequest{proto::Path(path), std::nullopt, follow}));
  }
  auto stat_at(std::uint64_t fd, const std::string& path, bool follow = true) {
    return client_->file<"Xstat">(
        FileRequest::make<"Xstat">(proto::XstatRequest{proto::Path(path), fd, follow}));
  }
  auto stat_fd(std::uint64_t fd) {
    return client_->file<"Xstat">(
        FileRequest::make<"Xstat">(proto::XstatRequest{std::nullopt, fd, true}));
  }
  void close(std::uint64_t fd) {
    client_->send_file(FileRequest::make<"Close">(proto::CloseFileRequest{fd}));
  }
  // The content of a file as a client reads it, or "errno N".
  std::string content(const std::string& path) {
    const auto opened = open(path);
    if (!opened)
      return "errno " + std::to_string(error_of(opened));
    const auto bytes = read(opened->fd, 4096);
    close(opened->fd);
    return bytes ? std::string(bytes->bytes.text()) : "errno " + std::to_string(error_of(bytes));
  }
  static std::string error(int number) { return "errno " + std::to_string(number); }

  TempFolder base_;
  std::map<std::string, std::string> variables_;
  std::unique_ptr<TargetProcess> target_;
  std::unique_ptr<PrivateAgent> agent_;
  WireClient* client_ = nullptr;
};

}  // namespace mirrord::test
