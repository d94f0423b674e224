// applets/intproxy/agent_resume.cpp — a broken connection to the agent, and how the session goes on over
// another stream: files that are only read are opened again, requests that may be repeated are sent
// again, those that came meanwhile follow.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "applets/intproxy/agent_link.h"

namespace mirrord::intproxy {

void AgentLink::break_off(Error why) {
  if (can_resume_) {
    interrupt(std::move(why));
  } else {
    lose(std::move(why));
  }
}

void AgentLink::interrupt(Error why) {
  if (is_lost_) {
    return;
  }
  const bool was_ready = std::exchange(is_ready_, false);
  is_settled_ = false;
  restoring_.reset();
  timer_.stop();
  linger_.stop();
  linger_is_running_ = false;
  stream_.reset();
  decoder_ = proto::StreamDecoder<proto::DaemonMessage>();
  decoder_.limit_payload_reads(kLongestRead);
  ++connection_;
  pending_pings_.clear();
  clear_queues();
  std::vector<PendingFile> failed;
  if (was_ready) {
    failed = hold_repeatable();
  } else {
    pending_files_.clear();  // they only served to open files again
  }
  descriptors_.restart();
  auto connects = std::exchange(pending_connects_, {});
  auto tcp = std::exchange(pending_legacy_[0], {});
  auto udp = std::exchange(pending_legacy_[1], {});
  auto environment = std::exchange(pending_environment_, {});
  const std::shared_ptr<bool> alive = alive_;
  if (handlers_.interrupted) {
    handlers_.interrupted(why);
  }
  const auto fail_all = [&](auto& replies) {
    for (auto& reply : replies) {
      if (*alive) {
        reply(std::unexpected(interrupted_error()));
      }
    }
  };
  fail_all(failed);
  fail_all(tcp);
  fail_all(udp);
  fail_all(environment);
  for (auto& [uid, reply] : connects) {
    if (*alive) {
      reply(std::unexpected(interrupted_error()));
    }
  }
}

// Sorts what was sent and not answered: what is asked again comes first of all that waits; the rest is
// returned.
std::vector<AgentLink::PendingFile> AgentLink::hold_repeatable() {
  std::vector<PendingFile> failed;
  std::unordered_set<proto::u64> named;  // descriptors that kept requests name
  for (PendingFile& pending : std::exchange(pending_files_, {})) {
    if (pending.is_given_up) {
      continue;
    }
    if (keeps(pending, named)) {
      held_files_.push_back(std::move(pending));
    } else if (pending.reply) {
      failed.push_back(std::move(pending));
    }
  }
  return failed;
}

bool AgentLink::keeps(PendingFile& pending, std::unordered_set<proto::u64>& named) {
  const proto::u64* fd = descriptor_in(pending.request);
  if (!pending.reply) {  // a Close
    if (held_numbers_.contains(*fd) || named.contains(*fd)) {
      return true;
    }
    descriptors_.closed(*fd);
    return false;
  }
  if (!is_repeatable(pending.request) || (fd != nullptr && !is_restorable(*fd))) {
    return false;
  }
  if (fd != nullptr) {
    named.insert(*fd);
  }
  if (pending.makes) {
    held_numbers_.insert(*pending.makes);
  }
  if (auto* read = pending.request.get_if<"ReadLimited">()) {
    const std::size_t got = std::exchange(pending.handed_on, 0);
    read->start_from += got;
    read->buffer_size -= std::min<proto::u64>(got, read->buffer_size);
  }
  return true;
}

bool AgentLink::is_restorable(proto::u64 number) const {
  return descriptors_.has_record(number) || held_numbers_.contains(number);
}

// A request that came while there is no agent to ask.
void AgentLink::hold(PendingFile&& pending) {
  const proto::u64* fd = descriptor_in(pending.request);
  if (fd != nullptr && !is_restorable(*fd)) {
    loop_.defer([pending = std::move(pending)]() mutable {
      pending(std::unexpected(interrupted_error()));
    });
    return;
  }
  if (pending.makes) {
    held_numbers_.insert(*pending.makes);
  }
  held_files_.push_back(std::move(pending));
}

// ---- the new stream

void AgentLink::resume(Fd socket, std::string peer_name,
                       std::chrono::milliseconds handshake_timeout) {
  if (is_lost_ || stream_) {
    return;
  }
  peer_name_ = std::move(peer_name);
  stream_ = std::make_unique<net::Stream>(loop_, std::move(socket), peer_name_);
  start_stream(handshake_timeout);
}

void AgentLink::begin_restore() {
  restoring_ = Restoring{.remaining = 1, .result = {}};
  std::vector<proto::u64> numbers;
  for (const auto& [number, record] : descriptors_.records()) {
    numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  for (const proto::u64 number : numbers) {
    reopen(number);
  }
  one_restored();
}

// Numbers in `request` are the agent's.
void AgentLink::send_restoring(proto::FileRequest request, FileCallback reply) {
  if (makes_descriptor(request)) {
    descriptors_.count_open();
  }
  auto message = proto::ClientMessage::make<"FileRequest">();
  message.get<"FileRequest">() = std::move(request);
  enqueue(file_sender_->queue_, std::move(message));
  if (reply) {
    PendingFile pending;
    pending.reply = std::move(reply);
    pending.is_given_up = true;  // nothing is written down of it
    pending_files_.push_back(std::move(pending));
  }
}

void AgentLink::reopen(proto::u64 number) {
  ++restoring_->remaining;
  const RemoteDescriptors::Record& record = descriptors_.records().at(number);
  proto::OpenOptionsInternal options{};
  options.read = true;
  const bool is_odd =
      record.metadata && (S_ISFIFO(record.metadata->mode) || S_ISSOCK(record.metadata->mode));
  if (is_odd) {  // what it gave before does not come again
    restoring_->result.gone.push_back(number);
    descriptors_.closed(number);
    one_restored();
    return;
  }
  send_restoring(proto::FileRequest::make<"Open">(proto::Path(record.path), options),
                 [this, number](FileOutcome outcome) {
                   auto* reply = outcome ? (*outcome)->get_if<"Open">() : nullptr;
                   if (reply != nullptr && *reply) {
                     on_reopened(number, (*reply)->fd);
                     return;
                   }
                   restoring_->result.gone.push_back(number);
                   descriptors_.closed(number);
                   one_restored();
                 });
}

void AgentLink::on_reopened(proto::u64 number, proto::u64 there) {
  if (!descriptors_.records().at(number).metadata) {
    descriptors_.reopened(number, there);
    one_restored();
    return;
  }
  send_restoring(proto::FileRequest::make<"Xstat">(std::nullopt, there, true),
                 [this, number, there](FileOutcome outcome) {
                   auto* reply = outcome ? (*outcome)->get_if<"Xstat">() : nullptr;
                   check_reopened(
                       number, there,
                       reply != nullptr && *reply ? (*reply)->metadata : proto::MetadataInternal{});
                 });
}

void AgentLink::check_reopened(proto::u64 number, proto::u64 there,
                               const proto::MetadataInternal& now) {
  const RemoteDescriptors::Record& record = descriptors_.records().at(number);
  if (!is_same_content(*record.metadata, now)) {
    send_restoring(proto::FileRequest::make<"Close">(there), nullptr);
    restoring_->result.changed.push_back(number);
    descriptors_.closed(number);
    one_restored();
    return;
  }
  descriptors_.reopened(number, there);
  if (record.position == 0 || !S_ISREG(now.mode)) {
    one_restored();
    return;
  }
  auto from = proto::SeekFromInternal::make<"Start">(record.position);
  send_restoring(proto::FileRequest::make<"Seek">(there, std::move(from)),
                 [this](const FileOutcome&) { one_restored(); });
}

void AgentLink::one_restored() {
  if (--restoring_->remaining == 0) {
    finish_restore();
  }
}

void AgentLink::finish_restore() {
  Restored result = std::move(restoring_->result);
  result.files = descriptors_.records().size();
  restoring_.reset();
  is_ready_ = true;
  held_numbers_.clear();
  if (!speaks_flight_) {
    descriptors_.settle(false);  // new numbers come with the answers
  }
  for (PendingFile& pending : std::exchange(held_files_, {})) {
    transmit(std::move(pending));
  }
  if (speaks_flight_) {
    descriptors_.settle(true);
  }
  for (const auto& lookup : pending_lookups_) {
    send_lookup(lookup.request);
  }
  for (const auto& lookup : pending_reverse_) {
    send_reverse(lookup.request);
  }
  if (input_holds_ > 0) {
    stream_->pause_reading();
  }
  if (handlers_.restored) {
    handlers_.restored(result);
  }
}

}  // namespace mirrord::intproxy
