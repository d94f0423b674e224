// tests/hook/peer_main.cpp — runs a program with the hook against a scripted peer that serves a
// directory: hook_peer [options] HOOK ROOT -- program args. Ends with the program's status.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/hook/peer_files.h"
#include "tests/hook/peer_session.h"

namespace mirrord::peer {
namespace {

class Peer {
 public:
  struct Faults {
    unsigned die_after = 0;     // requests
    unsigned silent_after = 0;  // requests
    unsigned delay_ms = 0;      // before every answer but to pings
  };

  Peer(Options options, const char* log, Faults faults)
      : files_(std::move(options)),
        die_after_(faults.die_after),
        silent_after_(faults.silent_after),
        delay_ms_(faults.delay_ms) {
    if (log != nullptr) {
      log_ = std::fopen(log, "w");
    }
  }

  void accept_all(int listener) {
    while (true) {
      int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0 && !is_dead_) {
        serve(fd, 0);
      } else {
        ::close(fd);
      }
    }
  }

 private:
  void serve(int fd, uint64_t key) {
    std::thread([this, fd, key] { run(fd, key); }).detach();
  }

  void run(int fd, uint64_t key) {
    std::string buffer(local::kMaxPacket, '\0');
    while (true) {
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
      iovec part = {buffer.data(), buffer.size()};
      msghdr message = {};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      ssize_t size = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
      if (size < static_cast<ssize_t>(sizeof(local::LocalHeader))) {
        break;
      }
      int passed = -1;
      if (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
        std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
      }
      local::LocalHeader header;
      std::memcpy(&header, buffer.data(), sizeof header);
      handle(fd, key, header.type,
             buffer.substr(sizeof header, static_cast<size_t>(size) - sizeof header), passed);
    }
    ::close(fd);
  }

  void handle(int fd, uint64_t& key, local::MessageType type, const std::string& packet,
              int passed) {
    using local::MessageType;
    if (log_ != nullptr) {
      std::fprintf(log_, "%u\n", static_cast<unsigned>(type));
      std::fflush(log_);
    }
    if (type == MessageType::kHello) {
      local::Hello hello;
      std::memcpy(&hello, packet.data(), sizeof hello);
      key = hello.process_key;
      std::lock_guard lock(mutex_);
      // Each further connection of a process says Hello too; by then it may have files of its own.
      const bool is_new = processes_.try_emplace(key).second;
      if (is_new && hello.parent_key != 0 && processes_.count(hello.parent_key) != 0) {
        processes_[key] = processes_[hello.parent_key];
      }
      return;
    }
    if (type == MessageType::kFork) {
      local::Fork fork;
      std::memcpy(&fork, packet.data(), sizeof fork);
      {
        std::lock_guard lock(mutex_);
        processes_[fork.child_key] = processes_[key];
      }
      serve(passed, fork.child_key);
      return;
    }
    if (type == MessageType::kExec || type == MessageType::kNudge || type == MessageType::kLog) {
      return;
    }
    if (silent_after_ != 0 && ++requests_ > silent_after_) {
      return;  // as a process that is stopped
    }
    if (type == MessageType::kPing) {
      send(fd, type, Reply());
      return;
    }
    if (delay_ms_ != 0) {
      ::usleep(delay_ms_ * 1000);
    }
    if (die_after_ != 0 && ++requests_ > die_after_) {
      ::shutdown(fd, SHUT_RDWR);
      is_dead_ = true;
      return;
    }
    Handles* handles;
    {
      std::lock_guard lock(mutex_);
      handles = &processes_[key];
    }
    bool is_one_way = type == MessageType::kClose && is_read_only(*handles, packet);
    Reply reply = files_.answer(*handles, type, packet);
    if (!is_one_way) {
      send(fd, type, reply);
    }
    if (reply.descriptor >= 0) {
      ::close(reply.descriptor);
    }
  }

  static bool is_read_only(const Handles& handles, const std::string& packet) {
    local::HandleRequest request;
    std::memcpy(&request, packet.data(), sizeof request);
    auto found = handles.find(request.handle);
    return found == handles.end() || (::fcntl(found->second->fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
  }

  static void send(int fd, local::MessageType type, const Reply& reply) {
    local::LocalHeader header = {type, reply.error};
    iovec parts[2] = {{&header, sizeof header},
                      {const_cast<char*>(reply.bytes.data()), reply.bytes.size()}};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (reply.descriptor >= 0) {
      auto* ancillary = reinterpret_cast<cmsghdr*>(control);
      ancillary->cmsg_level = SOL_SOCKET;
      ancillary->cmsg_type = SCM_RIGHTS;
      ancillary->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(ancillary), &reply.descriptor, sizeof(int));
      message.msg_control = control;
      message.msg_controllen = sizeof control;
    }
    ::sendmsg(fd, &message, MSG_NOSIGNAL);
  }

  Files files_;
  std::mutex mutex_;
  std::map<uint64_t, Handles> processes_;
  std::FILE* log_ = nullptr;
  unsigned die_after_;
  unsigned silent_after_;
  unsigned delay_ms_;
  std::atomic<unsigned> requests_ = 0;
  std::atomic<bool> is_dead_ = false;
};

int listen_at(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  return ::listen(fd, 64) == 0 ? fd : -1;
}

// Becomes the program under the hook. On a machine of another kind, where an emulator (and its
// arguments) runs this peer, it has to run the program too, and preload the hook.
void become(char** arguments, const std::string& hook) {
  const char* emulator = std::getenv("MIRRORD_EMULATOR");
  if (emulator == nullptr) {
    ::setenv("LD_PRELOAD", hook.c_str(), 1);
    ::execvp(arguments[0], arguments);
    return;
  }
  std::string words = emulator;
  std::string preload = "LD_PRELOAD=" + hook, option = "-E";
  std::vector<char*> command;
  for (char* word = std::strtok(words.data(), " "); word != nullptr;
       word = std::strtok(nullptr, " "))
    command.push_back(word);
  command.push_back(option.data());
  command.push_back(preload.data());
  for (; *arguments != nullptr; ++arguments)
    command.push_back(*arguments);
  command.push_back(nullptr);
  ::execvp(command[0], command.data());
}

int run_program(char** arguments, const std::string& directory, const std::string& hook) {
  pid_t child = ::fork();
  if (child == 0) {
    ::setenv("MIRRORD_SESSION", directory.c_str(), 1);
    become(arguments, hook);
    std::perror(arguments[0]);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int peer_main(int argc, char** argv) {
  Options options;
  const char* log = nullptr;
  const char* skip = "";
  uint32_t version = local::kVersion;
  bool is_dead = false;
  Peer::Faults faults;
  int at = 1;
  for (; at < argc && argv[at][0] == '-' && argv[at][1] == '-' && argv[at][2] != '\0'; ++at) {
    std::string option = argv[at];
    if (option == "--dead") {
      is_dead = true;  // nobody listens
    } else if (option == "--window") {
      options.window = std::strtoull(argv[++at], nullptr, 10);
    } else if (option == "--log") {
      log = argv[++at];
    } else if (option == "--skip") {
      skip = argv[++at];
    } else if (option == "--version") {
      version = static_cast<uint32_t>(std::atoi(argv[++at]));
    } else if (option == "--die-after") {
      faults.die_after = static_cast<unsigned>(std::atoi(argv[++at]));
    } else if (option == "--silent-after") {
      faults.silent_after = static_cast<unsigned>(std::atoi(argv[++at]));
    } else if (option == "--delay") {
      faults.delay_ms = static_cast<unsigned>(std::atoi(argv[++at]));
    } else if (option == "--local") {
      options.local_root = argv[++at];
    }
  }
  if (argc - at < 4) {
    std::fprintf(stderr, "usage: hook_peer [options] HOOK ROOT -- program args\n");
    return 2;
  }
  std::string hook = argv[at];
  options.root = argv[at + 1];
  char directory[] = "/tmp/mirrord-peer-XXXXXX";
  if (::mkdtemp(directory) == nullptr ||
      !write_session(directory, hook, skip, version, &options.slots)) {
    std::perror("session");
    return 2;
  }
  int listener = listen_at(std::string(directory) + "/" + local::kSocketFile);
  Peer peer(options, log, faults);
  if (!is_dead) {
    std::thread([&peer, listener] { peer.accept_all(listener); }).detach();
  } else {
    ::close(listener);
  }
  int status = run_program(argv + at + 3, directory, hook);
  std::filesystem::remove_all(directory);
  std::fflush(stdout);
  ::_exit(status);
}

}  // namespace
}  // namespace mirrord::peer

int main(int argc, char** argv) {
  return mirrord::peer::peer_main(argc, argv);
}
