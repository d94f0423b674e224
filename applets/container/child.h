// applets/container/child.h — a container runtime's command that runs while the loop goes on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/error.h"
#include "net/fd.h"
#include "net/loop.h"

namespace mirrord::container {

class Child {
 public:
  struct Handlers {
    std::function<void(std::string_view line)> output;  // set: both streams come here, line by line
    std::function<void(int status)> ended;              // as wait(2) gives it; after the last line
  };
  using Environment = std::vector<std::pair<std::string, std::string>>;

  // The program is looked for in PATH. Without `output` the standard streams are this process's.
  // `environment` goes over this process's own.
  static Result<std::unique_ptr<Child>> start(net::Loop& loop, std::vector<std::string> words,
                                              const Environment& environment, Handlers handlers);
  ~Child();  // one that still runs is killed
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number) const;

 private:
  Child(net::Loop& loop, pid_t pid, Fd output, Handlers handlers);
  void read_output();
  void on_ended();

  pid_t pid_;
  Fd pidfd_;
  Fd output_;
  std::string line_;  // not complete yet
  Handlers handlers_;
  bool has_ended_ = false;
  std::unique_ptr<net::FdWatcher> ending_, reading_;  // after the descriptors: they go first
};

}  // namespace mirrord::container
