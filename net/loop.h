// net/loop.h — the event loop of a role, and its timers, descriptor watchers and wake-ups.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

typedef struct uv_loop_s uv_loop_t;

namespace mirrord::net {

using Callback = std::move_only_function<void()>;

// One libuv loop. Everything that belongs to it is used from its own thread only; `post` is the
// one exception.
class Loop {
 public:
  Loop();
  ~Loop();  // closes what is left; all watchers must be gone or are closed now
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();  // returns when `stop` was called or nothing is left to wait for
  // The same, and also returns once `is_done` holds, which is asked before each wait. Whether it
  // does. Not from a callback.
  bool run_until(const std::function<bool()>& is_done);
  void stop();
  // Runs `callback` at the end of the present iteration, before the loop waits again. Used to
  // gather several small writes into one system call.
  void defer(Callback callback);
  // Thread-safe: runs `callback` on the loop's thread.
  void post(Callback callback);
  // Runs `work` on the thread pool, then `done` on the loop's thread.
  void submit(Callback work, Callback done);
  // Milliseconds of the monotonic clock, cached for this iteration.
  [[nodiscard]] std::uint64_t now_ms() const;
  [[nodiscard]] uv_loop_t* uv() { return loop_; }

 private:
  friend class FdWatcher;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  uv_loop_t* loop_;
};

// A one-shot or repeating timer; stops when destroyed. Callbacks may destroy it.
class Timer {
 public:
  explicit Timer(Loop& loop);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start(std::chrono::milliseconds delay, Callback callback);
  void start_repeating(std::chrono::milliseconds period, Callback callback);
  void stop();

 private:
  struct Handle;
  Handle* handle_;
};

// Reports readiness of a descriptor that somebody else owns. The descriptor is made non-blocking
// and must stay open until the watcher is destroyed. Callbacks may destroy the watcher.
class FdWatcher {
 public:
  enum Events : int { kNone = 0, kReadable = 1, kWritable = 2 };
  using ReadyCallback = std::move_only_function<void(int events)>;

  FdWatcher(Loop& loop, int fd, ReadyCallback on_ready);
  ~FdWatcher();
  FdWatcher(const FdWatcher&) = delete;
  FdWatcher& operator=(const FdWatcher&) = delete;
  // What to wait for from now on; kNone pauses. An error or hang-up is reported as both.
  void watch(int events);

 private:
  friend class Loop;
  struct Handle;
  Handle* handle_;
};

// Delivers a signal on the loop's thread.
class SignalWatcher {
 public:
  SignalWatcher(Loop& loop, int signal_number, Callback callback);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  struct Handle;
  Handle* handle_;
};

}  // namespace mirrord::net
