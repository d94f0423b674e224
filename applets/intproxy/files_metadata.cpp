// applets/intproxy/files_metadata.cpp — metadata of handles and paths, and requests that change it.
// The wire changes metadata by descriptor only: by path it is open, change, close.
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <utility>

#include "applets/intproxy/files.h"

namespace mirrord::intproxy {
namespace {

bool is_not_followed(std::uint32_t flags) {
  return (flags & AT_SYMLINK_NOFOLLOW) != 0;
}

std::optional<std::array<proto::Timespec, 2>> times_of(std::uint32_t has_times,
                                                       const std::int64_t (&times)[4]) {
  if (has_times == 0) {
    return std::nullopt;
  }
  return std::array<proto::Timespec, 2>{proto::Timespec{times[0], times[1]},
                                        proto::Timespec{times[2], times[3]}};
}

auto answer_metadata(Call call) {
  return [call = std::move(call)](const proto::Res<proto::XstatResponse>& reply) mutable {
    answer_stat(call, reply);
  };
}

template <class Response>
auto answer_fs(Call call) {
  return [call = std::move(call)](const proto::Res<Response>& reply) mutable {
    if (reply) {
      call.answer(to_local(reply->metadata));
    } else {
      call.fail(errno_of(reply.error()));
    }
  };
}

// The agent changes files only; what it says of a directory is not what chmod says.
auto answer_change(Call call) {
  return [call = std::move(call)](const proto::Res<proto::Unit>& reply) mutable {
    if (reply) {
      call.succeed();
    } else {
      const int error = errno_of(reply.error());
      call.fail(error == EISDIR ? ENOTSUP : error);
    }
  };
}

}  // namespace

// ---- handles

void Files::stat_handle(const FilePtr& file, const local::HandleRequest&, Request&, Call call) {
  auto request = file->remote_fd
                     ? proto::FileRequest::make<"Xstat">(std::nullopt, *file->remote_fd, true)
                     : proto::FileRequest::make<"Xstat">(proto::Path(file->path), std::nullopt,
                                                         file->follows_links);
  agent_.request<"Xstat">(std::move(request), answer_metadata(std::move(call)));
}

void Files::statfs_handle(const FilePtr& file, const local::HandleRequest&, Request& request,
                          Call call) {
  if (!file->remote_fd) {
    statfs({}, file->path, request, std::move(call));
  } else if (agent_.supports(proto::Gate::kStatfsV2)) {
    agent_.request<"XstatFsV2">(proto::FileRequest::make<"XstatFsV2">(*file->remote_fd),
                                answer_fs<proto::XstatFsResponseV2>(std::move(call)));
  } else {
    agent_.request<"XstatFs">(proto::FileRequest::make<"XstatFs">(*file->remote_fd),
                              answer_fs<proto::XstatFsResponse>(std::move(call)));
  }
}

void Files::set_mode(const FilePtr& file, const local::AttributeRequest& request, Request&,
                     Call call) {
  note_change();
  if (!agent_.supports(proto::Gate::kCopyfile) || !file->remote_fd) {
    call.fail(file->remote_fd ? ENOTSUP : EBADF);
    return;
  }
  agent_.request<"Fchmod">(
      proto::FileRequest::make<"Fchmod">(*file->remote_fd, request.mode & 07777),
      answer_change(std::move(call)));
}

void Files::set_owner(const FilePtr& file, const local::AttributeRequest& request, Request&,
                      Call call) {
  note_change();
  if (!agent_.supports(proto::Gate::kCopyfile) || !file->remote_fd) {
    call.fail(file->remote_fd ? ENOTSUP : EBADF);
    return;
  }
  agent_.request<"Fchown">(
      proto::FileRequest::make<"Fchown">(*file->remote_fd, request.owner, request.group),
      answer_change(std::move(call)));
}

void Files::set_times(const FilePtr& file, const local::AttributeRequest& request, Request&,
                      Call call) {
  note_change();
  if (!agent_.supports(proto::Gate::kCopyfile) || !file->remote_fd) {
    call.fail(file->remote_fd ? ENOTSUP : EBADF);
    return;
  }
  agent_.request<"Futimens">(proto::FileRequest::make<"Futimens">(
                                 *file->remote_fd, times_of(request.has_times, request.times)),
                             answer_change(std::move(call)));
}

// ---- paths

void Files::stat(const local::PathRequest& request, std::string path, Request&, Call call) {
  const bool follows = !is_not_followed(request.flags);
  if (stat_ahead_.answer(path, follows, call)) {
    return;
  }
  agent_.request<"Xstat">(
      proto::FileRequest::make<"Xstat">(proto::Path(std::move(path)), std::nullopt, follows),
      answer_metadata(std::move(call)));
}

void Files::statfs(const local::PathRequest&, std::string path, Request&, Call call) {
  if (agent_.supports(proto::Gate::kStatfsV2)) {
    agent_.request<"XstatFsV2">(proto::FileRequest::make<"StatFsV2">(proto::Path(std::move(path))),
                                answer_fs<proto::XstatFsResponseV2>(std::move(call)));
  } else if (agent_.supports(proto::Gate::kStatfs)) {
    agent_.request<"XstatFs">(proto::FileRequest::make<"StatFs">(proto::Path(std::move(path))),
                              answer_fs<proto::XstatFsResponse>(std::move(call)));
  } else {
    call.fail(ENOTSUP);
  }
}

template <proto::FixedString Name>
void Files::change_by_path(std::string path, bool for_writing, bool not_followed, Call call,
                           ChangeMaker make) {
  note_change();
  if (!agent_.supports(proto::Gate::kCopyfile)) {
    call.fail(ENOTSUP);
    return;
  }
  if (not_followed) {
    // A link itself cannot be opened, so it cannot be changed; anything else can.
    auto look = proto::FileRequest::make<"Xstat">(proto::Path(path), std::nullopt, false);
    agent_.request<"Xstat">(
        std::move(look),
        [this, path = std::move(path), for_writing, call = std::move(call),
         make = std::move(make)](const proto::Res<proto::XstatResponse>& reply) mutable {
          if (!reply) {
            call.fail(errno_of(reply.error()));
          } else if (S_ISLNK(reply->metadata.mode)) {
            call.fail(ENOTSUP);
          } else {
            change_by_path<Name>(std::move(path), for_writing, false, std::move(call),
                                 std::move(make));
          }
        });
    return;
  }
  proto::OpenOptionsInternal options{};
  options.read = !for_writing;
  options.write = for_writing;
  auto open = proto::FileRequest::make<"Open">(proto::Path(std::move(path)), options);
  if (agent_.speaks_flight()) {
    const std::uint64_t fd = agent_.reserve_descriptor();
    auto shared = std::make_shared<Call>(std::move(call));
    agent_.request<"Open">(std::move(open),
                           [shared](const proto::Res<proto::OpenFileResponse>& reply) {
                             if (!reply) {
                               shared->fail(errno_of(reply.error()));
                             }
                           });
    agent_.request<Name>(make(fd), [shared](const proto::Res<proto::Unit>& reply) {
      answer_change(std::move(*shared))(reply);
    });
    agent_.send_without_reply(proto::FileRequest::make<"Close">(fd));
    return;
  }
  agent_.request<"Open">(std::move(open),
                         [this, call = std::move(call), make = std::move(make)](
                             const proto::Res<proto::OpenFileResponse>& reply) mutable {
                           if (!reply) {
                             call.fail(errno_of(reply.error()));
                             return;
                           }
                           agent_.request<Name>(make(reply->fd), answer_change(std::move(call)));
                           agent_.send_without_reply(proto::FileRequest::make<"Close">(reply->fd));
                         });
}

void Files::set_mode_path(const local::PathRequest& request, std::string path, Request&,
                          Call call) {
  change_by_path<"Fchmod">(std::move(path), false, is_not_followed(request.flags), std::move(call),
                           [mode = request.mode & 07777](std::uint64_t fd) {
                             return proto::FileRequest::make<"Fchmod">(fd, mode);
                           });
}

void Files::set_owner_path(const local::PathRequest& request, std::string path, Request&,
                           Call call) {
  change_by_path<"Fchown">(std::move(path), false, is_not_followed(request.flags), std::move(call),
                           [owner = request.owner, group = request.group](std::uint64_t fd) {
                             return proto::FileRequest::make<"Fchown">(fd, owner, group);
                           });
}

void Files::set_times_path(const local::PathRequest& request, std::string path, Request&,
                           Call call) {
  change_by_path<"Futimens">(
      std::move(path), false, is_not_followed(request.flags), std::move(call),
      [times = times_of(request.has_times, request.times)](std::uint64_t fd) {
        return proto::FileRequest::make<"Futimens">(fd, times);
      });
}

void Files::truncate_path(const local::PathRequest& request, std::string path, Request&,
                          Call call) {
  change_by_path<"Ftruncate">(
      std::move(path), true, false, std::move(call), [length = request.length](std::uint64_t fd) {
        return proto::FileRequest::make<"Ftruncate">(fd, static_cast<proto::i64>(length));
      });
}

}  // namespace mirrord::intproxy
