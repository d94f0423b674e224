// tests/unit/intproxy/fake_hook.h — a program's side of the local socket, and a session in a thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <vector>

#include "applets/intproxy/start.h"
#include "net/fd.h"
#include "proto/local.h"
#include "tests/unit/intproxy/fake_agent.h"

namespace mirrord::intproxy::test {

struct Answer {
  bool has_come = false;  // false: the connection ended, or nothing came in time
  int error = 0;
  std::string bytes;  // after the header
  Fd descriptor;

  template <class T>
  T as() const {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(sizeof(T), bytes.size()));
    return value;
  }
};

// An open file as the program has it.
struct Opened {
  int error = 0;
  local::OpenReply reply{};
  Fd descriptor;
};

class FakeHook {
 public:
  FakeHook() = default;
  // Connects and says hello.
  FakeHook(const std::string& directory, std::uint64_t key, std::uint64_t parent_key = 0);
  explicit FakeHook(Fd socket) : socket_(std::move(socket)) {}

  void hello(std::uint64_t key, std::uint64_t parent_key = 0);
  bool send(local::MessageType type, std::string_view body, int descriptor = -1);
  bool send_raw(std::string_view packet);
  Answer receive(int timeout_ms = 5000);
  Answer call(local::MessageType type, std::string_view body) {
    send(type, body);
    return receive();
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  Answer call(local::MessageType type, const T& fixed, std::string_view tail = {}) {
    return call(type, bytes_of(fixed) + std::string(tail));
  }
  template <class T>
  static std::string bytes_of(const T& value) {
    return {reinterpret_cast<const char*>(&value), sizeof value};
  }

  Opened open(std::string_view path, std::uint32_t flags, std::uint32_t mode = 0644,
              local::Handle directory = 0);
  // Closes; waits for the answer when the file was opened for writing.
  int close(local::Handle handle, bool is_written);
  Answer stat(std::string_view path, std::uint32_t flags = 0);
  Answer fetch(local::Handle handle, std::uint64_t offset, std::uint64_t length);
  void disconnect() { socket_.reset(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Fd socket_;
};

// A session directory, an agent and an intproxy between them.
class TestSession {
 public:
  explicit TestSession(FakeAgent::Options agent_options = {},
                       const std::function<void(SessionOptions&)>& adjust = {});
  ~TestSession();

  FakeAgent agent;
  [[nodiscard]] const std::string& directory() const { return directory_; }
  FakeHook connect(std::uint64_t key = 1, std::uint64_t parent_key = 0) {
    return {directory_, key, parent_key};
  }
  // Waits until the intproxy has ended; false when it has not within five seconds.
  bool wait_for_end();
  [[nodiscard]] bool directory_exists() const;
  local::FileSlot* slots();

 private:
  std::string directory_;
  std::atomic<bool> has_ended_ = false;
  std::thread thread_;
  local::FileSlot* slots_ = nullptr;
};

std::string read_range(const Fd& descriptor, std::uint64_t offset, std::size_t length);

// Waits up to two seconds.
bool eventually(const std::function<bool()>& condition);

}  // namespace mirrord::intproxy::test
