// tests/fuzz/hook_packets.h — a program's side of the local protocol for fuzz targets: packets of
// every type and of none, with descriptors and without, on several connections.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "net/fd.h"
#include "proto/local.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/private_machine.h"

namespace mirrord::fuzz {

template <class T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

class FuzzedHook {
 public:
  FuzzedHook(const std::string& directory, std::uint64_t key) : key_(key) {
    socket_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = directory + "/" + local::kSocketFile;
    std::memcpy(address.sun_path, path.data(), path.size());
    check(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  void hello(std::uint64_t parent_key = 0) {
    const local::Hello hello{local::kVersion, ::getpid(), key_, parent_key};
    send(local::MessageType::kHello, bytes_of(hello) + "fuzz");
  }
  void send(local::MessageType type, const std::string& body, std::vector<Fd> descriptors = {}) {
    send_raw(bytes_of(local::LocalHeader{type, 0}) + body, std::move(descriptors));
  }
  void send_raw(std::string packet, std::vector<Fd> descriptors = {}) {
    iovec part{packet.data(), packet.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
    if (!descriptors.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
      cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
      for (std::size_t i = 0; i < descriptors.size(); ++i) {
        const int fd = descriptors[i].get();
        std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof fd);
      }
    }
    ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  // Takes what has come. Every answer is whole and of a known size; files stay open for a while.
  void receive() {
    static std::array<std::byte, local::kMaxPacket + 1> buffer;
    while (!has_ended) {
      iovec part{buffer.data(), buffer.size()};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 8)> control{};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t count = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (count < 0 && errno == EAGAIN)
        return;
      if (count <= 0) {
        has_ended = true;
        return;
      }
      if (const cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr) {
        check(rights->cmsg_len == CMSG_LEN(sizeof(int)));
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(rights), sizeof fd);
        files.emplace_back(fd);
        if (files.size() > 64)
          files.erase(files.begin());
      }
      take(std::span(buffer).first(static_cast<std::size_t>(count)));
    }
  }

  std::size_t answers = 0;
  bool has_ended = false;
  std::vector<Fd> files;
  std::vector<local::Handle> handles;
  std::vector<std::uint64_t> connections;
  std::vector<local::Address> relays;

 private:
  void take(std::span<const std::byte> packet) {
    check(packet.size() >= sizeof(local::LocalHeader) && packet.size() <= local::kMaxPacket);
    ++answers;
    local::LocalHeader header;
    std::memcpy(&header, packet.data(), sizeof header);
    packet = packet.subspan(sizeof header);
    if (header.error != 0)
      return;
    if (header.type == local::MessageType::kOpen) {
      check(packet.size() == sizeof(local::OpenReply));
      local::OpenReply reply;
      std::memcpy(&reply, packet.data(), sizeof reply);
      handles.push_back(reply.handle);
    } else if (header.type == local::MessageType::kConnect) {
      check(packet.size() == sizeof(local::ConnectReply));
      local::ConnectReply reply;
      std::memcpy(&reply, packet.data(), sizeof reply);
      connections.push_back(reply.connection);
      if (reply.state != local::ConnectState::kBypass)
        relays.push_back(reply.relay);
    }
  }

  Fd socket_;
  std::uint64_t key_;
};

// Descriptors of kinds that a hook passes, and of others.
inline Fd some_descriptor(std::uint8_t kind) {
  int ends[2] = {-1, -1};
  switch (kind % 5) {
    case 0:
      ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
      ::close(ends[0]);
      return Fd(ends[1]);
    case 1:
      return Fd(::memfd_create("fuzz", MFD_CLOEXEC));
    case 2:
      return Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
    case 3:
      return Fd(::epoll_create1(EPOLL_CLOEXEC));
    default:
      check(::pipe2(ends, O_CLOEXEC) == 0);
      ::close(ends[1]);
      return Fd(ends[0]);
  }
}

// The fixed part of a request of this type, filled with choices that come far.
class RequestMaker {
 public:
  RequestMaker(Input& input, FuzzedHook& hook) : input_(input), hook_(hook) {}

  std::string make(local::MessageType type) {
    using local::MessageType;
    switch (type) {
      case MessageType::kHello:
        return bytes_of(local::Hello{local::kVersion, ::getpid(), key(), key()}) + "again";
      case MessageType::kFork:
      case MessageType::kExec:
        return bytes_of(key());
      case MessageType::kLog:
        return "text";
      case MessageType::kOpen:
        return bytes_of(local::OpenRequest{input_.take<std::uint8_t>() % 4 == 0 ? handle() : 0,
                                           flags(), 0644}) +
               path();
      case MessageType::kClose:
      case MessageType::kFetchAll:
      case MessageType::kSync:
      case MessageType::kStatHandle:
      case MessageType::kStatFsHandle:
      case MessageType::kList:
        return bytes_of(local::HandleRequest{handle()});
      case MessageType::kFetch:
      case MessageType::kNudge:
      case MessageType::kRead:
      case MessageType::kWrite:
      case MessageType::kSeek:
      case MessageType::kTruncate:
        return bytes_of(local::RangeRequest{handle(), number(), number(),
                                            input_.take<std::uint8_t>() % 6U, 0}) +
               (type == MessageType::kWrite ? input_.text(input_.take<std::uint8_t>()) : "");
      case MessageType::kSetMode:
      case MessageType::kSetOwner:
      case MessageType::kSetTimes:
        return bytes_of(local::AttributeRequest{handle(), 0600, 0, 0, 1, {1, 2, 3, 4}});
      default:
        return make_other(type);
    }
  }

 private:
  std::string make_other(local::MessageType type) {
    using local::MessageType;
    switch (type) {
      case MessageType::kResolve:
        return bytes_of(local::ResolveRequest{
                   input_.take<std::uint8_t>() % 2 == 0 ? AF_INET : 0, 1, 0, 0, 80, {}}) +
               path();
      case MessageType::kReverseResolve:
        return bytes_of(address());
      case MessageType::kConnect: {
        local::ConnectRequest request{};
        request.transport = static_cast<local::Transport>(input_.take<std::uint8_t>() % 4);
        request.wait = input_.take<std::uint8_t>() % 2;
        request.remote = address();
        request.local = address();
        return bytes_of(request);
      }
      case MessageType::kConnectOutcome: {
        const auto& known = hook_.connections;
        const std::size_t at = input_.take<std::uint8_t>();
        return bytes_of(local::ConnectionRequest{known.empty() ? at : known[at % known.size()]});
      }
      case MessageType::kListening:
        return bytes_of(local::ListeningRequest{kPort, 1});
      case MessageType::kHostName:
        return {};
      default: {  // on paths
        local::PathRequest request{};
        const std::string first = path(), second = path();
        request.directory = input_.take<std::uint8_t>() % 8 == 0 ? handle() : 0;
        request.flags = input_.take<std::uint8_t>() % 8 == 0 ? 0x200 : 0;
        request.mode = 0755;
        request.first_length = static_cast<std::uint32_t>(
            input_.take<std::uint8_t>() % 16 == 0 ? number() : first.size());
        request.length = number();
        return bytes_of(request) + first +
               (type == MessageType::kRename || input_.take<std::uint8_t>() % 16 == 0 ? second
                                                                                      : "");
      }
    }
  }

  std::uint64_t key() { return input_.take<std::uint8_t>() % 8; }
  local::Handle handle() {
    const std::size_t at = input_.take<std::uint8_t>();
    return hook_.handles.empty() || at == 255 ? at : hook_.handles[at % hook_.handles.size()];
  }
  std::uint64_t number() {
    static constexpr std::uint64_t kNumbers[] = {0,       1,       4096,  100'000,
                                                 300'000, 1 << 20, ~0ULL, ~0ULL >> 1};
    const auto choice = input_.take<std::uint8_t>();
    return choice < 128 ? kNumbers[choice % std::size(kNumbers)] : choice;
  }
  std::uint32_t flags() {
    static constexpr int kFlags[] = {O_RDONLY,
                                     O_WRONLY | O_CREAT,
                                     O_RDWR | O_CREAT,
                                     O_RDONLY | O_DIRECTORY,
                                     O_WRONLY | O_APPEND,
                                     O_PATH,
                                     O_WRONLY | O_TRUNC,
                                     O_RDWR | O_CREAT | O_EXCL};
    const auto choice = input_.take<std::uint8_t>();
    return choice < 240 ? static_cast<std::uint32_t>(kFlags[choice % std::size(kFlags)])
                        : input_.take<std::uint32_t>();
  }
  std::string path() {
    static constexpr std::string_view kPaths[] = {
        "/a", "/path", "/d", "/d/e", "/", "/new", "/d/x", "a", "", "/link", "/link/a", "localhost"};
    const auto choice = input_.take<std::uint8_t>();
    return choice < 240 ? std::string(kPaths[choice % std::size(kPaths)])
                        : input_.text(input_.take<std::uint16_t>());
  }
  local::Address address() {
    local::Address address{};
    const auto choice = input_.take<std::uint8_t>();
    if (choice >= 200) {
      const std::string bytes = input_.text(sizeof address);
      std::memcpy(&address, bytes.data(), bytes.size());
    } else if (choice < 150) {
      address.family = AF_INET;
      address.port = choice % 2 == 0 ? kPort : choice;
      address.length = 4;
      const std::uint8_t loopback[] = {127, 0, 0, 1};
      std::memcpy(address.data, loopback, sizeof loopback);
    }
    return address;
  }

  Input& input_;
  FuzzedHook& hook_;
};

inline constexpr local::MessageType kRequestTypes[] = {
    local::MessageType::kHello,        local::MessageType::kFork,
    local::MessageType::kExec,         local::MessageType::kLog,
    local::MessageType::kOpen,         local::MessageType::kClose,
    local::MessageType::kFetch,        local::MessageType::kFetchAll,
    local::MessageType::kNudge,        local::MessageType::kRead,
    local::MessageType::kWrite,        local::MessageType::kSeek,
    local::MessageType::kSync,         local::MessageType::kTruncate,
    local::MessageType::kStatHandle,   local::MessageType::kStatFsHandle,
    local::MessageType::kSetMode,      local::MessageType::kSetOwner,
    local::MessageType::kSetTimes,     local::MessageType::kList,
    local::MessageType::kStat,         local::MessageType::kAccess,
    local::MessageType::kReadLink,     local::MessageType::kMakeDir,
    local::MessageType::kUnlink,       local::MessageType::kRename,
    local::MessageType::kStatFs,       local::MessageType::kTruncatePath,
    local::MessageType::kSetModePath,  local::MessageType::kSetOwnerPath,
    local::MessageType::kSetTimesPath, local::MessageType::kMapPath,
    local::MessageType::kResolve,      local::MessageType::kReverseResolve,
    local::MessageType::kConnect,      local::MessageType::kConnectOutcome,
    local::MessageType::kListening,    local::MessageType::kHostName,
};

}  // namespace mirrord::fuzz
