// applets/agent/files.cpp — the strand of one client's file requests.
#include "applets/agent/files.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "proto/daemon_message.h"

namespace mirrord::agent {
namespace {

// Beyond these the client's messages wait in its socket.
constexpr std::size_t kMaxQueued = 1024;
constexpr std::size_t kMaxQueuedBytes = 8 << 20;
// One trip to the pool carries at most so many requests and expects at most so many reply bytes.
constexpr std::size_t kMaxBatch = 64;
constexpr std::size_t kMaxBatchBytes = 2 << 20;

std::size_t payload_size(const proto::FileRequest& request) {
  if (const auto* write = request.get_if<"Write">())
    return write->write_bytes.size();
  if (const auto* write = request.get_if<"WriteLimited">())
    return write->write_bytes.size();
  return 0;
}

std::size_t reply_size(const proto::FileRequest& request) {
  std::uint64_t size = 0;
  if (const auto* read = request.get_if<"Read">())
    size = read->buffer_size;
  else if (const auto* limited = request.get_if<"ReadLimited">())
    size = limited->buffer_size;
  return static_cast<std::size_t>(std::min(size, FileCalls::kMaxRead));
}

}  // namespace

struct Files::Batch {
  std::vector<proto::FileRequest> requests;
  std::vector<proto::FileResponse> responses;
};

Files::Files(ClientLink& link) : link_(link), calls_(std::make_shared<FileCalls>(link.target())) {}

Files::~Files() {
  *alive_ = false;
}

void Files::handle(proto::FileRequest&& request) {
  const bool is_next = queue_.empty() && !is_busy_ && !link_.is_congested();
  if (is_next && answer_from_memory(request))
    return;
  queued_bytes_ += payload_size(request);
  queue_.push_back(std::move(request));
  if (is_next) {
    submit();
    update_hold();
  } else {
    run();
  }
}

// False: it would have to wait, and nothing has happened.
bool Files::answer_from_memory(proto::FileRequest& request) {
  proto::FileResponse response;
  const auto outcome = calls_->execute(request, Attempt::kCached, response);
  if (outcome == FileCalls::Outcome::kReply)
    reply(std::move(response), calls_->take_pipe());
  return outcome != FileCalls::Outcome::kWouldBlock;
}

void Files::on_drained() {
  run();
}

void Files::reply(proto::FileResponse&& response, net::LeasedPipe payload) {
  auto message = proto::DaemonMessage::make<"File">(std::move(response));
  if (!payload)
    return link_.send(std::move(message));
  const auto& file = message.get<"File">();
  const auto* limited = file.get_if<"ReadLimited">();
  const proto::Payload& place = (limited != nullptr ? *limited : file.get<"Read">())->bytes;
  link_.send_piped(std::move(message), place, std::move(payload));
}

void Files::run() {
  while (!queue_.empty() && !is_busy_ && !link_.is_congested()) {
    proto::FileRequest& request = queue_.front();
    const std::size_t size = payload_size(request);
    if (!answer_from_memory(request)) {
      submit();
      break;
    }
    queued_bytes_ -= size;
    queue_.pop_front();
  }
  update_hold();
  if (on_idle_ && queue_.empty() && !is_busy_)
    std::exchange(on_idle_, {})();
}

void Files::when_idle(net::Callback callback) {
  on_idle_ = std::move(callback);
  run();
}

void Files::submit() {
  is_busy_ = true;
  auto batch = std::make_shared<Batch>();
  std::size_t bytes = 0;
  while (!queue_.empty() && batch->requests.size() < kMaxBatch && bytes < kMaxBatchBytes) {
    bytes += reply_size(queue_.front());
    queued_bytes_ -= payload_size(queue_.front());
    batch->requests.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  link_.loop().submit(
      [batch, calls = calls_] {
        for (proto::FileRequest& request : batch->requests) {
          proto::FileResponse response;
          if (calls->execute(request, Attempt::kBlocking, response) == FileCalls::Outcome::kReply)
            batch->responses.push_back(std::move(response));
        }
      },
      [this, batch, alive = alive_] {
        if (*alive)
          finish(*batch);
      });
}

void Files::finish(Batch& batch) {
  is_busy_ = false;
  for (proto::FileResponse& response : batch.responses)
    reply(std::move(response));
  run();
}

void Files::update_hold() {
  const bool is_full = queue_.size() > kMaxQueued || queued_bytes_ > kMaxQueuedBytes;
  if (is_full == holds_input_)
    return;
  holds_input_ = is_full;
  if (is_full)
    link_.hold_input();
  else
    link_.release_input();
}

}  // namespace mirrord::agent
