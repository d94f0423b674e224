// net/loop.cpp — libuv behind the loop, timer, watcher and signal types.
#include "net/loop.h"

#include <uv.h>

#include <cstdlib>
#include <mutex>
#include <utility>

namespace mirrord::net {

// libuv wants a handle's memory to live until its close callback: each wrapper owns a heap block
// with the handle inside, and hands that block to uv_close when it is destroyed.
namespace {

template <class HandleBlock>
void close_block(HandleBlock* block) {
  block->owner_gone = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&block->uv),
           [](uv_handle_t* handle) { delete static_cast<HandleBlock*>(handle->data); });
}

struct WorkItem {
  uv_work_t request;
  Callback work;
  Callback done;
};

}  // namespace

struct Loop::Impl {
  uv_loop_t loop;
  uv_async_t wake;
  uv_prepare_t before_wait;  // runs deferred callbacks before the loop blocks
  std::vector<Callback> deferred;
  std::mutex posted_mutex;
  std::vector<Callback> posted;

  void run_deferred() {
    // A deferred callback may defer again: that one runs before the next wait too.
    while (!deferred.empty()) {
      std::vector<Callback> batch = std::exchange(deferred, {});
      for (Callback& callback : batch) {
        callback();
      }
    }
  }
  void run_posted() {
    std::vector<Callback> batch;
    {
      const std::lock_guard lock(posted_mutex);
      batch.swap(posted);
    }
    for (Callback& callback : batch) {
      callback();
    }
  }
};

Loop::Loop() : impl_(std::make_unique<Impl>()), loop_(&impl_->loop) {
  if (uv_loop_init(loop_) != 0) {
    std::abort();  // no memory or descriptors for epoll: nothing can work
  }
  uv_async_init(loop_, &impl_->wake,
                [](uv_async_t* handle) { static_cast<Impl*>(handle->data)->run_posted(); });
  uv_prepare_init(loop_, &impl_->before_wait);
  impl_->wake.data = impl_.get();
  impl_->before_wait.data = impl_.get();
  uv_prepare_start(&impl_->before_wait,
                   [](uv_prepare_t* handle) { static_cast<Impl*>(handle->data)->run_deferred(); });
  // Housekeeping alone must not keep `run` alive.
  uv_unref(reinterpret_cast<uv_handle_t*>(&impl_->before_wait));
  uv_unref(reinterpret_cast<uv_handle_t*>(&impl_->wake));
}

Loop::~Loop() {
  impl_->deferred.clear();
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->before_wait), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->wake), nullptr);
  uv_run(loop_, UV_RUN_DEFAULT);  // lets close callbacks free their blocks
  uv_loop_close(loop_);
}

void Loop::run() {
  uv_run(loop_, UV_RUN_DEFAULT);
}
void Loop::stop() {
  uv_stop(loop_);
}

void Loop::defer(Callback callback) {
  impl_->deferred.push_back(std::move(callback));
}

void Loop::post(Callback callback) {
  {
    const std::lock_guard lock(impl_->posted_mutex);
    impl_->posted.push_back(std::move(callback));
  }
  uv_async_send(&impl_->wake);
}

void Loop::submit(Callback work, Callback done) {
  auto* item = new WorkItem{{}, std::move(work), std::move(done)};
  item->request.data = item;
  const int status = uv_queue_work(
      loop_, &item->request,
      [](uv_work_t* request) { static_cast<WorkItem*>(request->data)->work(); },
      [](uv_work_t* request, int) {
        const std::unique_ptr<WorkItem> finished(static_cast<WorkItem*>(request->data));
        finished->done();
      });
  if (status != 0) {
    std::abort();  // only for a null argument
  }
}

std::uint64_t Loop::now_ms() const {
  return uv_now(loop_);
}

struct Timer::Handle {
  uv_timer_t uv;
  Callback callback;
  bool owner_gone = false;
  bool repeating = false;

  static void fire(uv_timer_t* timer) {
    auto* self = static_cast<Handle*>(timer->data);
    // The callback may restart or destroy the timer: keep it alive on the stack while it runs.
    Callback running = std::move(self->callback);
    self->callback = nullptr;
    running();
    if (!self->owner_gone && self->repeating && !self->callback) {
      self->callback = std::move(running);
    }
  }
};

Timer::Timer(Loop& loop) : handle_(new Handle) {
  uv_timer_init(loop.uv(), &handle_->uv);
  handle_->uv.data = handle_;
}
Timer::~Timer() {
  close_block(handle_);
}
void Timer::start(std::chrono::milliseconds delay, Callback callback) {
  handle_->callback = std::move(callback);
  handle_->repeating = false;
  uv_update_time(handle_->uv.loop);
  uv_timer_start(&handle_->uv, Handle::fire, static_cast<std::uint64_t>(delay.count()), 0);
}
void Timer::start_repeating(std::chrono::milliseconds period, Callback callback) {
  handle_->callback = std::move(callback);
  handle_->repeating = true;
  uv_update_time(handle_->uv.loop);
  const auto ms = static_cast<std::uint64_t>(period.count());
  uv_timer_start(&handle_->uv, Handle::fire, ms, ms);
}
void Timer::stop() {
  uv_timer_stop(&handle_->uv);
}

struct FdWatcher::Handle {
  uv_poll_t uv;
  ReadyCallback callback;
  int events = 0;
  bool owner_gone = false;

  static void ready(uv_poll_t* poll, int status, int events) {
    auto* self = static_cast<Handle*>(poll->data);
    const int reported = status < 0 ? (kReadable | kWritable) : events;
    if (status < 0 && self->events != 0) {
      uv_poll_start(poll, self->events, ready);  // libuv has stopped it; there may be more to read
    }
    ReadyCallback running = std::move(self->callback);
    running(reported);
    if (!self->owner_gone) {
      self->callback = std::move(running);
    }
  }
};

FdWatcher::FdWatcher(Loop& loop, int fd, ReadyCallback on_ready) : handle_(new Handle) {
  handle_->callback = std::move(on_ready);
  handle_->uv.data = handle_;
  if (uv_poll_init(loop.uv(), &handle_->uv, fd) != 0) {
    std::abort();  // a descriptor that epoll refuses: a programming mistake
  }
}
FdWatcher::~FdWatcher() {
  close_block(handle_);
}
void FdWatcher::watch(int events) {
  static_assert(static_cast<int>(UV_READABLE) == kReadable &&
                static_cast<int>(UV_WRITABLE) == kWritable);
  if (events == handle_->events) {
    return;
  }
  handle_->events = events;
  if (events == 0) {
    uv_poll_stop(&handle_->uv);
  } else {
    uv_poll_start(&handle_->uv, events, Handle::ready);
  }
}

struct SignalWatcher::Handle {
  uv_signal_t uv;
  Callback callback;
  bool owner_gone = false;
};

SignalWatcher::SignalWatcher(Loop& loop, int signal_number, Callback callback)
    : handle_(new Handle) {
  handle_->callback = std::move(callback);
  handle_->uv.data = handle_;
  uv_signal_init(loop.uv(), &handle_->uv);
  uv_signal_start(
      &handle_->uv,
      [](uv_signal_t* signal, int) { static_cast<Handle*>(signal->data)->callback(); },
      signal_number);
  uv_unref(reinterpret_cast<uv_handle_t*>(&handle_->uv));  // waiting for a signal is not work
}
SignalWatcher::~SignalWatcher() {
  close_block(handle_);
}

}  // namespace mirrord::net
