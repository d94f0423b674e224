// applets/intproxy/cached_content.cpp — fetches, read-ahead and forgetting.
#include "applets/intproxy/cached_content.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

namespace mirrord::intproxy {
namespace {

// Within this time a read at the end of the file is believed to be at its end still.
constexpr std::uint64_t kEndIsKnownMs = 1000;
// Random access asks for this much around, until it turns out to be sequential.
constexpr std::uint64_t kRandomRequest = 32 * 1024;
constexpr int kJumpsUntilRandom = 2;
constexpr std::uint64_t kForgetStep = 8 << 20;
// One fetch waits for no more than this at once; the hook comes again for the rest.
constexpr std::uint64_t kMaxFetch = 8 << 20;

}  // namespace

CachedContent::CachedContent(net::Loop& loop, AgentLink& agent, std::uint64_t remote_fd, Fd memory,
                             const Limits& limits)
    : loop_(loop),
      agent_(agent),
      remote_fd_(remote_fd),
      memory_(std::move(memory)),
      limits_(limits),
      window_(limits.first_window) {}

void CachedContent::begin(std::span<const std::byte> bytes, std::uint64_t size) {
  size_ = size;
  checked_at_ms_ = loop_.now_ms();
  store(0, bytes);
  if (size_ > bytes.size()) {
    // Makes lseek(SEEK_END) and fstat on the descriptor itself right; no memory is used yet.
    [[maybe_unused]] const int resized = ::ftruncate(memory_.get(), static_cast<off_t>(size_));
  }
}

void CachedContent::use_slot(local::FileSlot* slot) {
  slot_ = slot;
  set_size(*slot_, size_);
  const Span window = ready_around(0);
  set_window(*slot_, window.begin, window.end);
  read_ahead();
}

std::uint64_t CachedContent::ready_end() const {
  return ready_around(0).end;
}

// ---- what is there

bool CachedContent::covers(std::uint64_t begin, std::uint64_t end) const {
  return begin >= end || ready_around(begin).end >= end;
}

// The ready range that holds `offset`, or an empty one there.
CachedContent::Span CachedContent::ready_around(std::uint64_t offset) const {
  auto after = ready_.upper_bound(offset);
  if (after != ready_.begin()) {
    --after;
    if (after->second > offset) {
      return {after->first, after->second};
    }
  }
  return {offset, offset};
}

bool CachedContent::is_asked_for(std::uint64_t offset) const {
  return std::ranges::any_of(
      in_flight_, [&](const Span& span) { return span.begin <= offset && offset < span.end; });
}

// The first bytes of [from, to) that are neither ready nor asked for; empty at `to` if none.
CachedContent::Span CachedContent::first_gap(std::uint64_t from, std::uint64_t to) const {
  std::uint64_t at = from;
  while (at < to) {
    const Span ready = ready_around(at);
    if (ready.end > at) {
      at = ready.end;
      continue;
    }
    const auto asked = std::ranges::find_if(
        in_flight_, [&](const Span& span) { return span.begin <= at && at < span.end; });
    if (asked != in_flight_.end()) {
      at = asked->end;
      continue;
    }
    std::uint64_t end = to;
    const auto next = ready_.upper_bound(at);
    if (next != ready_.end()) {
      end = std::min(end, next->first);
    }
    for (const Span& span : in_flight_) {
      if (span.begin > at) {
        end = std::min(end, span.begin);
      }
    }
    return {at, end};
  }
  return {to, to};
}

void CachedContent::store(std::uint64_t offset, std::span<const std::byte> bytes) {
  std::uint64_t at = offset;
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(memory_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (count < 0) {
      if (errno == EINTR) {
        continue;
      }
      fail_waiting(errno);  // out of memory
      return;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    at += static_cast<std::uint64_t>(count);
  }
  add_ready(offset, at);
}

void CachedContent::add_ready(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) {
    return;
  }
  auto next = ready_.upper_bound(begin);
  if (next != ready_.begin() && std::prev(next)->second >= begin) {
    --next;
    begin = next->first;
    end = std::max(end, next->second);
    next = ready_.erase(next);
  }
  while (next != ready_.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = ready_.erase(next);
  }
  ready_[begin] = end;
}

// ---- requests to the agent

void CachedContent::request(std::uint64_t begin, std::uint64_t end) {
  in_flight_.push_back({{begin, end}, begin});
  agent_.read_in_parts(
      proto::FileRequest::make<"ReadLimited">(remote_fd_, end - begin, begin),
      [self = weak_from_this(), asked = Span{begin, end},
       epoch = epoch_](std::span<const std::byte> part) {
        if (const auto alive = self.lock()) {
          alive->on_part(asked, epoch, part);
        }
      },
      [self = weak_from_this(), asked = Span{begin, end},
       epoch = epoch_](proto::Res<proto::ReadFileResponse> reply) {
        if (const auto alive = self.lock()) {
          alive->on_bytes(asked, epoch, std::move(reply));
        }
      });
}

// Read-ahead that is not urgent waits until a whole request is worth it.
void CachedContent::request_gaps(std::uint64_t begin, std::uint64_t end, bool is_urgent) {
  const std::uint64_t size = std::clamp(window_ / 4, std::uint64_t{64 * 1024}, limits_.max_request);
  for (Span gap = first_gap(begin, end); gap.begin < gap.end; gap = first_gap(gap.end, end)) {
    while (gap.begin < gap.end) {
      const std::uint64_t stop = std::min(gap.end, gap.begin + size);
      if (!is_urgent && stop == end && end < size_ && stop - gap.begin < size / 2) {
        return;
      }
      request(gap.begin, stop);
      gap.begin = stop;
    }
  }
}

std::vector<CachedContent::Asked>::iterator CachedContent::find_asked(Span asked,
                                                                      std::uint64_t epoch) {
  return epoch != epoch_ ? in_flight_.end()
                         : std::ranges::find_if(in_flight_, [&](const Asked& span) {
                             return span.begin == asked.begin && span.end == asked.end;
                           });
}

void CachedContent::publish_window() {
  if (slot_ != nullptr) {
    const Span window = ready_around(std::min(reader(), size_ - std::min<std::uint64_t>(size_, 1)));
    if (window.end > window.begin) {
      set_window(*slot_, window.begin, window.end);
    }
  }
}

// The first bytes of an answer, while the others are still on their way.
void CachedContent::on_part(Span asked, std::uint64_t epoch, std::span<const std::byte> bytes) {
  const auto found = find_asked(asked, epoch);
  if (found == in_flight_.end()) {
    return;
  }
  const std::uint64_t at = found->arrived;
  bytes = bytes.first(std::min<std::size_t>(bytes.size(), asked.end - at));
  found->arrived += bytes.size();
  store(at, bytes);
  publish_window();
  serve_waiting();
}

void CachedContent::on_bytes(Span asked, std::uint64_t epoch,
                             proto::Res<proto::ReadFileResponse> reply) {
  const auto found = find_asked(asked, epoch);
  if (found == in_flight_.end()) {
    return;
  }
  const std::uint64_t at = found->arrived;
  in_flight_.erase(found);
  if (!reply) {
    fail_waiting(errno_of(reply.error()));
    return;
  }
  const std::span<const std::byte> bytes =
      reply->bytes.span().first(std::min<std::size_t>(reply->bytes.size(), asked.end - at));
  const std::uint64_t end = at + bytes.size();
  store(at, bytes);
  if (end == asked.begin) {
    on_end_at(asked.begin);
  } else if (end > size_) {
    size_ = end;  // it has grown since it was opened
  } else if (end < std::min(asked.end, size_)) {
    request(end, std::min(asked.end, size_));  // a short read; an empty one would say the end
  }
  if (slot_ != nullptr) {
    set_size(*slot_, size_);
  }
  publish_window();
  serve_waiting();
  read_ahead();
}

// The agent has no bytes at `offset`: the file has become shorter than it was.
void CachedContent::on_end_at(std::uint64_t offset) {
  checked_at_ms_ = loop_.now_ms();
  if (offset >= size_) {
    return;
  }
  size_ = offset;
  if (slot_ != nullptr) {
    set_size(*slot_, size_);
    set_window(*slot_, 0, 0);
  }
  ready_.erase(ready_.lower_bound(offset), ready_.end());
  if (!ready_.empty()) {
    auto last = std::prev(ready_.end());
    last->second = std::min(last->second, offset);
  }
  [[maybe_unused]] const int resized = ::ftruncate(memory_.get(), static_cast<off_t>(size_));
}

// ---- calls of the hook

std::uint64_t CachedContent::reader() const {
  return slot_ == nullptr ? last_fetch_ : std::max(reader_position(*slot_), last_fetch_);
}

// Learns from where the program reads whether it goes on or jumps.
void CachedContent::note_access(std::uint64_t offset) {
  const bool goes_on = offset <= last_fetch_end_ + limits_.max_request && offset >= last_fetch_;
  const bool is_near =
      is_asked_for(offset) || goes_on || (slot_ != nullptr && offset == reader_position(*slot_));
  if (is_near) {
    jumps_ = 0;
    // The reader had to wait: more must be on its way.
    window_ = std::min(window_ * 2, limits_.max_window);
  } else {
    ++jumps_;
    window_ = limits_.first_window;
  }
}

void CachedContent::fetch(std::uint64_t offset, std::uint64_t length, Call call) {
  length = std::min(length, kMaxFetch);
  if (offset >= size_) {
    recheck_size(offset, length, std::move(call));
    return;
  }
  const std::uint64_t end = std::min(offset + length, size_);
  if (covers(offset, end)) {
    last_fetch_ = offset;
    last_fetch_end_ = end;
    answer(call, offset);
    read_ahead();
    return;
  }
  note_access(offset);
  last_fetch_ = offset;
  last_fetch_end_ = end;
  if (slot_ != nullptr && reader_position(*slot_) > offset) {
    // It went back: the position that it left behind must not steer the read-ahead.
    std::atomic_ref(slot_->reader_position).store(offset, std::memory_order_release);
  }
  const bool is_random = jumps_ >= kJumpsUntilRandom;
  const std::uint64_t least = is_random ? kRandomRequest : limits_.first_window;
  request_gaps(offset, std::min(size_, std::max(end, offset + least)), true);
  waiting_.push_back({offset, end, false, std::move(call)});
  if (!is_random) {
    read_ahead();
  }
}

void CachedContent::fetch_all(Call call) {
  keeps_all_ = true;
  if (is_whole() || size_ == 0) {
    answer(call, 0);
    return;
  }
  waiting_.push_back({0, size_, true, std::move(call)});
  window_ = limits_.max_window;
  read_ahead();
}

// A read at or beyond the end: ask the agent whether there is more by now.
void CachedContent::recheck_size(std::uint64_t offset, std::uint64_t length, Call call) {
  if (loop_.now_ms() - checked_at_ms_ < kEndIsKnownMs) {
    answer(call, offset);
    return;
  }
  const std::uint64_t from = std::min(offset, size_);
  const std::uint64_t wanted = std::max(offset + length - from, limits_.first_window);
  agent_.request<"ReadLimited">(
      proto::FileRequest::make<"ReadLimited">(remote_fd_, std::min(wanted, kMaxFetch), from),
      [self = weak_from_this(), from, offset, epoch = epoch_,
       call = std::move(call)](proto::Res<proto::ReadFileResponse> reply) mutable {
        const auto alive = self.lock();
        if (!alive) {
          call.fail(EBADF);
          return;
        }
        if (!reply) {
          call.fail(errno_of(reply.error()));
          return;
        }
        alive->checked_at_ms_ = alive->loop_.now_ms();
        if (epoch == alive->epoch_ && !reply->bytes.empty()) {
          alive->size_ = std::max(alive->size_, from + reply->bytes.size());
          alive->store(from, reply->bytes.span());
          if (alive->slot_ != nullptr) {
            set_size(*alive->slot_, alive->size_);
          }
        }
        alive->answer(call, offset);
      });
}

void CachedContent::answer(Call& call, std::uint64_t offset) {
  const Span window = ready_around(offset);
  if (slot_ != nullptr && window.end > window.begin) {
    set_window(*slot_, window.begin, window.end);
  }
  call.answer(local::RangeReply{window.begin, window.end, size_});
}

void CachedContent::serve_waiting() {
  for (std::size_t i = 0; i < waiting_.size();) {
    Waiting& waiting = waiting_[i];
    const std::uint64_t end = waiting.wants_all ? size_ : std::min(waiting.end, size_);
    if (!covers(waiting.begin, end)) {
      ++i;
      continue;
    }
    Call call = std::move(waiting.call);
    const std::uint64_t begin = waiting.begin;
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    answer(call, begin);
  }
}

void CachedContent::fail_waiting(int error_number) {
  for (Waiting& waiting : std::exchange(waiting_, {})) {
    waiting.call.fail(error_number);
  }
}

void CachedContent::nudge() {
  jumps_ = 0;
  read_ahead();
}

void CachedContent::invalidate() {
  ++epoch_;
  in_flight_.clear();
  ready_.clear();
  if (slot_ != nullptr) {
    set_window(*slot_, 0, 0);
  } else {
    keeps_all_ = true;  // the hook reads without asking: new bytes go over the old ones
  }
  if (is_refreshing_) {
    must_refresh_again_ = true;
  } else {
    refresh();
  }
}

void CachedContent::refresh() {
  is_refreshing_ = true;
  must_refresh_again_ = false;
  agent_.request<"Xstat">(proto::FileRequest::make<"Xstat">(std::nullopt, remote_fd_, true),
                          [self = weak_from_this()](proto::Res<proto::XstatResponse> reply) {
                            const auto alive = self.lock();
                            if (!alive) {
                              return;
                            }
                            alive->is_refreshing_ = false;
                            if (!reply) {
                              alive->fail_waiting(errno_of(reply.error()));
                            } else if (alive->must_refresh_again_) {
                              alive->refresh();
                            } else {
                              alive->resize(reply->metadata.size);
                            }
                          });
}

void CachedContent::resize(std::uint64_t size) {
  size_ = size;
  checked_at_ms_ = loop_.now_ms();
  [[maybe_unused]] const int resized = ::ftruncate(memory_.get(), static_cast<off_t>(size_));
  if (slot_ != nullptr) {
    set_size(*slot_, size_);
  }
  for (const Waiting& waiting : waiting_) {
    request_gaps(waiting.begin, std::min(waiting.wants_all ? size_ : waiting.end, size_), true);
  }
  if (slot_ == nullptr) {
    request_gaps(0, size_, true);
  }
  serve_waiting();
}

// ---- ahead and behind

void CachedContent::read_ahead() {
  if (jumps_ >= kJumpsUntilRandom && !keeps_all_) {
    return;
  }
  if (keeps_all_) {
    // Everything, but never more than a window on its way.
    std::uint64_t asked = 0;
    for (const Span& span : in_flight_) {
      asked += span.end - span.begin;
    }
    Span gap = first_gap(0, size_);
    while (asked < window_ && gap.begin < gap.end) {
      const std::uint64_t stop = std::min(gap.end, gap.begin + limits_.max_request);
      request(gap.begin, stop);
      asked += stop - gap.begin;
      gap = first_gap(stop, size_);
    }
    return;
  }
  if (slot_ == nullptr) {
    return;
  }
  while (true) {
    const std::uint64_t from = reader();
    forget_behind(from);
    if (from >= size_) {
      return;
    }
    const std::uint64_t target = std::min(size_, from + window_);
    request_gaps(from, target, false);
    if (target == size_ || ask_for_nudge(*slot_, from + window_ / 2)) {
      return;
    }
  }
}

// Gives memory back that the reader has passed long ago.
void CachedContent::forget_behind(std::uint64_t reader) {
  const std::uint64_t margin = limits_.keep_behind + kForgetStep;
  if (keeps_all_ || ready_.empty() || reader < margin || ready_.begin()->first > reader - margin) {
    return;
  }
  const std::uint64_t begin = ready_.begin()->first;
  const std::uint64_t end = reader - limits_.keep_behind;
  shrink_window(*slot_, end);
  while (!ready_.empty() && ready_.begin()->first < end) {
    const std::uint64_t rest = ready_.begin()->second;
    ready_.erase(ready_.begin());
    if (rest > end) {
      ready_[end] = rest;
    }
  }
  ::fallocate(memory_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
              static_cast<off_t>(end - begin));
}

}  // namespace mirrord::intproxy
