// proto/stream_decoder.h — messages out of a byte stream that arrives in arbitrary pieces.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <span>

#include "proto/client_message.h"
#include "proto/codec.h"
#include "proto/daemon_message.h"

namespace mirrord::proto {

// Usage, once per readable event:
//
//   std::span<std::byte> space = decoder.writable();
//   decoder.commit(read(fd, space.data(), space.size()));
//   while (true) {
//     auto message = decoder.next();
//     if (!message) return fail(message.error());  // the connection is unusable from here on
//     if (!*message) break;                        // wait for more
//     handle(std::move(**message));
//   }
//
// Decoding resumes where it stopped: every byte is looked at once, except that an integer or
// address cut by the end of a piece (at most 24 bytes) is looked at again when more arrives. So
// the work is at most bytes + 24 × next() calls, whatever the message. While kMinDirect or more
// bytes of a payload are missing, writable() is the payload's own memory. That memory grows with
// what has arrived, never more than kGrowthStep ahead of it or to double its size.
template <class Message>
class StreamDecoder {
 public:
  static constexpr std::size_t kDefaultBuffer = 64 * 1024;
  static constexpr std::size_t kMinDirect = 4096;
  static constexpr std::size_t kGrowthStep = 1024 * 1024;
  static constexpr std::size_t kBehindPayload = 4096;

  explicit StreamDecoder(std::size_t buffer_size = kDefaultBuffer);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  // Space for the next read; never empty. Valid until the next call of any other member.
  std::span<std::byte> writable();
  // The same in two parts for readv(2), the second perhaps empty: the rest of a payload, and a
  // little for what follows it. So payloads that come one after the other are neither copied nor
  // read in more pieces than they have.
  struct Parts {
    std::span<std::byte> first, second;
  };
  Parts writable_parts();
  // The first `count` bytes of writable() or writable_parts() were filled.
  void commit(std::size_t count);
  // Copies bytes in, for input that already lies somewhere else.
  void feed(std::span<const std::byte> bytes);

  // The next complete message, or nothing until more arrives. An error is final.
  [[nodiscard]] std::expected<std::optional<Message>, DecodeError> next();
  // To be asked at the end of the stream, after next() gave nothing.
  [[nodiscard]] std::expected<void, DecodeError> finish() const;

  // A payload in the middle of which next() has stopped, and the message around it. Its bytes may be
  // taken out and cleared: what comes later begins where they end.
  struct Unfinished {
    const Message* message;
    Bytes* payload;  // null: there is none
  };
  Unfinished unfinished() const;
  // No read into a payload's memory is longer than this from now on.
  void limit_payload_reads(std::size_t limit);

  u64 received() const;  // bytes committed so far
  u64 consumed() const;  // offset behind the last message that next() gave
  u64 examined() const;  // bytes looked at, for checking the bound above

 private:
  struct State;
  std::unique_ptr<State> state_;
};

extern template class StreamDecoder<ClientMessage>;
extern template class StreamDecoder<DaemonMessage>;

using ClientStreamDecoder = StreamDecoder<ClientMessage>;
using DaemonStreamDecoder = StreamDecoder<DaemonMessage>;

}  // namespace mirrord::proto
