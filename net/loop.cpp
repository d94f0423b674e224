// net/loop.cpp — libuv behind the loop, timer and signal types; descriptors are watched with an
// epoll set of our own, whose one other member is libuv's.
//
// uv_poll costs five system calls for a new descriptor (it tries it out, makes it non-blocking,
// forgets what it may have known of it, and adds it through io_uring) where one is needed, and a
// relay makes a watcher for every connection.
#include "net/loop.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
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
  int poller = -1;
  std::size_t watched = 0;  // descriptors in the set, without libuv's own
  bool is_stopping = false;
  bool is_dispatching = false;
  std::vector<FdWatcher::Handle*> gone;  // destroyed while events for them may be in hand
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
  // Waits for events and hands them out; whether libuv has some too.
  bool dispatch(int timeout_ms);
  bool is_alive() {
    auto* housekeeping = reinterpret_cast<uv_handle_t*>(&wake);
    uv_unref(housekeeping);
    const bool alive = watched > 0 || uv_loop_alive(&loop) != 0;
    uv_ref(housekeeping);
    return alive;
  }
  void free_gone();
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

struct FdWatcher::Handle {
  Loop::Impl* loop = nullptr;
  int fd = -1;
  ReadyCallback callback;
  int events = 0;
  bool owner_gone = false;

  void ready(std::uint32_t reported) {
    int what = kNone;
    if ((reported & EPOLLERR) != 0) {
      what = kReadable | kWritable;
    } else if ((reported & (EPOLLIN | EPOLLOUT)) == 0) {
      what = events;  // a hang-up alone
    } else {
      what = ((reported & EPOLLIN) != 0 ? kReadable : 0) |
             ((reported & EPOLLOUT) != 0 ? kWritable : 0);
      what &= events;  // what an earlier callback of this round has switched off
    }
    if (what == kNone || events == kNone) {
      return;
    }
    ReadyCallback running = std::move(callback);
    running(what);
    if (!owner_gone) {
      callback = std::move(running);
    }
  }
};

Loop::Loop() : impl_(std::make_unique<Impl>()), loop_(&impl_->loop) {
  impl_->poller = ::epoll_create1(EPOLL_CLOEXEC);
  if (impl_->poller < 0 || uv_loop_init(loop_) != 0) {
    std::abort();  // no memory or descriptors for epoll: nothing can work
  }
  // Keeps libuv from thinking that it has nothing to do: what is left is counted in is_alive.
  uv_async_init(loop_, &impl_->wake,
                [](uv_async_t* handle) { static_cast<Impl*>(handle->data)->run_posted(); });
  impl_->wake.data = impl_.get();
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // stands for libuv
  if (::epoll_ctl(impl_->poller, EPOLL_CTL_ADD, uv_backend_fd(loop_), &event) != 0) {
    std::abort();
  }
}

Loop::~Loop() {
  impl_->deferred.clear();
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->wake), nullptr);
  uv_run(loop_, UV_RUN_DEFAULT);  // lets close callbacks free their blocks
  uv_loop_close(loop_);
  impl_->free_gone();
  ::close(impl_->poller);
}

void Loop::run() {
  run_until([] { return false; });
}

bool Loop::run_until(const std::function<bool()>& is_done) {
  bool has_reached = false;
  while (!impl_->is_stopping) {
    impl_->run_deferred();
    has_reached = is_done();
    if (has_reached || impl_->is_stopping || !impl_->is_alive()) {
      break;
    }
    // 0: timers are due, or libuv has something to close or to add to its own set.
    const int timeout = uv_backend_timeout(loop_);
    const bool is_uv_ready = impl_->dispatch(timeout);
    uv_update_time(loop_);
    if (!impl_->is_stopping && (is_uv_ready || uv_backend_timeout(loop_) == 0)) {
      uv_run(loop_, UV_RUN_NOWAIT);
    }
  }
  impl_->is_stopping = false;
  return has_reached || is_done();
}

void Loop::stop() {
  impl_->is_stopping = true;
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

bool Loop::Impl::dispatch(int timeout_ms) {
  std::array<epoll_event, 256> events;
  const int count =
      ::epoll_wait(poller, events.data(), static_cast<int>(events.size()), timeout_ms);
  uv_update_time(&loop);  // what the callbacks see is the time after the wait
  bool is_uv_ready = false;
  is_dispatching = true;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    auto* handle = static_cast<FdWatcher::Handle*>(event.data.ptr);
    if (handle == nullptr) {
      is_uv_ready = true;
    } else if (!handle->owner_gone) {
      handle->ready(event.events);
    }
  }
  is_dispatching = false;
  free_gone();
  return is_uv_ready;
}

void Loop::Impl::free_gone() {
  for (const FdWatcher::Handle* handle : std::exchange(gone, {})) {
    delete handle;
  }
}

FdWatcher::FdWatcher(Loop& loop, int fd, ReadyCallback on_ready) : handle_(new Handle) {
  handle_->loop = loop.impl_.get();
  handle_->fd = fd;
  handle_->callback = std::move(on_ready);
  int on = 1;
  ::ioctl(fd, FIONBIO, &on);  // refused by what never blocks anyway, such as a pidfd
}
FdWatcher::~FdWatcher() {
  watch(kNone);
  handle_->owner_gone = true;
  if (handle_->loop->is_dispatching) {
    handle_->loop->gone.push_back(handle_);
  } else {
    delete handle_;
  }
}
void FdWatcher::watch(int events) {
  if (events == handle_->events) {
    return;
  }
  // Without any interest it leaves the set: errors and hang-ups are reported to all members.
  const bool was_watched = handle_->events != kNone;
  const int operation = events == kNone ? EPOLL_CTL_DEL
                        : was_watched   ? EPOLL_CTL_MOD
                                        : EPOLL_CTL_ADD;
  epoll_event event{};
  event.events = ((events & kReadable) != 0 ? std::uint32_t{EPOLLIN} : 0U) |
                 ((events & kWritable) != 0 ? std::uint32_t{EPOLLOUT} : 0U);
  event.data.ptr = handle_;
  handle_->events = events;
  handle_->loop->watched += operation == EPOLL_CTL_ADD ? 1U : 0U;
  handle_->loop->watched -= operation == EPOLL_CTL_DEL ? 1U : 0U;
  if (::epoll_ctl(handle_->loop->poller, operation, handle_->fd, &event) != 0 && events != kNone) {
    std::abort();  // a descriptor that epoll refuses: a programming mistake
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
