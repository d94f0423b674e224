// applets/intproxy/processes.cpp — who belongs to the session: hello, fork, exec and the end of a
// process, and what each of them means for handles.
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "applets/intproxy/session.h"

namespace mirrord::intproxy {
namespace {

// Images that were announced by kExec and never said hello (a program without the hook): their
// handles are kept for this many of them, then the oldest is given up.
constexpr std::size_t kMaxReservations = 256;

Fd open_pidfd(pid_t pid) {
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace

Process& Session::add_process(std::uint64_t key) {
  auto process = std::make_unique<Process>();
  process->key = key;
  Process& added = *process;
  processes_[key] = std::move(process);
  return added;
}

void Session::watch_process(Process& process, pid_t pid, bool is_visible) {
  process.pid = pid;
  process.watcher.reset();
  if (is_visible) {
    process.pidfd = open_pidfd(pid);
  }
  if (!process.pidfd.is_open()) {
    return;  // gone, refused, or out of sight: the end of its connections is then its end
  }
  process.watcher = std::make_unique<net::FdWatcher>(
      loop_, process.pidfd.get(), [this, key = process.key](int) { remove_process(key); });
  process.watcher->watch(net::FdWatcher::kReadable);
}

bool Session::say_hello(LocalConnection& connection, const Request& request) {
  const auto hello = request.fixed<local::Hello>();
  if (!hello || hello->version != local::kVersion || hello->process_key == 0) {
    return false;
  }
  Process* process = connection.process();
  if (process != nullptr && process->key != hello->process_key) {
    return false;
  }
  if (process == nullptr) {
    const auto found = processes_.find(hello->process_key);
    process = found != processes_.end() ? found->second.get() : &add_process(hello->process_key);
    connection.set_process(process);
    ++process->connections;
  }
  had_connection_ = true;
  load_watch_.reset();
  process->is_announced = false;
  if (process->pid == 0) {
    const pid_t pid = connection.peer() != 0 ? connection.peer() : hello->pid;
    process->name = std::string(request.text<local::Hello>().substr(0, 64));
    if (process->parent_key == 0) {
      process->parent_key = hello->parent_key;
    }
    watch_process(*process, pid, connection.peer() != 0);
    const auto previous = processes_.find(process->parent_key);
    if (previous != processes_.end() && hello->parent_key == process->parent_key) {
      take_over(*process, *previous->second);
    }
    log_.debug(log::Component::kSession, [&] {
      return "process " + std::to_string(pid) + " (" + process->name + ") joined";
    });
  }
  return true;
}

// `next` is the image that `previous` announced by kExec, perhaps in a child of its own
// (posix_spawn). In the same process the previous image is gone.
void Session::take_over(Process& next, Process& previous) {
  if (next.handles.empty()) {
    for (const std::unique_ptr<Part>& part : parts_) {
      part->process_forked(previous, next);  // kExec was not seen: take what there is now
    }
  }
  if (next.pid == previous.pid && next.key != previous.key) {
    remove_process(previous.key);
  }
}

bool Session::fork_process(LocalConnection& connection, Request& request) {
  const auto fork = request.fixed<local::Fork>();
  Process& parent = *connection.process();
  if (!fork || fork->child_key == 0 || request.descriptors.size() != 1 ||
      processes_.contains(fork->child_key)) {
    return false;
  }
  Process& child = add_process(fork->child_key);
  child.name = parent.name;
  for (const std::unique_ptr<Part>& part : parts_) {
    part->process_forked(parent, child);
  }
  const std::shared_ptr<LocalConnection> adopted =
      server_.adopt(std::move(request.descriptors.front()), 0);
  adopted->set_process(&child);
  ++child.connections;
  return true;
}

bool Session::exec_process(Process& process, const Request& request) {
  const auto exec = request.fixed<local::Exec>();
  if (!exec || exec->next_key == 0 || processes_.contains(exec->next_key)) {
    return false;
  }
  Process& next = add_process(exec->next_key);
  next.is_announced = true;
  next.parent_key = process.key;
  for (const std::unique_ptr<Part>& part : parts_) {
    part->process_forked(process, next);
  }
  reservations_.push_back(next.key);
  if (reservations_.size() > kMaxReservations) {
    drop_oldest_reservation();
  }
  return true;
}

void Session::drop_oldest_reservation() {
  const std::uint64_t key = reservations_.front();
  reservations_.pop_front();
  const auto found = processes_.find(key);
  if (found != processes_.end() && found->second->is_announced) {
    remove_process(key);
  }
}

void Session::on_closed(LocalConnection& connection) {
  Process* process = connection.process();
  if (process == nullptr) {
    return;
  }
  connection.set_process(nullptr);
  --process->connections;
  if (process->connections == 0) {
    idle_since_ms_ = loop_.now_ms();
    if (!process->pidfd.is_open()) {
      remove_process(process->key);
    }
  }
  schedule_check();
}

void Session::remove_process(std::uint64_t key) {
  auto found = processes_.find(key);
  if (found == processes_.end()) {
    return;
  }
  // A child may have been announced with the last breath.
  server_.read_rest_of(*found->second);
  found = processes_.find(key);
  if (found == processes_.end()) {
    return;
  }
  const std::unique_ptr<Process> process = std::move(found->second);
  processes_.erase(found);
  server_.close_connections_of(*process);
  for (const std::unique_ptr<Part>& part : parts_) {
    part->process_ended(*process);
  }
  schedule_check();
}

}  // namespace mirrord::intproxy
