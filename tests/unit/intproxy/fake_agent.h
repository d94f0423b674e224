// tests/unit/intproxy/fake_agent.h — an agent with files in memory that counts round trips.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/fd.h"
#include "proto/client_message.h"
#include "proto/daemon_message.h"
#include "proto/errors.h"

namespace mirrord::intproxy::test {

struct FakeFile {
  std::string content;
  std::uint32_t mode = 0100644;
  std::optional<std::uint64_t> shown_size;  // /proc: what stat says
  std::size_t max_read = 1 << 30;           // a read returns at most this much
  std::uint64_t inode = 0;                  // filled in by add
};

// Answers in batches: everything that has arrived when the line has been quiet for `quiet_ms` is one
// round trip. Files are changed from the test's thread under `lock()`.
class FakeAgent {
 public:
  struct Options {
    std::string version = "1.29.0";  // the agent's own
    bool speaks_flight = true;
    int quiet_ms = 2;
    bool listens = false;  // at address(); a client may come back, and finds nothing open
  };

  FakeAgent() : FakeAgent(Options{}) {}
  explicit FakeAgent(Options options);
  ~FakeAgent();

  [[nodiscard]] std::string address() const;
  [[nodiscard]] int clients() const { return clients_; }  // that have come so far
  void speak_version(const std::string& version);         // to clients that come from now on
  void stop_listening();
  void say_close(const std::string& reason);
  void say(const proto::DaemonMessage& message);
  // What has come about stolen traffic, in order; nothing after five seconds. Every subscription is
  // granted.
  std::optional<proto::LayerTcpSteal> hear_steal();
  Fd take_client_end() { return std::move(client_end_); }
  std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
  void add(const std::string& path, FakeFile file);
  void add_directory(const std::string& path) { add(path, {.mode = 040755}); }
  std::string content(const std::string& path);
  bool exists(const std::string& path);
  FakeFile& file_unlocked(const std::string& path) { return files_[path]; }  // under lock()

  // Looks at every file request before it is executed; a value is the answer.
  using Interceptor =
      std::function<std::optional<proto::FileResponse>(const proto::FileRequest& request)>;
  void intercept(Interceptor interceptor);
  void die();                        // closes the connection at once
  void die_at(std::size_t request);  // … instead of executing this one (1 = the next)
  void send_garbage();               // bytes that are no message
  void answer_nothing();             // from now on requests are read but never answered
  void answer_only_pings();          // … but for those

  [[nodiscard]] int round_trips() const { return round_trips_; }
  void reset_counts() {
    round_trips_ = 0;
    requests_ = 0;
  }
  [[nodiscard]] std::size_t requests() const { return requests_; }
  [[nodiscard]] std::size_t open_descriptors();
  std::vector<std::string> request_names();  // of all file requests so far

 private:
  struct Descriptor {
    std::string path;
    std::uint64_t position = 0;
    bool is_append = false;
    bool is_listing = false;
  };

  void run();
  void serve();
  void handle(proto::ClientMessage&& message);
  void send(proto::DaemonMessage&& message);
  std::optional<proto::FileResponse> execute(proto::FileRequest& request);
  proto::FileResponse execute_on_directory(proto::FileRequest& request);
  proto::FileResponse execute_change(proto::FileRequest& request);
  proto::FileResponse open(const std::string& path, const proto::OpenOptionsInternal& options);
  proto::Res<proto::XstatResponse> stat(const std::string& path);
  proto::Res<proto::ReadFileResponse> read(std::uint64_t fd, std::uint64_t size,
                                           std::optional<std::uint64_t> offset);
  proto::Res<proto::WriteFileResponse> write(std::uint64_t fd, const proto::Bytes& bytes,
                                             std::optional<std::uint64_t> offset);
  FakeFile* file_of(std::uint64_t fd);

  Options options_;
  Fd client_end_;
  Fd listener_;
  std::vector<Fd> sockets_;       // all that there were: their numbers stay taken
  std::atomic<int> socket_ = -1;  // the last one
  std::atomic<int> clients_ = 0;
  std::atomic<bool> is_stopping_ = false;
  std::mutex mutex_;
  std::map<std::string, FakeFile> files_;
  std::map<std::uint64_t, Descriptor> descriptors_;
  std::uint64_t next_descriptor_ = 0;
  std::uint64_t next_inode_ = 100;
  Interceptor interceptor_;
  std::size_t die_at_ = 0;
  bool is_mute_ = false;
  bool is_pinging_ = true;
  std::vector<std::string> names_;
  std::deque<proto::LayerTcpSteal> steal_messages_;
  std::atomic<int> round_trips_ = 0;
  std::atomic<std::size_t> requests_ = 0;
  proto::Bytes output_;
  std::thread thread_;
};

}  // namespace mirrord::intproxy::test
