// tests/unit/intproxy/fake_hook.cpp — packets of a program, and the session's thread.
#include "tests/unit/intproxy/fake_hook.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace mirrord::intproxy::test {
namespace {

constexpr std::size_t kSlotsSize = sizeof(local::FileSlot) * local::kSlotCount;

}  // namespace

FakeHook::FakeHook(const std::string& directory, std::uint64_t key, std::uint64_t parent_key) {
  socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory + "/" + local::kSocketFile;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    socket_.reset();
    return;
  }
  hello(key, parent_key);
}

void FakeHook::hello(std::uint64_t key, std::uint64_t parent_key) {
  const local::Hello hello{local::kVersion, ::getpid(), key, parent_key};
  send(local::MessageType::kHello, bytes_of(hello) + "test");
}

bool FakeHook::send_raw(std::string_view packet) {
  return ::send(socket_.get(), packet.data(), packet.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(packet.size());
}

bool FakeHook::send(local::MessageType type, std::string_view body, int descriptor) {
  const local::LocalHeader header{type, 0};
  std::string packet = bytes_of(header) + std::string(body);
  iovec part{packet.data(), packet.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
  }
  return ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) >= 0;
}

Answer FakeHook::receive(int timeout_ms) {
  Answer answer;
  pollfd readable{socket_.get(), POLLIN, 0};
  if (::poll(&readable, 1, timeout_ms) <= 0) {
    return answer;
  }
  std::string packet(local::kMaxPacket, '\0');
  iovec part{packet.data(), packet.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  if (count < static_cast<ssize_t>(sizeof(local::LocalHeader))) {
    return answer;
  }
  local::LocalHeader header;
  std::memcpy(&header, packet.data(), sizeof header);
  answer.has_come = true;
  answer.error = header.error;
  answer.bytes = packet.substr(sizeof header, static_cast<std::size_t>(count) - sizeof header);
  if (const cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
    answer.descriptor.reset(fd);
  }
  return answer;
}

Opened FakeHook::open(std::string_view path, std::uint32_t flags, std::uint32_t mode,
                      local::Handle directory) {
  Answer answer = call(local::MessageType::kOpen, local::OpenRequest{directory, flags, mode}, path);
  Opened opened;
  opened.error = answer.has_come ? answer.error : -1;
  opened.reply = answer.as<local::OpenReply>();
  opened.descriptor = std::move(answer.descriptor);
  return opened;
}

int FakeHook::close(local::Handle handle, bool is_written) {
  send(local::MessageType::kClose, bytes_of(local::HandleRequest{handle}));
  if (!is_written) {
    return 0;
  }
  const Answer answer = receive();
  return answer.has_come ? answer.error : -1;
}

Answer FakeHook::stat(std::string_view path, std::uint32_t flags) {
  local::PathRequest request{};
  request.flags = flags;
  request.first_length = static_cast<std::uint32_t>(path.size());
  return call(local::MessageType::kStat, request, path);
}

Answer FakeHook::fetch(local::Handle handle, std::uint64_t offset, std::uint64_t length) {
  return call(local::MessageType::kFetch, local::RangeRequest{handle, offset, length, 0, 0});
}

TestSession::TestSession(FakeAgent::Options agent_options,
                         const std::function<void(SessionOptions&)>& adjust)
    : agent(agent_options) {
  std::string name = "/tmp/mirrord-test-XXXXXX";
  directory_ = ::mkdtemp(name.data());
  SessionOptions options;
  options.directory = directory_;
  if (agent_options.listens) {
    options.agent.address = agent.address();
  } else {
    options.agent.stream = agent.take_client_end();
  }
  options.idle_timeout = std::chrono::milliseconds(50);
  options.start_idle_timeout = std::chrono::milliseconds(10'000);
  if (adjust) {
    adjust(options);
  }
  std::array<int, 2> ends{};
  [[maybe_unused]] const int made = ::pipe2(ends.data(), O_CLOEXEC);
  const Fd reports(ends[0]);
  thread_ = std::thread([this, options = std::move(options), out = Fd(ends[1])]() mutable {
    [[maybe_unused]] const Status served = serve_session(std::move(options), std::move(out));
    has_ended_ = true;
  });
  // Ready, or failed: in both cases the pipe is closed.
  std::array<char, 4096> text;
  while (::read(reports.get(), text.data(), text.size()) > 0) {
  }
  agent.reset_counts();
}

TestSession::~TestSession() {
  agent.die();
  if (!wait_for_end()) {
    std::abort();  // a session that does not end is a failure of whatever test this was
  }
  thread_.join();
  if (slots_ != nullptr) {
    ::munmap(slots_, kSlotsSize);
  }
}

bool TestSession::wait_for_end() {
  for (int i = 0; i < 500 && !has_ended_; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return has_ended_;
}

bool TestSession::directory_exists() const {
  struct stat status {};
  return ::stat(directory_.c_str(), &status) == 0;
}

local::FileSlot* TestSession::slots() {
  if (slots_ == nullptr) {
    const Fd file(::open((directory_ + "/" + local::kSlotsFile).c_str(), O_RDWR | O_CLOEXEC));
    slots_ = static_cast<local::FileSlot*>(
        ::mmap(nullptr, kSlotsSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
  }
  return slots_;
}

std::string read_range(const Fd& descriptor, std::uint64_t offset, std::size_t length) {
  std::string bytes(length, '\0');
  const ssize_t count =
      ::pread(descriptor.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  bytes.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  return bytes;
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 400; ++i) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

}  // namespace mirrord::intproxy::test
