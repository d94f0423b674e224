// applets/intproxy/files_paths.cpp — requests by path that are one message each; mapping; host name.
#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "applets/intproxy/files.h"

namespace mirrord::intproxy {
namespace {

constexpr std::size_t kMaxHostName = 255;
constexpr char kHostNameFile[] = "/etc/hostname";

}  // namespace

void Files::access(const local::PathRequest& request, std::string path, Request&, Call call) {
  agent_.request<"Access">(
      proto::FileRequest::make<"Access">(proto::Path(std::move(path)),
                                         static_cast<proto::u8>(request.mode & 7)),
      answer_status<proto::AccessFileResponse>(std::move(call)));
}

void Files::read_link(const local::PathRequest&, std::string path, Request&, Call call) {
  if (!agent_.supports(proto::Gate::kReadlink)) {
    call.fail(ENOTSUP);
    return;
  }
  agent_.request<"ReadLink">(
      proto::FileRequest::make<"ReadLink">(proto::Path(std::move(path))),
      [call = std::move(call)](const proto::Res<proto::ReadLinkFileResponse>& reply) mutable {
        if (!reply) {
          call.fail(errno_of(reply.error()));
        } else if (reply->path.value.size() > local::kMaxPath) {
          call.fail(ENAMETOOLONG);
        } else {
          call.answer_bytes(std::as_bytes(std::span(reply->path.value)));
        }
      });
}

void Files::make_directory(const local::PathRequest& request, std::string path, Request&,
                           Call call) {
  note_change();
  if (!agent_.supports(proto::Gate::kMkdir)) {
    call.fail(ENOTSUP);
    return;
  }
  agent_.request<"MakeDir">(
      proto::FileRequest::make<"MakeDir">(proto::Path(std::move(path)), request.mode & 07777),
      answer_status<proto::Unit>(std::move(call)));
}

void Files::unlink(const local::PathRequest& request, std::string path, Request&, Call call) {
  note_change();
  if (!agent_.supports(proto::Gate::kRmdir)) {
    call.fail(ENOTSUP);
  } else if ((request.flags & AT_REMOVEDIR) != 0) {
    agent_.request<"RemoveDir">(proto::FileRequest::make<"RemoveDir">(proto::Path(std::move(path))),
                                answer_status<proto::Unit>(std::move(call)));
  } else {
    agent_.request<"Unlink">(proto::FileRequest::make<"Unlink">(proto::Path(std::move(path))),
                             answer_status<proto::Unit>(std::move(call)));
  }
}

void Files::rename(Process& process, Request&& request, Call call) {
  const auto fixed = request.fixed<local::PathRequest>();
  const std::string_view text = request.text<local::PathRequest>();
  if (!fixed || fixed->first_length > text.size()) {
    call.fail(EINVAL);
    return;
  }
  auto from = resolve(process, fixed->directory, text.substr(0, fixed->first_length));
  const std::string_view second = text.substr(fixed->first_length);
  auto to = resolve(process, second.starts_with('/') ? 0 : fixed->directory, second);
  if (!from || !to) {
    call.fail(from ? to.error() : from.error());
    return;
  }
  note_change();
  if (!agent_.supports(proto::Gate::kRename)) {
    call.fail(ENOTSUP);
    return;
  }
  agent_.request<"Rename">(proto::FileRequest::make<"Rename">(proto::Path(std::move(*from)),
                                                              proto::Path(std::move(*to))),
                           answer_status<proto::Unit>(std::move(call)));
}

void Files::map_path(Process& /*process*/, Request&& request, Call call) {
  const auto fixed = request.fixed<local::PathRequest>();
  const std::string_view text = request.text<local::PathRequest>();
  if (!fixed || fixed->first_length > text.size() || fixed->first_length > local::kMaxPath) {
    call.fail(EINVAL);
    return;
  }
  const std::string_view path = text.substr(0, fixed->first_length);
  MappedPath mapped;
  mapped.path = path;
  if (session_.options().map_path) {
    mapped = session_.options().map_path(path);
  }
  local::MapReply reply{};
  reply.read = mapped.read;
  reply.write = mapped.write;
  call.answer(reply, std::as_bytes(std::span(mapped.path)));
}

// The target's name of itself; asked once.
void Files::host_name(Process& /*process*/, Request&& /*request*/, Call call) {
  if (host_name_) {
    call.answer_bytes(std::as_bytes(std::span(*host_name_)));
    return;
  }
  proto::OpenOptionsInternal options{};
  options.read = true;
  auto open = proto::FileRequest::make<"Open">(proto::Path(kHostNameFile), options);
  auto shared = std::make_shared<Call>(std::move(call));
  const auto read_name = [this, shared](std::uint64_t fd) {
    agent_.request<"ReadLimited">(
        proto::FileRequest::make<"ReadLimited">(fd, kMaxHostName + 1, proto::u64{0}),
        [this, shared](const proto::Res<proto::ReadFileResponse>& reply) {
          if (!reply) {
            shared->fail(errno_of(reply.error()));
            return;
          }
          std::string name(reply->bytes.text().substr(0, kMaxHostName));
          name.erase(std::min(name.find_first_of("\n\r \t"), name.size()));
          host_name_ = std::move(name);
          shared->answer_bytes(std::as_bytes(std::span(*host_name_)));
        });
    agent_.send_without_reply(proto::FileRequest::make<"Close">(fd));
  };
  const bool knows_number = agent_.speaks_flight();
  const std::uint64_t number = knows_number ? agent_.reserve_descriptor() : 0;
  agent_.request<"Open">(std::move(open), [shared, read_name, knows_number](
                                              const proto::Res<proto::OpenFileResponse>& reply) {
    if (!reply) {
      shared->fail(errno_of(reply.error()));
    } else if (!knows_number) {
      read_name(reply->fd);
    }
  });
  if (knows_number) {
    read_name(number);
  }
}

}  // namespace mirrord::intproxy
