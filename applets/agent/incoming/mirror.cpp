// applets/agent/incoming/mirror.cpp — the bounded buffer in front of a mirroring client.
#include "applets/agent/incoming/mirror.h"

#include <chrono>
#include <string>
#include <utility>

#include "net/stream.h"

namespace mirrord::agent {
namespace {

// Warnings of this much time are one.
constexpr std::chrono::milliseconds kWarningPause{1000};
// What a message takes besides its payload.
constexpr std::size_t kOverhead = 128;

}  // namespace

MirrorCopy::~MirrorCopy() {
  if (mirror_ != nullptr)
    mirror_->close(*this);
}

void MirrorCopy::data(std::span<const std::byte> bytes) {
  if (mirror_ != nullptr)
    send(proto::DaemonTcp::make<"Data">(id_, proto::Bytes(bytes)), bytes.size());
}

void MirrorCopy::send(proto::DaemonTcp&& message, std::size_t size) {
  if (mirror_ != nullptr)
    mirror_->send(*this, std::move(message), size);
}

Mirror::Mirror(ClientLink& link) : link_(link), warning_(link.loop()) {}

Mirror::~Mirror() {
  end_all();
}

std::unique_ptr<MirrorCopy> Mirror::open() {
  auto copy = std::make_unique<MirrorCopy>(this, next_id_++);
  copies_.emplace(copy->id(), copy.get());
  return copy;
}

void Mirror::unsubscribe(proto::ConnectionId id) {
  if (const auto found = copies_.find(id); found != copies_.end()) {
    found->second->mirror_ = nullptr;
    copies_.erase(found);
  }
}

void Mirror::end_all() {
  for (const auto& [id, copy] : copies_)
    copy->mirror_ = nullptr;
  copies_.clear();
  waiting_.clear();
  waiting_bytes_ = 0;
}

void Mirror::send(MirrorCopy& copy, proto::DaemonTcp&& message, std::size_t size) {
  if (waiting_.empty() && !link_.is_congested())
    return pass_on(std::move(message));
  if (waiting_bytes_ + size + kOverhead > kCap)
    return lose(copy);
  waiting_bytes_ += size + kOverhead;
  waiting_.push_back({std::move(message), size});
}

// Always possible: a word about each connection that has been announced does not cost much.
void Mirror::close(MirrorCopy& copy) {
  auto message = proto::DaemonTcp::make<"Close">(copy.id());
  unsubscribe(copy.id());
  if (waiting_.empty())
    return pass_on(std::move(message));
  waiting_bytes_ += kOverhead;
  waiting_.push_back({std::move(message), 0});
}

void Mirror::lose(MirrorCopy& copy) {
  close(copy);
  if (lost_++ == 0)
    warning_.start(kWarningPause, [this] { warn(); });
}

void Mirror::warn() {
  link_.log_warning("the local program does not keep up with the mirrored traffic: " +
                    std::to_string(std::exchange(lost_, 0)) +
                    " mirrored connections or requests were cut short");
}

// More than the client's mark in one go: only then is this called again.
void Mirror::on_drained() {
  std::size_t passed = 0;
  while (!waiting_.empty() && passed <= net::Stream::kHighMark) {
    Waiting first = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= first.size + kOverhead;
    passed += first.size;
    pass_on(std::move(first.message));
  }
}

void Mirror::pass_on(proto::DaemonTcp&& message) {
  link_.send(proto::DaemonMessage::make<"Tcp">(std::move(message)));
}

}  // namespace mirrord::agent
