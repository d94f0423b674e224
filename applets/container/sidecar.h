// applets/container/sidecar.h — a session for programs in a local container: its agent stays with this process, its proxy
// gets a container, in whose network the program's container starts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "applets/config/load.h"
#include "applets/container/child.h"
#include "applets/intproxy/stream_server.h"
#include "applets/progress.h"
#include "net/error.h"
#include "net/loop.h"

namespace mirrord::container {

struct Variable {
  std::string name, value;
};

class Sidecar {
 public:
  // `runtime`: docker, podman or nerdctl. `load` is where `config` came from.
  Sidecar(net::Loop& loop, std::string runtime, const config::ResolvedConfig& config,
          config::LoadRequest load, Progress& progress);
  ~Sidecar();  // the container is removed, the agent and the session end
  Sidecar(const Sidecar&) = delete;
  Sidecar& operator=(const Sidecar&) = delete;

  // On an error nothing stays behind. Call once, while the process has one thread.
  Status start();
  // What the program's container must be started with, after `run`; its environment apart.
  [[nodiscard]] std::vector<std::string> options() const;
  [[nodiscard]] const std::vector<Variable>& environment() const { return environment_; }
  // A place for what the program's container is called (--cidfile).
  [[nodiscard]] std::string identifier_file() const;
  // The session has ended by itself: nothing uses it any more, or the agent is lost.
  void on_ended(std::function<void()> callback) { ended_ = std::move(callback); }

 private:
  Status make_directories();
  Status provide_image();
  Status create();
  Status begin();
  Status fetch_environment();
  void take_line(std::string_view line);

  net::Loop& loop_;
  std::string runtime_;
  const config::ResolvedConfig& config_;
  config::LoadRequest load_;
  Progress& progress_;
  std::string directory_;  // holds `share` and `private`
  std::string image_;
  std::string name_;  // of the container; empty: not made yet
  std::unique_ptr<intproxy::StreamServer> streams_;
  std::unique_ptr<Child> attached_;
  bool is_ready_ = false;
  std::optional<int> status_;  // of the container
  std::string last_line_;
  std::vector<Variable> environment_;
  std::function<void()> ended_;
};

}  // namespace mirrord::container
