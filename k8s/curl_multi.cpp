// k8s/curl_multi.cpp — sockets and timers of a curl_multi as watchers of the loop.
#include "k8s/curl_multi.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <new>
#include <unordered_map>
#include <utility>

#include "net/fd.h"

namespace mirrord::k8s {
namespace {

struct MultiFree {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};

// The loop watches a duplicate: sockets of the name look-up are closed before we hear of it, and a
// watched descriptor must stay open.
struct Watched {
  Fd duplicate;
  ino_t inode = 0;
  std::unique_ptr<net::FdWatcher> watcher;
};

ino_t inode_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

}  // namespace

struct CurlMulti::Impl : std::enable_shared_from_this<CurlMulti::Impl> {
  Impl(net::Loop& of, std::function<void()> after)
      : loop(of), timer(of), after_round(std::move(after)) {}

  void act(curl_socket_t socket, int events);
  void tell_ends();
  void watch(curl_socket_t socket, int what);
  static int on_socket(CURL*, curl_socket_t socket, int what, void* self, void*);
  static int on_timer(CURLM*, long delay_ms, void* self);

  net::Loop& loop;
  net::Timer timer;
  std::function<void()> after_round;
  std::unordered_map<curl_socket_t, Watched> watched;
  struct Transfer {
    Finished finished;  // empty: it has, and its connection is kept
    Afterwards afterwards{};
  };
  std::unordered_map<CURL*, Transfer> transfers;
  std::unique_ptr<CURLM, MultiFree> multi;
  bool is_closed = false;
};

int CurlMulti::Impl::on_socket(CURL*, curl_socket_t socket, int what, void* self, void*) {
  static_cast<Impl*>(self)->watch(socket, what);
  return 0;
}

void CurlMulti::Impl::watch(curl_socket_t socket, int what) {
  if (what == CURL_POLL_REMOVE) {
    watched.erase(socket);
    return;
  }
  Watched& entry = watched[socket];
  // The number may stand for another socket by now.
  if (const ino_t inode = inode_of(socket); !entry.watcher || entry.inode != inode) {
    entry.watcher.reset();
    entry.duplicate.reset(::fcntl(socket, F_DUPFD_CLOEXEC, 3));
    entry.inode = inode;
    if (!entry.duplicate) {
      watched.erase(socket);  // no descriptors left: the transfer's time limit ends it
      return;
    }
    entry.watcher =
        std::make_unique<net::FdWatcher>(loop, entry.duplicate.get(), [this, socket](int events) {
          act(socket, ((events & net::FdWatcher::kReadable) != 0 ? CURL_CSELECT_IN : 0) |
                          ((events & net::FdWatcher::kWritable) != 0 ? CURL_CSELECT_OUT : 0));
        });
  }
  entry.watcher->watch(((what & CURL_POLL_IN) != 0 ? net::FdWatcher::kReadable : 0) |
                       ((what & CURL_POLL_OUT) != 0 ? net::FdWatcher::kWritable : 0));
}

int CurlMulti::Impl::on_timer(CURLM*, long delay_ms, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  if (delay_ms < 0) {
    impl.timer.stop();
  } else {
    impl.timer.start(std::chrono::milliseconds(delay_ms),
                     [&impl] { impl.act(CURL_SOCKET_TIMEOUT, 0); });
  }
  return 0;
}

void CurlMulti::Impl::act(curl_socket_t socket, int events) {
  const auto self = shared_from_this();
  int running = 0;
  curl_multi_socket_action(multi.get(), socket, events, &running);
  after_round();
  if (!is_closed) {
    tell_ends();
  }
}

void CurlMulti::Impl::tell_ends() {
  int left = 0;
  while (!is_closed) {
    const CURLMsg* message = curl_multi_info_read(multi.get(), &left);
    if (message == nullptr) {
      return;
    }
    CURL* handle = message->easy_handle;
    const CURLcode code = message->data.result;
    const auto found = transfers.find(handle);
    if (message->msg != CURLMSG_DONE || found == transfers.end() || !found->second.finished) {
      continue;
    }
    Finished finished = std::exchange(found->second.finished, nullptr);
    if (found->second.afterwards == Afterwards::kDone) {
      transfers.erase(found);
      curl_multi_remove_handle(multi.get(), handle);
    }
    finished(code);
  }
}

CurlMulti::CurlMulti(net::Loop& loop, std::function<void()> after_round)
    : impl_(std::make_shared<Impl>(loop, std::move(after_round))) {
  impl_->multi.reset(curl_multi_init());
  if (!impl_->multi) {
    throw std::bad_alloc();
  }
  CURLM* multi = impl_->multi.get();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, Impl::on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, impl_.get());
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, Impl::on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, impl_.get());
  curl_multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
}

CurlMulti::~CurlMulti() {
  impl_->is_closed = true;
  impl_->timer.stop();
  CURLM* multi = impl_->multi.get();
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, nullptr);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, nullptr);
  impl_->watched.clear();
  for (auto& [handle, transfer] : impl_->transfers) {
    curl_multi_remove_handle(multi, handle);
  }
  impl_->transfers.clear();
  impl_->multi.reset();
}

void CurlMulti::add(CURL* handle, Finished finished, Afterwards afterwards) {
  impl_->transfers.emplace(handle, Impl::Transfer{std::move(finished), afterwards});
  curl_multi_add_handle(impl_->multi.get(), handle);  // its timer begins the work
}

void CurlMulti::remove(CURL* handle) {
  if (impl_->transfers.erase(handle) > 0) {
    curl_multi_remove_handle(impl_->multi.get(), handle);
  }
}

}  // namespace mirrord::k8s
