// applets/bounded_output.cpp — the queue, and the thread that empties it.
#include "applets/bounded_output.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "net/fd.h"

namespace mirrord {

struct BoundedOutput::State {
  explicit State(int output, Fd event) : descriptor(output), failed(std::move(event)) {}

  const int descriptor;
  const Fd failed;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> queue;
  std::size_t queued_bytes = 0;  // of the queue and of the record under way
  std::size_t lost_records = 0;
  std::size_t lost_bytes = 0;
  bool is_busy = false;
  bool is_over = false;
  int error = 0;

  void add(std::string record) {
    queued_bytes += record.size();
    queue.push_back(std::move(record));
  }

  // Room again: says what is missing, in the place where it is missing.
  void tell_losses() {
    if (lost_records == 0) {
      return;
    }
    add("## " + std::to_string(lost_records) + " records of " + std::to_string(lost_bytes) +
        " bytes were lost: the output is read too slowly\n");
    lost_records = lost_bytes = 0;
  }

  [[nodiscard]] int write_all(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t count = ::write(descriptor, text.data(), text.size());
      if (count < 0 && errno != EINTR) {
        return errno;
      }
      text.remove_prefix(count > 0 ? static_cast<std::size_t>(count) : 0);
    }
    return 0;
  }

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return is_over || !queue.empty(); });
      if (is_over) {
        return;
      }
      const std::string record = std::move(queue.front());
      queue.pop_front();
      is_busy = true;
      lock.unlock();
      const int failure = write_all(record);
      lock.lock();
      is_busy = false;
      queued_bytes -= record.size();
      if (failure != 0) {
        error = failure;
        queue.clear();
        const std::uint64_t one = 1;
        [[maybe_unused]] const ssize_t told = ::write(failed.get(), &one, sizeof one);
      } else if (queue.empty()) {
        tell_losses();
      }
      changed.notify_all();
      if (failure != 0) {
        return;
      }
    }
  }
};

BoundedOutput::BoundedOutput(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<BoundedOutput> BoundedOutput::start(int descriptor) {
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) {
    return fail_system("make an event descriptor", errno);
  }
  auto state = std::make_shared<State>(descriptor, std::move(event));
  try {
    std::thread([state] { state->work(); }).detach();
  } catch (const std::system_error& error) {
    return fail_system("start a thread", error.code().value());
  }
  return BoundedOutput(std::move(state));
}

BoundedOutput::~BoundedOutput() {
  if (state_) {
    const std::scoped_lock lock(state_->mutex);
    state_->is_over = true;
    state_->changed.notify_all();
  }
}

void BoundedOutput::write(std::string record) {
  const std::scoped_lock lock(state_->mutex);
  if (state_->error != 0) {
    return;
  }
  // An empty queue takes any record: a single one is never too large for good.
  const bool has_room =
      state_->queued_bytes == 0 || state_->queued_bytes + record.size() <= kCapacity;
  if (!has_room || state_->lost_records > 0) {
    ++state_->lost_records;
    state_->lost_bytes += record.size();
    return;
  }
  state_->add(std::move(record));
  state_->changed.notify_all();
}

int BoundedOutput::failed_descriptor() const {
  return state_->failed.get();
}

int BoundedOutput::failure() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->error;
}

void BoundedOutput::finish(std::chrono::milliseconds limit) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, limit, [this] {
    return state_->error != 0 || (state_->queue.empty() && !state_->is_busy);
  });
}

}  // namespace mirrord
