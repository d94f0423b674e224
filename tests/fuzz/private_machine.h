// tests/fuzz/private_machine.h — where the session targets run: a network and a memory file system
// that nobody else sees and that go with the process, so that fuzzed requests may do what they like.
#pragma once

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "applets/agent/target.h"
#include "net/fd.h"

namespace mirrord::fuzz {

inline void check(bool holds) {
  if (!holds)
    std::abort();
}

inline void write_text(const std::string& path, std::string_view text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  check(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

inline constexpr char kPlace[] = "/dev/shm";  // covered by the memory file system
inline constexpr std::uint16_t kPort = 7;     // somebody listens there, and takes datagrams

// Call once, while the process has one thread.
inline void enter_private_machine() {
  const unsigned user = ::geteuid();
  const unsigned group = ::getegid();
  const int user_space = user == 0 ? 0 : CLONE_NEWUSER;
  if (::unshare(user_space | CLONE_NEWNS | CLONE_NEWNET) != 0) {
    std::printf("SKIP: no namespaces of our own: %s\n", std::strerror(errno));
    std::fflush(stdout);
    ::_exit(77);
  }
  if (user_space != 0) {
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
    write_text("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
  }
  check(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  check(::mount("fuzz", kPlace, "tmpfs", 0, "size=64m") == 0);
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  check(::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0);
}

// A target that is a folder: a few files, a UNIX listener, a port that accepts.
class Place {
 public:
  Place() {
    std::filesystem::create_directories(root_ + "/etc");
    std::filesystem::create_directories(root_ + "/d/e");
    write_text(root_ + "/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    write_text(root_ + "/etc/hosts", "127.0.0.1 a path\n::1 a\n");
    fill();
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    datagrams_ = Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    for (const Fd* socket : {&listener_, &datagrams_}) {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(kPort);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      check(::bind(socket->get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    check(::listen(listener_.get(), 64) == 0);
    ::fcntl(listener_.get(), F_SETFL, O_NONBLOCK);
  }

  // What every input finds, whatever the last one did.
  void fill() {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(root_)) {
      if (entry.path().filename() != "etc")
        std::filesystem::remove_all(entry.path(), ignored);
    }
    std::filesystem::create_directories(root_ + "/d/e", ignored);
    write_text(root_ + "/a", std::string(300'000, 'a'));
    write_text(root_ + "/path", "small\n");
    check(::symlink("a", (root_ + "/link").c_str()) == 0);
    while (Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)).is_open()) {
    }
  }

  [[nodiscard]] agent::Target target() const {
    agent::Target target;
    target.root = Fd(::open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    target.name = "fuzz";
    target.environment = {{"A", "b"}, {"PATH", "/bin"}};
    return target;
  }

 private:
  std::string root_ = std::string(kPlace) + "/root";
  Fd listener_;
  Fd datagrams_;
};

}  // namespace mirrord::fuzz
