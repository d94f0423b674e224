// applets/intproxy/kubernetes_connector.cpp — the worker thread and the ways between it and the session.
#include "applets/intproxy/kubernetes_connector.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>
#include <utility>

namespace mirrord::intproxy {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds kSeldom{3'600'000};

}  // namespace

// Used on the session's thread only.
struct KubernetesConnector::Shared {
  bool is_alive = true;
  Start start;
  Events events;
};

KubernetesConnector::KubernetesConnector(net::Loop& loop, k8s::AgentSessionRequest request)
    : loop_(loop),
      shared_(std::make_shared<Shared>()),
      worker_loop_(std::make_unique<net::Loop>()) {
  // Signals are for the session's thread.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  worker_ =
      std::thread([this, request = std::move(request)]() mutable { work(std::move(request)); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

KubernetesConnector::~KubernetesConnector() {
  shared_->is_alive = false;
  end_worker();
  worker_.join();
}

// Wakes the worker, and breaks nothing off that it waits for: an object that is just being created
// must be known to be deleted.
void KubernetesConnector::end_worker() {
  is_ending_ = true;
  worker_loop_->post([] {});
}

// What the session of the cluster says, carried over to the session's own thread.
k8s::AgentSession::Handlers KubernetesConnector::handlers() {
  const auto carry = [this](auto call) {
    loop_.post([shared = shared_, call = std::move(call)]() mutable {
      if (shared->is_alive) {
        call(*shared);
      }
    });
  };
  k8s::AgentSession::Handlers handlers;
  handlers.progress = [carry](k8s::StartStep step, std::string_view text) {
    carry([step, text = std::string(text)](Shared& shared) {
      if (shared.start.progress) {
        shared.start.progress(step, text);
      }
    });
  };
  handlers.timed = [carry](std::string_view part, std::chrono::microseconds time) {
    carry([part = std::string(part), time](Shared& shared) {
      if (shared.start.timed) {
        shared.start.timed(part, time);
      }
    });
  };
  handlers.is_interrupted = [this] { return is_ending_.load(); };
  handlers.notice = [carry](std::string line) {
    carry([line = std::move(line)](Shared& shared) {
      if (shared.events.notice) {
        shared.events.notice(line);
      }
    });
  };
  handlers.leave = [carry](std::string why) {
    carry([why = std::move(why)](Shared& shared) {
      if (shared.events.leave) {
        shared.events.leave(why);
      }
    });
  };
  return handlers;
}

// The worker: one job after the other, and between them the loop for streams and watches.
void KubernetesConnector::work(k8s::AgentSessionRequest request) {
  net::Loop& loop = *worker_loop_;
  net::Timer alive(loop);  // a loop without anything to wait for would return
  alive.start_repeating(kSeldom, [] {});
  k8s::AgentSession session(loop, std::move(request), handlers());
  while (!is_ending_) {
    loop.run_until([this] { return job_ || is_ending_; });
    if (!job_) {
      continue;
    }
    Outcome outcome = std::exchange(job_, {})(session);
    loop_.post([shared = shared_, outcome = std::move(outcome),
                done = std::exchange(job_done_, {})]() mutable {
      if (!shared->is_alive) {
        return;
      }
      if (outcome) {
        done(ReopenedStream{std::move(outcome->socket), std::move(outcome->peer_name),
                            std::move(outcome->notice)});
      } else {
        done(std::unexpected(std::move(outcome.error())));
      }
    });
  }
  session.end();
}

void KubernetesConnector::submit(Job job, Done done) {
  worker_loop_->post([this, job = std::move(job), done = std::move(done)]() mutable {
    job_ = std::move(job);
    job_done_ = std::move(done);
  });
}

Result<ReopenedStream> KubernetesConnector::open(Start start, pid_t root) {
  shared_->start = std::move(start);
  std::optional<Result<ReopenedStream>> outcome;
  const Fd root_process(root == 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, root, 0)));
  const bool is_gone = root != 0 && !root_process.is_open();
  is_ending_ = is_gone;
  std::unique_ptr<net::FdWatcher> watcher;
  if (root_process.is_open()) {
    watcher = std::make_unique<net::FdWatcher>(loop_, root_process.get(), [&](int) {
      end_worker();
      watcher->watch(net::FdWatcher::kNone);
      outcome = fail(ErrorCode::kDisconnected, "start the agent: its program has ended");
      loop_.stop();
    });
    watcher->watch(net::FdWatcher::kReadable);
  }
  net::Timer alive(loop_);  // a loop without anything to wait for would return
  alive.start_repeating(kSeldom, [] {});
  submit([](k8s::AgentSession& session) { return session.open(); },
         [&](Result<ReopenedStream> stream) {
           outcome = std::move(stream);
           loop_.stop();
         });
  while (!outcome) {
    loop_.run();
  }
  shared_->start = {};
  return std::move(*outcome);
}

void KubernetesConnector::reopen(milliseconds limit, Done done) {
  submit([limit](k8s::AgentSession& session) { return session.reopen(limit); }, std::move(done));
}

void KubernetesConnector::set_events(Events events) {
  shared_->events = std::move(events);
}

}  // namespace mirrord::intproxy
