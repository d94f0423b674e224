// applets/intproxy/files_write.cpp — reads by message, writes of both kinds, positions. Writes to
// regular files are acknowledged when they are on their way; their errors come later.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "applets/intproxy/files.h"

namespace mirrord::intproxy {
namespace {

// Acknowledged writes of one direct file that the agent has not answered; beyond, they wait.
constexpr std::size_t kMaxWriteBehind = 4 << 20;

constexpr int kSeekData = 3;
constexpr int kSeekHole = 4;

}  // namespace

// ---- contents kept here

void Files::fetch(const FilePtr& file, const local::RangeRequest& range, Request&, Call call) {
  if (file->cached) {
    file->cached->fetch(range.offset, range.length, std::move(call));
  } else {
    call.fail(EINVAL);
  }
}

void Files::fetch_all(const FilePtr& file, const local::HandleRequest&, Request&, Call call) {
  if (file->cached) {
    file->cached->fetch_all(std::move(call));
  } else {
    call.fail(EINVAL);
  }
}

void Files::nudge(const FilePtr& file, const local::RangeRequest&, Request&, Call) {
  if (file->cached) {
    file->cached->nudge();
  }
}

// ---- reads by message

void Files::read(const FilePtr& file, const local::RangeRequest& range, Request&, Call call) {
  if (!file->remote_fd || !file->is_readable) {
    call.fail(EBADF);
    return;
  }
  const std::uint64_t length = std::min<std::uint64_t>(range.length, local::kMaxData);
  auto answer = [call = std::move(call)](proto::Res<proto::ReadFileResponse> reply) mutable {
    if (reply) {
      const std::size_t count = std::min<std::size_t>(reply->bytes.size(), local::kMaxData);
      call.answer_bytes(reply->bytes.span().first(count));
    } else {
      call.fail(errno_of(reply.error()));
    }
  };
  if (range.offset == local::kAtPosition) {
    agent_.request<"Read">(proto::FileRequest::make<"Read">(*file->remote_fd, length),
                           std::move(answer));
  } else {
    agent_.request<"ReadLimited">(
        proto::FileRequest::make<"ReadLimited">(*file->remote_fd, length, range.offset),
        std::move(answer));
  }
}

// ---- writes

void Files::write(const FilePtr& file, const local::RangeRequest& range, Request& request,
                  Call call) {
  if (!file->remote_fd || !file->is_writable) {
    call.fail(EBADF);
    return;
  }
  if (file->is_cut_off) {
    call.fail(EIO);
    return;
  }
  if (file->write_error != 0) {
    call.fail(std::exchange(file->write_error, 0));
    return;
  }
  const std::span<const std::byte> bytes = request.tail<local::RangeRequest>();
  const bool is_at_position = range.offset == local::kAtPosition;
  if (file->stream && is_at_position) {
    write_stream(file, proto::Bytes(bytes));
    call.answer(local::CountReply{bytes.size()});
    return;
  }
  const std::optional<std::uint64_t> offset =
      is_at_position ? std::nullopt : std::optional(range.offset);
  // What is no regular file has errors of its own (EPIPE, EAGAIN) that belong to this very call.
  if (file->is_regular && file->unanswered_bytes + bytes.size() <= kMaxWriteBehind) {
    send_write(file, offset, proto::Bytes(bytes), std::nullopt);
    call.answer(local::CountReply{bytes.size()});
  } else {
    send_write(file, offset, proto::Bytes(bytes), std::move(call));
  }
}

void Files::write_stream(const FilePtr& file, proto::Bytes&& bytes) {
  if (file->write_error != 0 || file->is_cut_off || agent_.is_lost()) {
    report_write_error(*file, file->write_error != 0 ? file->write_error : EIO);
    return;  // a hole would be worse than a short file
  }
  std::optional<std::uint64_t> offset;
  if (!file->is_append) {
    offset = file->stream->position;
  }
  file->stream->position += bytes.size();
  send_write(file, offset, std::move(bytes), std::nullopt);
}

void Files::stream_ended(const FilePtr& file) {
  destroy_if_unused(file);
}

void Files::send_write(const FilePtr& file, std::optional<std::uint64_t> offset,
                       proto::Bytes&& bytes, std::optional<Call> call) {
  const std::size_t size = bytes.size();
  file->unanswered_bytes += size;
  ++file->unanswered_writes;
  note_change();
  // Our own agent writes all or fails. With others a write may stop half-way: the bytes are kept.
  const bool is_kept = !agent_.speaks_flight() && !call;
  auto on_reply = [this, file, offset, size, kept = is_kept ? bytes : proto::Bytes(),
                   call = std::move(call)](proto::Res<proto::WriteFileResponse> reply) mutable {
    on_written(file, offset, size, kept, std::move(call), std::move(reply));
  };
  if (offset) {
    agent_.request<"WriteLimited">(
        proto::FileRequest::make<"WriteLimited">(*file->remote_fd, *offset, std::move(bytes)),
        std::move(on_reply));
  } else {
    agent_.request<"Write">(proto::FileRequest::make<"Write">(*file->remote_fd, std::move(bytes)),
                            std::move(on_reply));
  }
}

void Files::on_written(const FilePtr& file, std::optional<std::uint64_t> offset, std::size_t asked,
                       const proto::Bytes& kept, std::optional<Call> call,
                       proto::Res<proto::WriteFileResponse> reply) {
  file->unanswered_bytes -= asked;
  --file->unanswered_writes;
  const std::size_t written = reply ? std::min<std::size_t>(reply->written_amount, asked) : 0;
  note_write(*file);
  if (call) {
    if (reply) {
      call->answer(local::CountReply{written});
    } else {
      call->fail(errno_of(reply.error()));
    }
  } else if (!reply) {
    report_write_error(*file, errno_of(reply.error()));
  } else if (written < asked) {
    // The rest can go on only where it belongs: at a known offset, or with nothing behind it.
    const bool can_go_on =
        written > 0 && kept.size() == asked && (offset.has_value() || file->unanswered_writes == 0);
    if (can_go_on) {
      const std::optional<std::uint64_t> rest =
          offset ? std::optional(*offset + written) : std::nullopt;
      send_write(file, rest, proto::Bytes(kept.span().subspan(written)), std::nullopt);
    } else {
      report_write_error(*file, ENOSPC);
    }
  }
  streams_.resume(file);
  if (file->unanswered_writes == 0) {
    const auto found = waiting_for_writes_.find(file->handle);
    if (found != waiting_for_writes_.end()) {
      std::vector<Call> calls = std::move(found->second);
      waiting_for_writes_.erase(found);
      for (Call& waiting : calls) {
        when_written(file, std::move(waiting));
      }
    }
    destroy_if_unused(file);
  }
}

void Files::report_write_error(RemoteFile& file, int error_number) {
  file.write_error = error_number;
  if (local::FileSlot* slot = slots_.at(file.slot); slot != nullptr && file.stream) {
    set_error(*slot, error_number);
  }
}

// Answers with the error of the writes so far, once they are answered.
void Files::when_written(const FilePtr& file, Call call) {
  if (file->unanswered_writes > 0) {
    waiting_for_writes_[file->handle].push_back(std::move(call));
    return;
  }
  const int error = std::exchange(file->write_error, 0);
  if (local::FileSlot* slot = slots_.at(file->slot); slot != nullptr && file->stream) {
    set_error(*slot, 0);
  }
  if (error != 0) {
    call.fail(error);
  } else {
    call.succeed();
  }
}

void Files::sync(const FilePtr& file, const local::HandleRequest&, Request&, Call call) {
  when_written(file, std::move(call));
}

void Files::truncate(const FilePtr& file, const local::RangeRequest& range, Request&, Call call) {
  if (!file->remote_fd || !file->is_writable) {
    call.fail(EINVAL);
  } else if (!agent_.supports(proto::Gate::kCopyfile)) {
    call.fail(ENOTSUP);
  } else {
    note_change();
    agent_.request<"Ftruncate">(proto::FileRequest::make<"Ftruncate">(
                                    *file->remote_fd, static_cast<proto::i64>(range.offset)),
                                [this, file, status = answer_status<proto::Unit>(std::move(call))](
                                    proto::Res<proto::Unit> reply) mutable {
                                  note_write(*file);
                                  status(std::move(reply));
                                });
  }
}

// ---- positions

void Files::seek(const FilePtr& file, const local::RangeRequest& range, Request&, Call call) {
  const auto whence = static_cast<int>(range.flags);
  const auto offset = static_cast<std::int64_t>(range.offset);
  if (!file->remote_fd) {
    call.fail(EBADF);
    return;
  }
  const bool is_here = file->stream || file->cached;
  if (!is_here && whence <= SEEK_END) {
    seek_on_agent(file, whence, offset, std::move(call));
    return;
  }
  if (file->stream && (whence == SEEK_SET || (whence == SEEK_CUR && !file->is_append))) {
    const std::int64_t base =
        whence == SEEK_SET ? 0 : static_cast<std::int64_t>(file->stream->position);
    if (offset < -base) {
      call.fail(EINVAL);
      return;
    }
    file->stream->position = static_cast<std::uint64_t>(base + offset);
    call.answer(local::CountReply{file->stream->position});
    return;
  }
  seek_by_size(file, whence, offset, std::move(call));
}

void Files::seek_on_agent(const FilePtr& file, int whence, std::int64_t offset, Call call) {
  using proto::SeekFromInternal;
  SeekFromInternal from;
  if (whence == SEEK_SET) {
    from = SeekFromInternal::make<"Start">(static_cast<proto::u64>(offset));
  } else if (whence == SEEK_CUR) {
    from = SeekFromInternal::make<"Current">(offset);
  } else {
    from = SeekFromInternal::make<"End">(offset);
  }
  if (whence == SEEK_SET && offset < 0) {
    call.fail(EINVAL);
    return;
  }
  agent_.request<"Seek">(
      proto::FileRequest::make<"Seek">(*file->remote_fd, std::move(from)),
      [call = std::move(call)](proto::Res<proto::SeekFileResponse> reply) mutable {
        if (reply) {
          call.answer(local::CountReply{reply->result_offset});
        } else {
          call.fail(errno_of(reply.error()));
        }
      });
}

// Seeks that need the file's size: from the end, to data, to a hole; and where appending has got.
void Files::seek_by_size(const FilePtr& file, int whence, std::int64_t offset, Call call) {
  agent_.request<"Xstat">(proto::FileRequest::make<"Xstat">(std::nullopt, *file->remote_fd, true),
                          [file, whence, offset,
                           call = std::move(call)](proto::Res<proto::XstatResponse> reply) mutable {
                            if (!reply) {
                              call.fail(errno_of(reply.error()));
                              return;
                            }
                            const auto size = static_cast<std::int64_t>(reply->metadata.size);
                            std::int64_t target = 0;
                            if (whence == kSeekData || whence == kSeekHole) {
                              if (offset < 0 || offset >= size) {
                                call.fail(ENXIO);
                                return;
                              }
                              target = whence == kSeekData ? offset : size;
                            } else if (whence == SEEK_END || whence == SEEK_CUR) {
                              target = size + offset;
                            } else {
                              target = offset;
                            }
                            if (target < 0 || whence > kSeekHole || whence < 0) {
                              call.fail(EINVAL);
                              return;
                            }
                            if (file->stream) {
                              file->stream->position = static_cast<std::uint64_t>(target);
                            }
                            call.answer(local::CountReply{static_cast<std::uint64_t>(target)});
                          });
}

}  // namespace mirrord::intproxy
