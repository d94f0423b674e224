// applets/intproxy/remote_descriptors.h — what the session's descriptors are called at the agent, and
// what is needed to open them again on another connection.
//
// An agent numbers the descriptors of each client from 0. The session has numbers of its own, which
// stay: on the first connection they are the agent's; on a later one what was opened again is found in
// a table, and what is opened anew is the agent's number plus an offset.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "proto/file.h"

namespace mirrord::intproxy {

class RemoteDescriptors {
 public:
  using Number = proto::u64;

  // A file or directory that was opened for reading only.
  struct Record {
    std::string path;
    std::optional<proto::MetadataInternal> metadata;  // as the agent said last
    std::uint64_t position = 0;                       // the agent's own, of Read and Seek
  };

  // ---- numbers
  [[nodiscard]] std::optional<Number> at_agent(Number number) const;
  [[nodiscard]] Number from_agent(Number there);  // of a descriptor that was opened just now
  // For agents that number in order: the number of the next open request, before it is made…
  Number reserve() { return next_reserved_++; }
  // …when it is made, in the same order…
  Number take_reserved() { return next_taken_++; }
  // …and when it goes to the agent, which counts it.
  void sent(Number number);

  // A new connection: nothing is open there. Requests are sent in any order until settle().
  void restart();
  void reopened(Number number, Number there) { renamed_[number] = there; }
  void count_open() { ++opens_there_; }  // an open request that has no number here
  // What is opened from now on is new to the session too.
  void settle(bool numbers_in_order);

  // ---- records
  void opened(Number number, std::string path) { records_[number].path = std::move(path); }
  void seen(Number number, const proto::MetadataInternal& metadata);
  void moved(Number number, std::uint64_t position);
  void advanced(Number number, std::uint64_t count);
  void closed(Number number);
  [[nodiscard]] bool has_record(Number number) const { return records_.contains(number); }
  [[nodiscard]] const std::unordered_map<Number, Record>& records() const { return records_; }

 private:
  static constexpr Number kNone = ~Number{0};

  std::unordered_map<Number, Record> records_;
  std::unordered_map<Number, Number> renamed_;  // session's to agent's, below floor_
  Number floor_ = 0;                            // from here on: the agent's plus offset_
  Number offset_ = 0;
  Number next_reserved_ = 0;
  Number next_taken_ = 0;
  Number opens_there_ = 0;
  Number beyond_all_ = 0;  // greater than any number that from_agent() has given
};

// The descriptor that a request names, to be read or replaced; null: none.
proto::u64* descriptor_in(proto::FileRequest& request);
// Whether it makes a descriptor: Open, OpenRelative, FdOpenDir.
bool makes_descriptor(const proto::FileRequest& request);
// Whether asking a second time, after the first may have been carried out, is the same as asking once.
bool is_repeatable(const proto::FileRequest& request);

// Whether a path that was opened again has the contents that it had. Another machine numbers devices
// and inodes in its own way: there, size and time of modification decide.
bool is_same_content(const proto::MetadataInternal& before, const proto::MetadataInternal& now);

}  // namespace mirrord::intproxy
