// applets/intproxy/cached_content.h — the memfd of a file that is only read: which bytes are there,
// which are asked for, and how far to read ahead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "applets/intproxy/agent_link.h"
#include "applets/intproxy/local_server.h"
#include "applets/intproxy/slots.h"
#include "net/fd.h"
#include "proto/local.h"

namespace mirrord::intproxy {

class CachedContent : public std::enable_shared_from_this<CachedContent> {
 public:
  struct Limits {
    std::uint64_t first_window = 128'000;  // also the size of the read that goes with the open
    std::uint64_t max_window = 16 << 20;   // asked for ahead of the reader
    std::uint64_t max_request = 1 << 20;
    std::uint64_t keep_behind = 64ULL << 20;  // of what the reader has passed
  };

  CachedContent(net::Loop& loop, AgentLink& agent, std::uint64_t remote_fd, Fd memory,
                const Limits& limits);

  // Bytes that came with the open. `size` is the file's; `is_whole`: nothing else is in it.
  void begin(std::span<const std::byte> bytes, std::uint64_t size);
  void use_slot(local::FileSlot* slot);

  void fetch(std::uint64_t offset, std::uint64_t length, Call call);
  void fetch_all(Call call);
  void nudge();
  // The file was written to: nothing that was read before counts.
  void invalidate();

  [[nodiscard]] bool is_whole() const { return !ready_.empty() && covers(0, size_); }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] int memory() const { return memory_.get(); }
  [[nodiscard]] std::uint64_t ready_end() const;
  [[nodiscard]] std::size_t requests_in_flight() const { return in_flight_.size(); }

 private:
  struct Span {
    std::uint64_t begin, end;
  };
  struct Asked : Span {
    std::uint64_t arrived;  // everything before it has been stored
  };
  struct Waiting {
    std::uint64_t begin, end;
    bool wants_all;
    Call call;
  };

  [[nodiscard]] bool covers(std::uint64_t begin, std::uint64_t end) const;
  [[nodiscard]] Span ready_around(std::uint64_t offset) const;
  [[nodiscard]] bool is_asked_for(std::uint64_t offset) const;
  [[nodiscard]] Span first_gap(std::uint64_t from, std::uint64_t to) const;
  void store(std::uint64_t offset, std::span<const std::byte> bytes);
  void add_ready(std::uint64_t begin, std::uint64_t end);
  void request(std::uint64_t begin, std::uint64_t end);
  void request_gaps(std::uint64_t begin, std::uint64_t end, bool is_urgent);
  std::vector<Asked>::iterator find_asked(Span asked, std::uint64_t epoch);
  void publish_window();
  void on_part(Span asked, std::uint64_t epoch, std::span<const std::byte> bytes);
  void on_bytes(Span asked, std::uint64_t epoch, proto::Res<proto::ReadFileResponse> reply);
  void on_end_at(std::uint64_t offset);
  void refresh();
  void resize(std::uint64_t size);
  void recheck_size(std::uint64_t offset, std::uint64_t length, Call call);
  void serve_waiting();
  void fail_waiting(int error_number);
  void answer(Call& call, std::uint64_t offset);
  void note_access(std::uint64_t offset);
  void read_ahead();
  void forget_behind(std::uint64_t reader);
  [[nodiscard]] std::uint64_t reader() const;

  net::Loop& loop_;
  AgentLink& agent_;
  std::uint64_t remote_fd_;
  Fd memory_;
  Limits limits_;
  local::FileSlot* slot_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint64_t window_;
  std::uint64_t last_fetch_ = 0;      // where the last one began
  std::uint64_t last_fetch_end_ = 0;  // and what it asked for
  int jumps_ = 0;                     // fetches in a row that did not go on where others ended
  bool keeps_all_ = false;            // kFetchAll: nothing is forgotten
  std::uint64_t checked_at_ms_ = 0;   // when the size was last known to be right
  bool is_refreshing_ = false;        // after invalidate: the new size is on its way…
  bool must_refresh_again_ = false;   // …and was asked for before the last change
  std::uint64_t epoch_ = 0;           // answers to requests of an older one are dropped
  std::map<std::uint64_t, std::uint64_t> ready_;  // begin -> end; apart from each other
  std::vector<Asked> in_flight_;
  std::vector<Waiting> waiting_;
};

}  // namespace mirrord::intproxy
